"""The settings of `stage=evaluate`."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from ssl_cli.config.schema import Config, DatasetComponent, Positive, Stage

Share = Annotated[float, "(0, 1]"]
Part = Annotated[float, "(0, 1)"]


@dataclass(frozen=True)
class Corruptions:
    """Strengths of each corruption of images, as defined in `ssl_cli.augment.corruptions`."""

    noise: list[Positive]
    blur: list[Positive]
    contrast: list[Share]
    rotation: list[Annotated[float, "(0, 180]"]]
    inversion: list[Share]


@dataclass(frozen=True)
class TextCorruptions:
    """Strengths of each corruption of texts, as defined in `ssl_cli.augment.text_corruptions`."""

    typos: list[Share]
    upper_case: list[Share]
    lower_case: list[Share]
    random_case: list[Share]
    deleted_words: list[Part]
    truncation: list[Part]


@dataclass(frozen=True)
class EvaluateStage(Stage):
    """Finished classifiers on corrupted test inputs.

    run: the folder of one, or of a comparison.
    other: another data set to test them on.
    translations: a file of texts in several languages that training has not seen.
    corruptions: of images; text_corruptions: of texts.
    """

    name: Literal["evaluate"]
    run: Path | None
    other: DatasetComponent | None
    translations: Path | None
    corruptions: Corruptions
    text_corruptions: TextCorruptions

    function: ClassVar[str] = "ssl_cli.stages.evaluate.evaluate"

    def problems(self, config: Config) -> Iterator[str]:
        """Nothing to evaluate, or nothing to evaluate it on."""
        if self.run is None:
            yield "stage.run=null: must be the folder of a finished run or comparison, such as outputs/compare/…"
        if self.translations is not None and not self.translations.is_file():
            yield f"stage.translations={self.translations}: there is no such file"
        for key in ("corruptions", "text_corruptions"):
            if not any(vars(getattr(self, key)).values()):
                yield f"stage.{key}: all lists are empty; give at least one of them a strength"
