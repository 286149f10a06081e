"""Documents of several sentences that every installation has: the docstrings of the packages that this program needs."""

import ast
import hashlib
import importlib.util
import inspect
import random
import re
import warnings
from collections.abc import Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import Annotated

from ssl_cli.config.schema import Bpe, Count, TextFacts
from ssl_cli.data.text.corpus import Corpus, Text
from ssl_cli.data.text.store import stored
from ssl_cli.data.types import Dataset
from ssl_cli.errors import ConfigError

READING = 1  # raised when the same files give other texts
FEWEST = 2  # sentences of a document
SHORTEST = 3  # words of a sentence
SKIPPED = {"tests", "test", "__pycache__", "site-packages"}  # folders
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z`\"'(\[:*])")
# Where prose ends: a line `Args:` or `Parameters`, or one that begins with `:param name:`.
END = re.compile(
    r"^\s*((args?|arguments|parameters?|params|returns?|yields?|raises|examples?|shape|inputs?|outputs?|attributes|references|"
    r"see also|keyword args|keyword arguments|warns|methods)\s*:*\s*$|:\w+[^`\n]*:(?!`))",
    re.IGNORECASE | re.MULTILINE,
)
NO_PROSE = (">>>", "..", "::", "-", "*", "+", "|", "=", "$", "@", "#", "[")


def docstrings(
    packages: list[str],
    most: Count,
    test_fraction: Annotated[float, "(0, 1)"],
    tokenizer: Bpe,
    cache: Path,
    facts: TextFacts,
) -> Dataset:
    """The prose of docstrings, with the package as the class; source is read and not imported.

    Args:
        packages: names by which installed packages are imported.
        most: documents of a package, at most; its files are read in a fixed shuffled order until there are so many.
        test_fraction: of the documents of each package that is held out; always the same ones.
        tokenizer: how texts become tokens.
        cache: the folder where tokens are kept.
        facts: what is known.

    Raises:
        ConfigError: a package is not installed, or fewer than two have documents.
    """
    source = {
        "docstrings": READING,
        "packages": {name: _signature(name) for name in packages},
        "most": most,
        "test_fraction": test_fraction,
    }
    corpus = Corpus(source, partial(_texts, packages, most), has_sentences=True, test_fraction=test_fraction)
    return stored(corpus, tokenizer, cache)


def _texts(packages: list[str], most: int) -> Iterator[Text]:
    for name in packages:
        for sentences, place in _documents(name, _signature(name), most):
            yield Text(sentences, label=name, place=place)


@lru_cache(maxsize=32)  # the store reads texts several times
def _documents(name: str, _: str, most: int) -> list[tuple[tuple[str, ...], str]]:
    """Different documents of a package, with the file and line of each."""
    found: dict[tuple[str, ...], str] = {}
    root, files = _files(name)
    random.Random(name).shuffle(files)
    for path in files:
        for text, line in _docstrings(path):
            sentences = sentences_of(text)
            if len(sentences) >= FEWEST:
                found.setdefault(sentences, f"{path.relative_to(root).as_posix()}:{line}")
            if len(found) == most:
                return list(found.items())
    return list(found.items())


def _docstrings(path: Path) -> Iterator[tuple[str, int]]:
    """The docstrings of a file with their lines; none where it is no Python of this version."""
    content = path.read_text(encoding="utf-8", errors="ignore")
    if '"""' not in content and "'''" not in content:
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of strings with odd backslashes
            nodes: list[ast.stmt | ast.Module] = [ast.parse(content)]
    except (SyntaxError, ValueError, RecursionError):
        return
    while nodes:
        node = nodes.pop()
        text = ast.get_docstring(node, clean=False) if isinstance(node, DOCUMENTED) else None
        if text:
            yield text, getattr(node, "lineno", 1)
        for part in ("body", "orelse", "finalbody"):
            nodes += [each for each in getattr(node, part, []) if isinstance(each, ast.stmt)]


def sentences_of(docstring: str) -> tuple[str, ...]:
    """The sentences of the prose before the first section on arguments or the like; lists, code and tables are no prose."""
    sentences: list[str] = []
    cleaned = inspect.cleandoc(docstring)
    end = END.search(cleaned)
    prose = cleaned[: end.start()] if end else cleaned
    for paragraph in re.split(r"\n\s*\n", prose):
        if paragraph.startswith((" ", "\t", *NO_PROSE)) or ">>>" in paragraph:
            continue
        whole = " ".join(paragraph.split())
        parts = SENTENCE_END.split(whole) if whole[-1:] in ".!?:" else []
        sentences += [part for part in parts if len(part.split()) >= SHORTEST]
    return tuple(sentences)


def _files(name: str) -> tuple[Path, list[Path]]:
    """The source files of a package in order, and the folder that it is in."""
    try:
        spec = importlib.util.find_spec(name) if name.isidentifier() else None
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        raise ConfigError(f"dataset.packages={name}: no such package is installed; install it, or leave it out")
    if spec.submodule_search_locations:
        root = Path(next(iter(spec.submodule_search_locations)))
        inside = ((path, path.relative_to(root).parts[:-1]) for path in sorted(root.rglob("*.py")))
        return root.parent, [path for path, folders in inside if not SKIPPED & set(folders)]
    file = Path(spec.origin or "")
    return file.parent, [file] if file.suffix == ".py" else []


def _signature(name: str) -> str:
    """A hash of the names, sizes and times of a package's files, which another version changes."""
    root, files = _files(name)
    states = [(path.relative_to(root).as_posix(), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return hashlib.sha256(repr(states).encode()).hexdigest()[:24]
