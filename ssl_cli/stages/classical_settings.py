"""The settings of `stage=classical`."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, get_args

from ssl_cli.config.schema import Config, Ending, ImageFacts, Positive, Stage, TextFacts

TextFeatures = Literal["tfidf", "lsa", "vectors"]
TEXT_FEATURES: tuple[TextFeatures, ...] = get_args(TextFeatures)
PENALTIES: dict[TextFeatures, float] = {
    "tfidf": 10.0,
    "lsa": 30.0,
    "vectors": 30.0,
}  # C of each as an arm beside others
NAMES = {"tfidf": "TF-IDF", "lsa": "LSA", "vectors": "word vectors", "pixels": "pixels"}


@dataclass(frozen=True)
class ClassicalStage(Stage):
    """Logistic regression on features that no network makes; `auto`: TF-IDF of texts, pixels of images."""

    name: Literal["classical"]
    features: Literal["auto", "tfidf", "lsa", "vectors", "pixels"]
    components: Annotated[int, "[2, inf)"]  # of LSA, and of a word's vector
    C: Positive  # the inverse of the penalty, as scikit-learn calls it

    function: ClassVar[str] = "ssl_cli.stages.classical.classical"
    ends_in: ClassVar[Ending] = "regression"

    @property
    def trains(self) -> bool:
        """A regression, though no schedule says so."""
        return True

    @property
    def needs_test_inputs(self) -> bool:
        """As every classifier, though no schedule says so."""
        return True

    def problems(self, config: Config) -> Iterator[str]:
        """Features of other inputs than those of the data set."""
        facts = config.dataset.arguments.get("facts")
        kind = "texts" if self.features in TEXT_FEATURES else "images"
        if self.features != "auto" and isinstance(facts, ImageFacts if kind == "texts" else TextFacts):
            yield f"stage.features={self.features}: is for {kind}, and dataset={config.dataset.name} has others"

    def arm(self, config: Config) -> str:
        """By its features."""
        has_texts = isinstance(config.dataset.arguments.get("facts"), TextFacts)
        return f"{NAMES[self.features_for(has_texts)]} and logistic regression"

    def features_for(self, has_texts: bool) -> str:
        """What `auto` is for texts, or for images."""
        return self.features if self.features != "auto" else "tfidf" if has_texts else "pixels"
