"""How the package is built, in numbers: `python benchmarks/structure.py [CHECKOUT …]`.

Rooms are the modules and packages right below `ssl_cli`. An arrow is an import from one room of another; floors are the rooms on
the longest way down along arrows, and an arrow runs up where it closes a circle of rooms. Configuration code is what stands in
`config/`, or, in the first layout, in the modules that did its work. Read as text: nothing is imported.
"""

import ast
import json
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

CONFIGURATION = ("config", "schema", "typed", "signatures", "contradictions", "needs", "trust")


def main() -> None:
    checkouts = [Path(word) for word in sys.argv[1:]] or [Path(__file__).parent.parent]
    found = [numbers(checkout / "ssl_cli") for checkout in checkouts]
    table = Table("", *(str(checkout.resolve().name) for checkout in checkouts))
    for key in found[0]:
        table.add_row(key, *(str(one[key]) for one in found))
    Console().print(table)
    print(json.dumps(found[-1], indent=1))


def numbers(package: Path) -> dict[str, object]:
    files = {path: path.read_text() for path in sorted(package.rglob("*.py"))}
    trees = {path: ast.parse(text) for path, text in files.items()}
    lines = {path: text.count("\n") for path, text in files.items()}
    sizes = {
        f"{path.stem}.{function.name}": size(function) for path, tree in trees.items() for function in functions(tree)
    }
    arrows = {(room(package, path), other) for path, tree in trees.items() for other in imported(package, tree)}
    arrows = {(one, other) for one, other in arrows if one != other and one not in ("__init__", "__main__")}
    longest_file, longest = max(lines, key=lines.get), max(sizes, key=sizes.get)
    own = sum(count for path, count in lines.items() if room(package, path) in CONFIGURATION)
    return {
        "rooms": len({room(package, path) for path in files} - {"__init__", "__main__"}),
        "floors": floors(arrows),
        "arrows up": len(circles(arrows)),
        "longest file": f"{longest_file.name} ({lines[longest_file]})",
        "longest function": f"{longest} ({sizes[longest]})",
        "median function": statistics.median(sizes.values()),
        "lines": sum(lines.values()),
        "share of configuration code": f"{own / sum(lines.values()):.0%}",
        "parameters of type Config": len(list(config_parameters(trees.values()))),
        "of them below stages/": len(
            [
                None
                for path, tree in trees.items()
                if room(package, path) not in ("stages", "cli", "config", "contradictions", "needs")
                for _ in config_parameters([tree])
            ]
        ),
    }


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))


def size(function: ast.FunctionDef) -> int:
    """Lines of code, without the docstring."""
    first, *_ = function.body
    is_docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return function.end_lineno - function.lineno + 1 - (first.end_lineno - first.lineno + 1 if is_docstring else 0)


def config_parameters(trees) -> Iterator[str]:
    for tree in trees:
        for function in functions(tree):
            for argument in (*function.args.args, *function.args.kwonlyargs):
                if isinstance(argument.annotation, ast.Name) and argument.annotation.id == "Config":
                    yield argument.arg


def room(package: Path, path: Path) -> str:
    first = path.relative_to(package).parts[0]
    return first.removesuffix(".py")


def imported(package: Path, tree: ast.AST) -> Iterator[str]:
    """The rooms of what a module imports, wherever in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == package.name:
            parts = node.module.split(".")[1:]
            yield from [parts[0]] if parts else [alias.name for alias in node.names if alias.name != "__version__"]


def circles(arrows: set[tuple[str, str]]) -> list[tuple[str, str]]:
    """Arrows from whose end one comes back to their beginning, but for one of each circle's that may be the way down."""
    back = [(one, other) for one, other in sorted(arrows) if one in reachable(other, arrows)]
    return back[: len(back) // 2]


def reachable(start: str, arrows: set[tuple[str, str]]) -> set[str]:
    seen, todo = set(), [start]
    while todo:
        here = todo.pop()
        if here not in seen:
            seen.add(here)
            todo += [other for one, other in arrows if one == here]
    return seen


def floors(arrows: set[tuple[str, str]]) -> int:
    """The longest way down, circles cut where they close."""
    down = arrows - set(circles(arrows))

    def depth(name: str, above: tuple[str, ...] = ()) -> int:
        below = [other for one, other in down if one == name and other not in above]
        return 1 + max((depth(other, (*above, name)) for other in below), default=0)

    return max((depth(name) for name, _ in down), default=1)


if __name__ == "__main__":
    main()
