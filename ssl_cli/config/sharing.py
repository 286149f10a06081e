"""Batches that several processes share: each gets as many inputs of a batch as every other."""

from collections.abc import Iterator

from ssl_cli.config.consistency import AUTO, labels_to_train_on, to_pretrain_on
from ssl_cli.config.schema import Config, Facts


def sharing_problems(config: Config, facts: Facts | None, processes: int) -> Iterator[str]:
    """A sentence for each setting by which inputs of a batch are left over, as far as it is known how many there are.

    Args:
        config: the settings.
        facts: of the data; None where only reading can tell.
        processes: that train together.
    """
    if config.schedule.name == AUTO:  # which is asked again once batches are chosen
        return
    labels = pretrain = 0
    if facts is not None and facts.inputs is not None:
        labels, pretrain = labels_to_train_on(config.budget, facts.inputs), to_pretrain_on(config, facts)
    for key, asked in config.stage.batch_sizes(config):
        there = (
            pretrain if key.startswith("schedule.pretrain") else labels if key in config.stage.labelled_batches else 0
        )
        size = min(asked, there) if there > 0 else asked
        if problem := uneven(size, processes):
            filled = "" if size == asked else f"there are {there:,} inputs to fill a batch with, "
            yield f"{key}={asked}: {filled}{problem}"


def uneven(size: int, processes: int) -> str | None:
    """Why so many inputs cannot be shared out; None where they can."""
    if size % processes == 0:
        return None
    smaller = size - size % processes
    take = f"take a batch of {smaller or processes:,}, or other processes"
    return f"runtime.processes={processes}: {size:,} inputs of a batch cannot be shared evenly; {take}"
