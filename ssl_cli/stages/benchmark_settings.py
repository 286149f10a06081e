"""The settings of `stage=benchmark`."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from ssl_cli.config.schema import Config, Count, MethodComponent, Network, Positive, Stage


@dataclass(frozen=True)
class BenchmarkStage(Stage):
    """All `methods` by the same rules, for `seeds` seeds from `seed` on.

    equal: what every pre-training gets the same of: `time` on this machine, `seconds` of it, or `epochs`, as the schedule says.
    neighbours: k of the k-nearest-neighbour classifier.
    rates: the learning rates of methods for which the schedule's is not fit.
    """

    name: Literal["benchmark"]
    seeds: Count
    equal: Literal["time", "epochs"]
    seconds: Positive
    neighbours: Count
    methods: dict[str, MethodComponent]
    rates: dict[str, Positive]

    function: ClassVar[str] = "ssl_cli.stages.benchmark.benchmark"

    @property
    def phases(self) -> tuple[str, ...]:
        """Pre-training, and training on labels."""
        return ("pretrain", "supervised")

    @property
    def takes_checkpoint(self) -> bool:
        """Each method has a pre-training of its own."""
        return False

    def problems(self, config: Config) -> Iterator[str]:
        """No method at all, or a time for them in two places."""
        if config.schedule.minutes is not None:
            yield (
                f"schedule.minutes={config.schedule.minutes:g}: stage={self.name} has stage.seconds for the time of each method; "
                "leave it at null"
            )
        if not self.methods:
            yield "stage.methods={}: must name at least one method"

    def network_problems(self, config: Config, method: Any) -> Iterator[str]:
        """A backbone without a stage before its last one."""
        if len(method.backbone.stages) < 2:
            yield f"backbone={config.backbone.name}: has one stage, and stage={self.name} probes the last two; give it more"

    def networks(self, config: Config) -> Iterator[tuple[Network, Config, str]]:
        """Every method, and a new head."""
        config = replace(config, head=replace(config.head, keep=0))
        for name, method in self.methods.items():
            yield "method", replace(config, method=method), f"stage.methods.{name}"
        yield "classifier", config, "method"
