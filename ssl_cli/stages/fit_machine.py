"""What a machine cannot do of what settings ask for."""

import os

from torch import nn

from ssl_cli.config.schema import Config, Facts, Runtime
from ssl_cli.config.sharing import sharing_problems
from ssl_cli.errors import ConfigError
from ssl_cli.models.batch_norm import unshared_layers
from ssl_cli.training.device import processes_of


def machine_problems(runtime: Runtime) -> list[str]:
    """What this machine cannot do. Asked of a command line alone: the settings of a finished run may be another machine's."""
    cores = os.cpu_count() or 1
    if runtime.threads == "auto" or runtime.threads <= cores:
        return []
    return [f"runtime.threads={runtime.threads}: this machine has {cores} processor cores; at most that many, or auto"]


def share_problems(config: Config, facts: Facts | None) -> list[str]:
    """Batches that the processes that train here together cannot share, and processes that cannot be had."""
    if not config.stage.phases:
        return []
    try:
        processes = processes_of(config.runtime)
    except ConfigError as error:
        return list(error.problems)
    problems = list(sharing_problems(config, facts, processes))
    if processes > 1 and config.runtime.compile is True:
        problems.append(f"runtime.compile=true: is for one process, and {processes} train together; set it to auto")
    return problems


def check_shared(config: Config, network: nn.Module) -> None:
    """Raises ConfigError where a network has layers that several processes cannot compute together."""
    own = unshared_layers(network)
    if own and (processes := processes_of(config.runtime)) > 1:
        raise ConfigError(
            f"runtime.processes={processes}: backbone={config.backbone.name} has {', '.join(own)}, which looks at the inputs "
            "of one process alone; take 1"
        )
