"""How many threads a training gets where the settings leave it open. Does not import PyTorch."""

import os

from ssl_cli.cores import cores


def own_threads() -> int:
    """As many as there are cores that this process may use, and no more than whoever started it says.

    Slurm says it by what was allocated, other launchers and PyTorch's own by OMP_NUM_THREADS.
    """
    said = (os.environ.get(name, "") for name in ("OMP_NUM_THREADS", "SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE"))
    return min([cores(), *(int(value) for value in said if value.isdecimal() and int(value) > 0)])
