"""What Slurm's `srun` tells the tasks of a step, as `torchrun` would say it. Does not import PyTorch.

A batch script itself, and a step of one task, are no several processes: SLURM_NTASKS does not tell them apart, but
SLURM_STEP_NUM_TASKS, which `srun` alone sets, does. A batch script that was submitted by a task inherits it, though; Slurm's
own process, from which a task or a batch script descends, says by its name which of the two it is.
"""

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

OWN_GPUS = ("SLURM_GPUS_PER_TASK", "SLURM_GPU_BIND", "SLURM_TRES_PER_TASK")  # told where each task sees GPUs of its own
FIRST_PORT, PORTS = 12_000, 20_000  # below those that systems give to whoever asks for any
OVER = ("COMPLETING", "CANCELLED", "TIMEOUT", "PREEMPTED", "DEADLINE")  # what Slurm calls a job that it ends
ASKED = 10.0  # seconds for Slurm to say how a job is, less than it waits until it kills it
STEPS = 16  # of one job, until two of them have the same port


def as_torchrun(said: Mapping[str, str]) -> dict[str, str]:
    """The variables of `torchrun` for a task of a step with several; none for any other process.

    Args:
        said: the environment. What it has of MASTER_ADDR, MASTER_PORT, OMP_NUM_THREADS and GLOO_SOCKET_IFNAME stays.
    """
    count, rank = said.get("SLURM_STEP_NUM_TASKS", "1"), said.get("SLURM_PROCID")
    if count in ("", "0", "1") or not rank:
        return {}
    here = _tasks_here(said.get("SLURM_STEP_TASKS_PER_NODE", ""), said.get("SLURM_NODEID", "0")) or int(count)
    if said.get("SLURM_GTIDS", "").isdecimal() and here > 1:  # one task on this machine: the batch script
        return {}
    alone = said.get("SLURM_STEP_NUM_NODES", said.get("SLURM_NNODES")) == "1"
    nodes = said.get("SLURM_STEP_NODELIST") or said.get("SLURM_JOB_NODELIST", "")
    found = {
        "MASTER_ADDR": "127.0.0.1" if alone else first_host(nodes),
        "MASTER_PORT": str(port(said.get("SLURM_JOB_ID", "0"), said.get("SLURM_STEP_ID", "0"))),
    }
    cores = said.get("SLURM_CPUS_ON_NODE", "")
    if cores.isdecimal() and not said.get("SLURM_CPUS_PER_TASK"):
        found["OMP_NUM_THREADS"] = str(max(1, int(cores) // here))
    if alone:
        found["GLOO_SOCKET_IFNAME"] = "lo"  # a machine's own name may lead nowhere
    kept = {name: value for name, value in found.items() if not said.get(name)}
    ranks = {"WORLD_SIZE": count, "RANK": rank, "LOCAL_RANK": said.get("SLURM_LOCALID", "0")}
    return {**kept, **ranks, "LOCAL_WORLD_SIZE": str(here)}


def typed_into_a_task() -> bool:
    """Whether a person types into a shell that is a task, as of `srun --pty bash`: other tasks know nothing of the command."""
    return any(map(os.isatty, (0, 1, 2))) and os.environ.get("SLURM_TASK_PID") != str(os.getpid())


def is_below_batch_script() -> bool:
    """Whether this process belongs to a batch script rather than to a step; False also where the processes above are hidden."""
    pid = os.getppid()
    while pid > 1:
        process = Path("/proc", str(pid))
        try:
            command = process.joinpath("cmdline").read_bytes().decode(errors="replace")
            parent = process.joinpath("stat").read_text().rpartition(")")[2].split()[1]
        except (OSError, IndexError):
            return False
        if command.startswith("slurmstepd:"):  # `slurmstepd: [30.batch]`, or `slurmstepd: [30.0]` above a task
            return ".batch]" in command
        pid = int(parent)
    return False


def is_ended_for_good(said: Mapping[str, str]) -> bool:
    """Whether Slurm ends this process's job and will not start it again, as after `scancel`; False where it does not say.

    A job that is told to end in good time, since it is preempted or its time will soon be up, still runs. One that is requeued
    has been started once more, by Slurm's count, than it was told at its beginning.

    Args:
        said: the environment.
    """
    job = said.get("SLURM_JOB_ID", "")
    try:
        shown = subprocess.run(
            ["scontrol", "--oneliner", "show", "job", job], capture_output=True, text=True, timeout=ASKED, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return False
    own = next((line for line in shown.stdout.splitlines() if line.startswith(f"JobId={job} ")), "")  # of an array, all
    found = dict(re.findall(r"\b(JobState|Restarts)=(\S+)", own))
    return found.get("JobState") in OVER and found.get("Restarts") == said.get("SLURM_RESTART_COUNT", "0")


def first_host(nodes: str) -> str:
    """The first of a list as Slurm writes it: `gpu[017-019,21],login` → `gpu017`."""
    first = re.match(r"(?:[^,\[]|\[[^\]]*\])*", nodes)
    return re.sub(r"\[(\d*)[^\]]*\]", r"\1", first[0]) if first else ""


def port(job: str, step: str) -> int:
    """A port that all tasks of a step know without asking, and that other steps beside it do not use."""
    numbers = [int(text) if text.isdecimal() else 0 for text in (job, step)]
    return FIRST_PORT + (numbers[0] * STEPS + numbers[1] % STEPS) % PORTS


def _tasks_here(tasks: str, node: str) -> int:
    """Of `2(x3),1` the number of a node, counted from 0; 0 where that is not told."""
    each = [int(n) for n, times in re.findall(r"(\d+)(?:\(x(\d+)\))?", tasks) for _ in range(int(times or 1))]
    return each[int(node)] if node.isdecimal() and int(node) < len(each) else 0
