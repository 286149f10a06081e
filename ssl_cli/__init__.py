"""Self-supervised pre-training against label budgets, from the command line and from Python.

`load_classifier`, `load_backbone` and `run` come from `ssl_cli.api`, which is imported when one of them is first asked for, since
PyTorch takes seconds.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_OF_THE_API = ("load_classifier", "load_backbone", "run")


def __getattr__(name: str) -> Any:
    if name in _OF_THE_API:
        return getattr(importlib.import_module("ssl_cli.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_OF_THE_API])
