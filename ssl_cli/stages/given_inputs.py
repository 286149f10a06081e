"""`stage.inputs`: files that belong to no data set, as batches of what a finished network takes."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from ssl_cli.data.images.decoding import find_images, read_images
from ssl_cli.data.images.files import Reading, UnreadableError
from ssl_cli.data.progress import show_progress
from ssl_cli.data.text.reading import find_texts, read_texts, tokens_of
from ssl_cli.data.types import Dataset, Inputs
from ssl_cli.errors import ConfigError
from ssl_cli.stages.trained import TrainedNetwork

KEY = "stage.inputs"
AT_ONCE = 256  # inputs
BYTES_AT_ONCE = 64 << 20  # of images
SHOWN_FROM = 200  # files, whose reading takes seconds


@dataclass(frozen=True)
class Part:
    """Some of the inputs, with their names; texts as they were written, else none."""

    names: list[str]
    inputs: Inputs
    texts: list[str]


@dataclass
class GivenInputs:
    """The inputs that a person gave, read part by part.

    trained: the network that they are for; column: of texts in tables.
    skipped: names and reasons of those that could not be read, complete once all parts are read; paths: files by their names.
    """

    trained: TrainedNetwork
    root: Path
    column: str
    skipped: list[tuple[str, str]] = field(default_factory=list)
    paths: dict[str, Path] = field(default_factory=dict)
    _digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    def parts(self) -> Iterator[Part]:
        """The inputs in the order of their names.

        Raises:
            ConfigError: there are none, or none could be read.
        """
        form = self.trained.form
        is_of_texts = form.vocabulary is not None
        self.paths, others = find_texts(KEY, self.root) if is_of_texts else find_images(KEY, self.root)
        kind = "text" if is_of_texts else "image"
        if not self.paths:
            raise ConfigError(f"{KEY}={self.root}: has no file whose name ends as that of {kind}s does")
        self.skipped += [(name, f"its name is not that of a file of {kind}s") for name in others]
        count = 0
        for part in self._texts() if is_of_texts else self._images(reading_of(form)):
            count += len(part.names)
            self._digest.update("\0".join(part.names).encode(errors="surrogateescape"))
            self._digest.update(_content(part))
            yield part
        if not count:
            first = next((f"; {name}: {why}" for name, why in self.skipped if name not in others), "")
            raise ConfigError(f"{KEY}={self.root}: holds no {kind} that can be read{first}")

    @property
    def hash(self) -> str:
        """Of the names and contents of what was read."""
        return self._digest.hexdigest()[:16]

    def _images(self, reading: Reading) -> Iterator[Part]:
        size = max(1, min(AT_ONCE, BYTES_AT_ONCE // reading.nbytes))
        names: list[str] = []
        pixels: list[np.ndarray] = []
        for name, read in zip(self._shown(), read_images(self.paths.values(), reading), strict=True):
            if isinstance(read, UnreadableError):
                self.skipped.append((name, str(read)))
                continue
            names.append(name)
            pixels.append(read)
            if len(names) == size:
                yield Part(names, torch.from_numpy(np.stack(pixels)), [])
                names, pixels = [], []
        if names:
            yield Part(names, torch.from_numpy(np.stack(pixels)), [])

    def _texts(self) -> Iterator[Part]:
        names: list[str] = []
        texts: list[str] = []
        for file in self._shown():
            for name, text, problem in self._rows(file):
                if problem or text is None:
                    self.skipped.append((name, problem))
                    continue
                names.append(name)
                texts.append(text)
                if len(names) == AT_ONCE:
                    yield Part(names, text_inputs(texts, self.trained), texts)
                    names, texts = [], []
        if names:
            yield Part(names, text_inputs(texts, self.trained), texts)

    def _rows(self, file: str) -> Iterator[tuple[str, str | None, str]]:
        """The texts of a file; one of several that is damaged is skipped from there on, the only one is a mistake."""
        try:
            yield from read_texts(KEY, file, self.paths[file], self.column)
        except ConfigError as error:
            if self.root.is_file():
                raise
            yield file, None, str(error)

    def _shown(self) -> Iterator[str]:
        """The names of the files, with a progress bar where there are many."""
        yield from show_progress("Reading", "files", len(self.paths), SHOWN_FROM, self.paths)


def reading_of(form: Dataset) -> Reading:
    """How image files become inputs of this form.

    Raises:
        ConfigError: they have another number of channels than image files do.
    """
    if form.reading is None or form.reading.channels not in (1, 3):
        raise ConfigError(
            f"stage.run: was trained on {form.described()}; image files have 1 channel or 3, so none can be an input"
        )
    return form.reading


def text_inputs(texts: list[str], trained: TrainedNetwork) -> Inputs:
    """Texts as a network for texts takes them."""
    vocabulary = trained.form.vocabulary
    if vocabulary is None:
        raise TypeError("the network takes images")
    mark = trained.config.dataset.arguments.get("sentences")
    return tokens_of(texts, vocabulary, mark if isinstance(mark, str) else None)


def _content(part: Part) -> bytes:
    if part.texts:
        return "\0".join(part.texts).encode(errors="surrogateescape")
    return part.inputs.numpy().tobytes() if isinstance(part.inputs, torch.Tensor) else b""
