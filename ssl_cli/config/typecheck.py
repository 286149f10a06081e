"""Plain values against the types of `ssl_cli.config.schema`: all complaints at once, each with its key, value and choice."""

import difflib
import importlib
import itertools
import math
import types
import typing
from collections.abc import Callable, Iterable, Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin

from ssl_cli.config import signatures
from ssl_cli.config.schema import Component, Stage
from ssl_cli.errors import ConfigError

LARGEST = {int: 2**63 - 1, float: 3.4e38}  # what tensors hold: int64 and float32
INVALID = object()  # stands for a value that has been complained about


# Of a component's group and import path: None where settings may name it, else why not, to follow the key.
Allowed = Callable[[str, str], str | None]


def anything(_group: str, _path: str) -> None:
    """What a person types may name any component: they could run its code themselves."""


def typed(value: Any, kind: Any, key: str, problems: list[str], allowed: Allowed) -> Any:
    """`value` as `kind`; what does not fit is added to `problems`. No module of a component is looked at before it is
    `allowed`: finding a module runs the code of the packages around it.
    """
    origin = get_origin(kind)
    if kind is Any:
        return value
    if origin is Annotated:
        base, interval = get_args(kind)[:2]
        inner = typed(value, base, key, problems, allowed)
        if inner is not INVALID and inner is not None and not _within(inner, interval):
            problems.append(f"{key}={shown(value)}: must be {words(interval)}")
            return INVALID
        return inner
    if origin in (Union, types.UnionType):
        return _typed_union(value, get_args(kind), key, problems, allowed)
    if isinstance(kind, type) and issubclass(kind, Component):
        return _typed_component(value, kind, key, problems, allowed)
    if isinstance(kind, type) and issubclass(kind, Stage):
        return _typed_stage(value, kind, key, problems, allowed)
    if isinstance(kind, type) and is_dataclass(kind):
        return _typed_dataclass(value, kind, key, problems, allowed)
    if origin in (list, tuple) and isinstance(value, (list, tuple)):
        value = cast(Sequence[Any], value)
        item_kinds: Iterable[Any]
        item_kinds = itertools.repeat(get_args(kind)[0]) if origin is list else get_args(kind)
        if origin is tuple and len(value) != len(get_args(kind)):
            problems.append(f"{key}={shown(value)}: must be {len(get_args(kind))} values")
            return INVALID
        items = [
            typed(v, k, f"{key}[{i}]", problems, allowed)
            for i, (v, k) in enumerate(zip(value, item_kinds, strict=False))
        ]
        return INVALID if INVALID in items else cast(Any, origin)(items)
    if origin is dict and isinstance(value, dict):
        filled = {
            name: typed(item, get_args(kind)[1], f"{key}.{name}", problems, allowed)
            for name, item in cast(dict[str, Any], value).items()
        }
        return INVALID if INVALID in filled.values() else filled
    if origin is Literal:
        if value in get_args(kind) and not isinstance(value, bool):
            return value
        options = [str(option) for option in get_args(kind)]
        near = difflib.get_close_matches(str(value), options, n=1)
        problems.append(
            f"{key}={shown(value)}: must be {one_of(options)}{f'; did you mean {near[0]}?' if near else ''}"
        )
        return INVALID
    most = LARGEST.get(kind) if isinstance(kind, type) and _is(value, kind) else None
    if most is not None and abs(value) > most:
        problems.append(f"{key}={shown(value)}: must be at most {most:.4g}, the largest that can be computed with")
        return INVALID
    plain = cast(Any, kind)
    if origin is None and _is(value, plain):
        return Path(value).expanduser().absolute() if kind is Path else plain(value)
    problems.append(f"{key}={shown(value)}: must be {_type_name(kind)}")
    return INVALID


def _is(value: Any, kind: type) -> bool:
    if isinstance(value, bool) or kind is bool:
        return isinstance(value, bool) and kind is bool
    if kind is float:
        return isinstance(value, (int, float)) and math.isfinite(value)
    if kind is Path:  # an empty one would be the folder at hand, or the root of the disk
        return isinstance(value, Path) or (isinstance(value, str) and bool(value.strip()))
    return isinstance(value, kind)


def _typed_union(value: Any, kinds: tuple[Any, ...], key: str, problems: list[str], allowed: Allowed) -> Any:
    if value is None and type(None) in kinds:
        return None
    complaints: list[str] = []
    others = [kind for kind in kinds if kind is not type(None)]
    for kind in others:
        complaints = []
        fitting = typed(value, kind, key, complaints, allowed)
        if not complaints:
            return fitting
    if len(others) == 1 and value is not None:
        problems += complaints
    else:
        problems.append(f"{key}={shown(value)}: must be {' or '.join(map(_type_name, kinds))}")
    return INVALID


def _typed_dataclass(value: Any, kind: type, key: str, problems: list[str], allowed: Allowed) -> Any:
    if not isinstance(value, dict):
        problems.append(f"{key}={shown(value)}: must be settings ({', '.join(f.name for f in fields(kind))})")
        return INVALID
    annotations = typing.get_type_hints(kind, include_extras=True)
    hints = {field.name: annotations[field.name] for field in fields(kind)}
    required = {
        field.name for field in fields(kind) if field.default is MISSING
    }  # others may be younger than a saved run
    given = cast(dict[str, Any], value)
    return _filled(given, hints, required, key, problems, allowed, lambda arguments: kind(**arguments))


def _typed_component(
    value: Any, kind: type[Component], key: str, problems: list[str], allowed: Allowed
) -> Component | Any:
    given = cast(dict[str, Any], value) if isinstance(value, dict) else {}
    path = given.get("_target_")
    if not isinstance(path, str):
        problems.append(f"{key}: must name what to build as _target_: package.module.Name")
        return INVALID
    refusal = allowed(kind.group, path)
    if refusal:
        problems.append(f"{key}._target_={path}: {refusal}")
        return INVALID
    try:
        taken = signatures.parameters(path)
    except ConfigError as error:
        problems += [f"{key}._target_={problem}" for problem in error.problems]
        return INVALID
    hints = {name: parameter.annotation for name, parameter in taken.items() if name not in kind.given}
    required = {name for name in hints if taken[name].required}
    arguments = {name: item for name, item in given.items() if name not in ("_target_", "name")}
    name = str(given.get("name", key))  # a component that is no choice of a group goes by its key
    return _filled(arguments, hints, required, key, problems, allowed, lambda a: kind(name, path, a))


def _typed_stage(value: Any, kind: type[Stage], key: str, problems: list[str], allowed: Allowed) -> Stage | Any:
    """A stage's settings: their class stands in a module that does not import torch, so it can be looked at itself."""
    given = cast(dict[str, Any], value) if isinstance(value, dict) else {}
    path = given.get("_target_")
    if not isinstance(path, str):
        problems.append(f"{key}: must name its settings as _target_: package.module.Name")
        return INVALID
    refusal = allowed(kind.group, path)
    if refusal:
        problems.append(f"{key}._target_={path}: {refusal}")
        return INVALID
    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        problems.append(f"{key}._target_={path}: cannot be imported ({error})")
        return INVALID
    if not (isinstance(found, type) and issubclass(found, Stage) and is_dataclass(found)):
        problems.append(f"{key}._target_={path}: must be a dataclass that inherits from ssl_cli.config.schema.Stage")
        return INVALID
    try:
        taken = signatures.parameters(found.function)
    except ConfigError as error:
        problems += [f"{key}._target_={path}: its function={problem}" for problem in error.problems]
        return INVALID
    required = [name for name, parameter in taken.items() if parameter.required]
    if len(required) != 2:
        problems.append(
            f"{key}._target_={path}: its function={found.function}: must take two arguments, config and run"
        )
        return INVALID
    settings = {name: item for name, item in given.items() if name != "_target_"}
    return _typed_dataclass(settings, found, key, problems, allowed)


def _filled(
    value: dict[str, Any], hints: dict[str, Any], required: set[str], key: str, problems: list[str], allowed: Allowed,
    make: Callable[[dict[str, Any]], Any],
) -> Any:  # fmt: skip
    """Every key checked; the whole made only where nothing is missing, unknown or wrong."""
    prefix = f"{key}." if key else ""
    before = len(problems)
    for name in value:
        if name not in hints:
            problems.append(f"{prefix}{name}: no such key{nearest(str(name), list(hints))}")
    problems += [f"{prefix}{name}: is missing" for name in hints if name in required and name not in value]
    filled = {n: typed(value[n], hints[n], f"{prefix}{n}", problems, allowed) for n in hints if n in value}
    return make(filled) if len(problems) == before else INVALID


def _within(number: float, interval: str) -> bool:
    low, high = _bounds(interval)
    above = number > low if interval[0] == "(" else number >= low
    below = number < high if interval[-1] == ")" else number <= high
    return above and below


def _bounds(interval: str) -> tuple[float, float]:
    low, high = interval[1:-1].split(", ")
    return float(low), float(high)


def words(interval: str) -> str:
    """An interval in words that follow `must be`."""
    low, high = _bounds(interval)
    if math.isinf(high):
        return f"{'more than' if interval[0] == '(' else 'at least'} {low:g}"
    return f"in {interval}"


def _type_name(kind: Any) -> str:
    if get_origin(kind) is Annotated:
        base, interval = get_args(kind)[:2]
        return f"{_type_name(base)} {words(interval)}"
    if get_origin(kind) is Literal:
        return one_of([str(option) for option in get_args(kind)])
    if get_origin(kind) in (list, tuple):
        return "a list of values"
    if get_origin(kind) is dict:
        return "settings by name, {NAME: …}"
    names = {int: "a whole number", float: "a number", str: "text", bool: "true or false", Path: "a path"}
    return "null" if kind is type(None) else names.get(kind, getattr(kind, "__name__", str(kind)))


def shown(value: Any) -> str:
    """A value as it is typed in YAML and on the command line."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def one_of(options: list[str]) -> str:
    """The options in words that follow `must be`."""
    return options[0] if len(options) == 1 else f"one of {', '.join(options)}"


def nearest(word: str, words: list[str]) -> str:
    """The hint behind a misspelt word, or, where nothing is near and the list is short, what there is."""
    near = difflib.get_close_matches(word, words, n=1, cutoff=0.6)
    if near:
        return f"; did you mean {near[0]}?"
    return f" (there are: {', '.join(words)})" if len(words) <= 12 else ""
