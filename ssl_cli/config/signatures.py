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
    "typing": typing,
    "schema": schema,
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
    module = ast.parse(_source(path, module_name))
    arguments = _function(path, name, module).args
    types = _types(module)
    if arguments.kwarg:
        raise ConfigError(f"{path}: takes **{arguments.kwarg.arg}, so misspelt keys could not be noticed")
    positional = arguments.posonlyargs + arguments.args
    defaults = [None] * (len(positional) - len(arguments.defaults)) + arguments.defaults
    pairs = [*zip(positional, defaults, strict=True), *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]
    return {
        argument.arg: Parameter(argument.arg, _annotation(argument.annotation, types), default is None)
        for argument, default in pairs
        if argument.arg != "self"
    }


def _source(path: str, module_name: str) -> str:
    try:
        spec = importlib.util.find_spec(module_name) if module_name else None
    except (ImportError, ValueError):
        spec = None
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        raise ConfigError(
            f"{path}: there is no Python module {module_name or path!r}; the folder of its package must be in PYTHONPATH"
        )
    return Path(spec.origin).read_text(encoding="utf-8")


def _function(path: str, name: str, module: ast.Module) -> ast.FunctionDef:
    for node in module.body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return node
        if isinstance(node, ast.ClassDef) and node.name == name:
            for member in node.body:
                if isinstance(member, ast.FunctionDef) and member.name == "__init__":
                    return member
            raise ConfigError(f"{path}: the class has no constructor of its own")
    raise ConfigError(f"{path}: its module defines no {name!r}")


def _types(module: ast.Module) -> dict[str, Any]:
    """The types that settings can have, by name, those that a module names itself too: `Side = Annotated[int, "[4, inf)"]`."""
    types = dict(KNOWN_TYPES)
    for node in module.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, (ast.Subscript, ast.BinOp)):
            types |= {name.id: _annotation(node.value, types) for name in node.targets if isinstance(name, ast.Name)}
    return types


def _annotation(node: ast.expr | None, types: dict[str, Any]) -> Any:
    """Evaluate an annotation, which may be quoted, among the types that settings can have."""
    if node is None:
        return Any
    try:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node = ast.parse(node.value, mode="eval").body
        return eval(compile(ast.Expression(node), "<annotation>", "eval"), {"__builtins__": {}}, types)
    except (NameError, AttributeError, TypeError, SyntaxError):
        return Any
