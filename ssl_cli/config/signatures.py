"""What a constructor takes, read from its source without running it.

Settings are checked before torch is imported, which takes seconds; the modules of the networks import it. Their source
says what their constructors take all the same.
"""

import ast
import importlib.util
import typing
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ssl_cli.config import schema
from ssl_cli.errors import ConfigError

KNOWN_TYPES = {
    **vars(typing),
    "Path": Path,
    **{name: value for name, value in vars(schema).items() if not name.startswith("_")},
    **{builtin.__name__: builtin for builtin in (int, float, str, bool, list, dict, tuple)},
}


@dataclass(frozen=True)
class Parameter:
    """One argument; `annotation` is `Any` where the source's cannot be read without importing more."""

    name: str
    annotation: Any
    required: bool


@cache
def parameters(path: str) -> dict[str, Parameter]:
    """The arguments of the class or function at an import path, in order.

    Raises:
        ConfigError: there is no such module, no such name in it, or it takes `**kwargs`, which would hide misspelt keys.
    """
    module_name, _, name = path.rpartition(".")
    arguments = _function(path, name, ast.parse(_source(path, module_name))).args
    if arguments.kwarg:
        raise ConfigError(f"_target_={path}: takes **{arguments.kwarg.arg}, so misspelt keys could not be noticed")
    positional = arguments.posonlyargs + arguments.args
    defaults = [None] * (len(positional) - len(arguments.defaults)) + arguments.defaults
    pairs = [*zip(positional, defaults, strict=True), *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]
    return {
        argument.arg: Parameter(argument.arg, _annotation(argument.annotation), default is None)
        for argument, default in pairs
        if argument.arg != "self"
    }


def _source(path: str, module_name: str) -> str:
    try:
        spec = importlib.util.find_spec(module_name) if module_name else None
    except (ImportError, ValueError):
        spec = None
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        raise ConfigError(f"_target_={path}: there is no Python module {module_name or path!r}")
    return Path(spec.origin).read_text(encoding="utf-8")


def _function(path: str, name: str, module: ast.Module) -> ast.FunctionDef:
    for node in module.body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return node
        if isinstance(node, ast.ClassDef) and node.name == name:
            for member in node.body:
                if isinstance(member, ast.FunctionDef) and member.name == "__init__":
                    return member
            raise ConfigError(f"_target_={path}: the class has no constructor of its own")
    raise ConfigError(f"_target_={path}: its module defines no {name!r}")


def _annotation(node: ast.expr | None) -> Any:
    """Evaluate an annotation among the types that settings can have."""
    if node is None:
        return Any
    try:
        return eval(compile(ast.Expression(node), "<annotation>", "eval"), {"__builtins__": {}}, dict(KNOWN_TYPES))
    except (NameError, AttributeError, TypeError):
        return Any
