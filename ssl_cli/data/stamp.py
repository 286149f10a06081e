"""By what data and machine are known again without being read or asked: settings, installed packages, dates of files.

An equal stamp means the same data. Another one means nothing: files that were copied or touched have other dates, and only
reading them tells whether something else is in them.
"""

import hashlib
import json
import os
import platform
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, cast

from ssl_cli.config.build import plain
from ssl_cli.config.schema import DatasetComponent, Runtime
from ssl_cli.config.trust import is_own
from ssl_cli.data.find_files import walk
from ssl_cli.errors import ConfigError

WRITTEN = "cache"  # the argument of data sets that names where they keep what they have made
ABOUT_DEVICES = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ZE_AFFINITY_MASK")


def data_stamp(dataset: DatasetComponent) -> str | None:
    """A hash of the settings of a data set, of the packages that may bring its data, and of the dates of its files.

    Returns:
        None where nothing can be said: the data set is not one of this program, or its files cannot be looked at.
    """
    if not is_own(dataset.path):
        return None
    arguments = {key: value for key, value in dataset.arguments.items() if key != WRITTEN}
    digest = hashlib.sha256(json.dumps([installed(), dataset.path, plain(arguments)], sort_keys=True).encode())
    try:
        for place in sorted(set(_places(plain(arguments)))):
            for line in _dates(place):
                digest.update(line.encode(errors="surrogateescape"))
    except (ConfigError, OSError):
        return None
    return f"data:{digest.hexdigest()[:32]}"


def machine_stamp(runtime: Runtime) -> str:
    """A hash of all that decides the precision of a run: settings, this machine, and the packages that ask it."""
    devices = sorted(path.name for path in Path("/dev").glob("nvidia[0-9]*"))
    visible = {name: os.environ.get(name) for name in ABOUT_DEVICES}
    about = [installed(), platform.node(), _processor(), devices, visible, runtime.device, runtime.precision]
    return f"machine:{hashlib.sha256(json.dumps(about).encode()).hexdigest()[:32]}"


@cache
def installed() -> str:
    """Python and the packages in it with their versions, by the names of the folders that say them."""
    folders = [Path(place) for place in sys.path if place and Path(place).is_dir()]
    found = {path.name for folder in folders for path in folder.glob("*.*-info")}
    return json.dumps([platform.python_version(), sorted(found)])


def _processor() -> str:
    """What the processor can do, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    except OSError:
        return platform.processor()
    return "\n".join(line for line in lines if line.startswith(("model name", "flags", "Features")))


def _places(value: Any) -> Iterator[Path]:
    """Every file or folder that a setting names, in settings inside settings too."""
    if isinstance(value, dict):
        for inside in cast(dict[str, Any], value).values():
            yield from _places(inside)
    elif isinstance(value, list):
        for inside in cast(list[Any], value):
            yield from _places(inside)
    elif isinstance(value, str) and value and "\0" not in value and len(value) < 4096:
        place = Path(value).expanduser().absolute()
        if os.path.lexists(place):
            yield place


def _dates(place: Path) -> Iterator[str]:
    """A line for each file at a place: its name, its size, and when its content and the file itself were changed."""
    if not place.is_dir():
        yield _line(str(place), place.stat())
        return
    for name, entry in sorted(walk("dataset", place), key=lambda found: found[0]):
        yield _line(f"{place}/{name}", entry.stat())


def _line(name: str, about: os.stat_result) -> str:
    return f"{name}\0{about.st_size}\0{about.st_mtime_ns}\0{about.st_ctime_ns}\n"
