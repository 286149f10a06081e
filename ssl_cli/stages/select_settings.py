"""The settings of `stage=select`."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from ssl_cli.config.item_list import read_item_list
from ssl_cli.config.schema import Config, Count, Facts, Stage
from ssl_cli.errors import ConfigError

BY_FEATURES = ("typical", "k_centre")
BY_CLASSIFIER = ("margin", "entropy", "margin_then_k_centre")


@dataclass(frozen=True)
class SelectStage(Stage):
    """Which inputs to label next.

    by: what is useful: see `ssl_cli.data.selection`.
    count: how many.
    run: the folder of a finished classifier, for ways that ask one.
    labels: a table of inputs that have a label, beside those that the data set knows.
    simulate: whether the data set's own labels count as unknown, to try a choice where all are known.
    """

    name: Literal["select"]
    by: Literal["random", "typical", "k_centre", "margin", "entropy", "margin_then_k_centre"]
    count: Count
    run: Path | None
    labels: Path | None
    simulate: bool

    function: ClassVar[str] = "ssl_cli.stages.select.select"

    @property
    def phases(self) -> tuple[str, ...]:
        """Features are those of a pre-training."""
        return ("pretrain",) if self.by in BY_FEATURES else ()

    @property
    def sees_labels(self) -> bool:
        """It sees which inputs have one, and a classifier has learnt from them before."""
        return False

    @property
    def takes(self) -> tuple[str, ...]:
        """All settings where features are pre-trained; else what a finished classifier, or nothing, leaves open."""
        return () if self.by in BY_FEATURES else ("seed", "outputs", "runtime", "dataset")

    @property
    def instead(self) -> str:
        """The network of a classifier, or none."""
        if self.by in BY_CLASSIFIER:
            return f"with stage.by={self.by} takes network and preprocessing from the classifier in stage.run"
        return f"with stage.by={self.by} takes no network"

    def problems(self, config: Config) -> Iterator[str]:
        """The wrong kind of network, a table that cannot be read, or too few inputs to choose from, as far as that is known."""
        asks_classifier = self.by in BY_CLASSIFIER
        if asks_classifier and self.run is None:
            yield f"stage.run=null: stage.by={self.by} asks a finished classifier; must be its folder, such as outputs/finetune/…"
        if not asks_classifier and self.run is not None:
            own = "takes features of a pre-training, by checkpoint=FOLDER" if self.phases else "takes no network"
            yield f"stage.run={self.run}: is for stage.by={', '.join(BY_CLASSIFIER)}; stage.by={self.by} {own}"
        if self.labels is not None:
            try:
                read_item_list("stage.labels", self.labels)
            except ConfigError as error:
                yield from error.problems
        facts = config.dataset.arguments.get("facts")
        if isinstance(facts, Facts) and facts.inputs is not None and facts.unlabelled is not None:
            there = facts.unlabelled + (facts.inputs if self.simulate else 0)
            yield from self.too_few(there, config.dataset.name)

    def too_few(self, there: int, dataset: str) -> Iterator[str]:
        """A sentence where a data set has fewer inputs without a label than are to be chosen."""
        if not there and not self.simulate:
            yield (
                f"dataset={dataset}: every training input has a label already; stage.simulate=true counts them as unknown, "
                "to try a choice"
            )
        elif self.count > there:
            yield f"stage.count={self.count}: dataset={dataset} has {there:,} training inputs without a label; at most that many"
