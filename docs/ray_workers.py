"""One training on several workers of a Ray cluster: `python docs/ray_workers.py 2 pretrain method=simclr …`.

Each worker is a process of the training, told by the environment what `torchrun` would tell it. The folder that this is started
in must be there on every machine.
"""

import os
import socket
import subprocess
import sys

USAGE = (
    "usage: python docs/ray_workers.py WORKERS STAGE [KEY=VALUE …], such as: python docs/ray_workers.py 2 pretrain\n"
)
if len(sys.argv) < 3 or not sys.argv[1].isdecimal() or not int(sys.argv[1]):  # before Ray, whose import takes seconds
    sys.stderr.write(USAGE)
    sys.exit(2)
try:
    import ray
    from ray.util.placement_group import placement_group
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy
except ModuleNotFoundError as error:
    sys.stderr.write(f"{error}; it comes with: pip install 'ssl-cli[ray]'\n")
    sys.exit(2)


@ray.remote
def meeting_place() -> dict[str, str]:
    """The address of the first worker's machine, and a port that is free there."""
    with socket.socket() as free:
        free.bind(("", 0))
        return {"MASTER_ADDR": ray.util.get_node_ip_address(), "MASTER_PORT": str(free.getsockname()[1])}


@ray.remote(max_retries=0)
def work(words: list[str], folder: str, told: dict[str, str]) -> int:
    """One process of the training, which sees the GPUs of its worker alone; its exit code."""
    command = [sys.executable, "-m", "ssl_cli", *words]
    return subprocess.run(command, cwd=folder, env={**os.environ, **told}, check=False).returncode


def main() -> int:
    """Start the workers; the exit code of the first one, which is the command."""
    count, words = int(sys.argv[1]), sys.argv[2:]
    ray.init()
    each = {"CPU": 1.0, "GPU": 1.0} if ray.cluster_resources().get("GPU") else {"CPU": 1.0}
    group = placement_group([each] * count)
    ray.get(group.ready())

    def at(rank: int) -> dict:
        place = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=rank)
        return {"num_cpus": each["CPU"], "num_gpus": each.get("GPU", 0), "scheduling_strategy": place}

    told = ray.get(meeting_place.options(**at(0)).remote()) | {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": "1"}
    started = [
        work.options(**at(rank)).remote(words, os.getcwd(), told | {"RANK": str(rank), "LOCAL_RANK": "0"})  # noqa: PTH109
        for rank in range(count)
    ]
    return ray.get(started)[0]


if __name__ == "__main__":
    sys.exit(main())
