"""The settings of `stage=classical`."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from ssl_cli.config.schema import Config, ImageFacts, Positive, Stage, TextFacts

TEXT_FEATURES = ("tfidf", "lsa")
NAMES = {"tfidf": "TF-IDF", "lsa": "LSA", "pixels": "pixels"}


@dataclass(frozen=True)
class ClassicalStage(Stage):
    """Logistic regression on features that no network makes."""

    name: Literal["classical"]
    features: Literal["tfidf", "lsa", "pixels"]
    components: Annotated[int, "[2, inf)"]  # of LSA
    C: Positive  # the inverse of the penalty, as scikit-learn calls it

    function: ClassVar[str] = "ssl_cli.stages.classical.classical"

    def problems(self, config: Config) -> Iterator[str]:
        """Features of other inputs than those of the data set."""
        facts = config.dataset.arguments.get("facts")
        kind = "texts" if self.features in TEXT_FEATURES else "images"
        if isinstance(facts, ImageFacts if kind == "texts" else TextFacts):
            yield f"stage.features={self.features}: is for {kind}, and dataset={config.dataset.name} has others"

    def arm(self, config: Config) -> str:
        """By its features."""
        return f"{NAMES[self.features]} and logistic regression"
