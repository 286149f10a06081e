"""What a job is asked for, as one hash by which the run that answers it is found; without PyTorch where stamps tell all of it."""

from collections.abc import Callable, Iterable, Mapping

from ssl_cli.config.schema import Config, DatasetComponent
from ssl_cli.data.stamp import data_stamp, machine_stamp
from ssl_cli.runs.asked import asked_for


def recognised(
    config: Config,
    words: Iterable[str],
    stamps: Mapping[str, str],
    stamp: Callable[[DatasetComponent], str | None] = data_stamp,
) -> str | None:
    """The hash of what a job is asked for, by stamps alone.

    Args:
        config: the job's settings, also with something in them left to the data.
        words: of its command line.
        stamps: what data and machines were by their stamps.
        stamp: tells the stamp of a data set.

    Returns:
        None where the data have to be read, or the machine has to be asked.
    """
    asked = asked_for(config, words)
    contents = [stamps.get(stamp(dataset) or "") for dataset in asked.datasets]
    precision = config.runtime.precision
    found = stamps.get(machine_stamp(config.runtime)) if precision == "auto" else precision
    known = [content for content in contents if content is not None]
    return None if found is None or len(known) < len(contents) else asked.identity(known, found)
