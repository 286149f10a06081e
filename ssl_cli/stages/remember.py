"""What a run was asked for, kept in its folder once its data are read, so that a sweep that asks the same finds it."""

from collections.abc import Iterable

from ssl_cli.config.schema import Config
from ssl_cli.data.dataset import load
from ssl_cli.data.stamp import machine_stamp
from ssl_cli.runs.asked import Asked, asked_for
from ssl_cli.runs.identity import record
from ssl_cli.runs.own import own_object
from ssl_cli.runs.run import MACHINE, Run
from ssl_cli.training.device import precision_of


def recognised_by_reading(config: Config, words: Iterable[str] = ()) -> tuple[str, dict[str, str]]:
    """The hash of what a job is asked for, its data read, and the stamps that tell it the next time.

    Raises:
        ConfigError: the data cannot be read, or the device is not there.
    """
    return _read(asked_for(config, words), config, precision_of(config.runtime))


def remember(config: Config, run: Run) -> None:
    """Keep in a run's folder what it was asked for, so that a sweep finds it."""
    if run.is_inside or not config.stage.trains:
        return
    decided = own_object(run.folder / MACHINE, {"precision": str})
    precision: str = decided["precision"] if decided else precision_of(config.runtime)
    own, stamps = _read(asked_for(config), config, precision)
    record(run.folder, [own, *run.asked], stamps)


def _read(asked: Asked, config: Config, precision: str) -> tuple[str, dict[str, str]]:
    contents: list[str] = []
    stamps = {} if config.runtime.precision != "auto" else {machine_stamp(config.runtime): precision}
    for component in asked.datasets:
        dataset = load(component)
        contents.append(dataset.content)
        if dataset.stamp is not None:
            stamps[dataset.stamp] = contents[-1]
    return asked.identity(contents, precision), stamps
