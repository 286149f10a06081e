"""The test inputs of a data set, corrupted: the same ones for every classifier."""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import torch
import torch.nn.functional as F

from ssl_cli.augment import corruptions, text_corruptions
from ssl_cli.augment.views import encode
from ssl_cli.data.text.tokenizer import texts_of
from ssl_cli.data.tokens import Tokens
from ssl_cli.data.types import Dataset, Inputs, as_tensor, as_texts
from ssl_cli.randomness import generator
from ssl_cli.report import pictures
from ssl_cli.report.texts import save_texts
from ssl_cli.training.evaluate import BATCH

KEPT = 50_000_000  # tokens of corrupted texts, which take longer to make than a small network takes to read them


class CorruptedTest:
    """Test inputs at each strength of each corruption.

    Args:
        dataset: of images or texts.
        strengths: of each corruption, by name.
        seed: of what is random.
        device: where images are corrupted.
    """

    def __init__(self, dataset: Dataset, strengths: dict[str, list[float]], seed: int, device: torch.device):
        self.dataset, self.strengths, self.seed, self.device = dataset, strengths, seed, device
        self._made: dict[tuple[str, float], list[Inputs]] = {}

    def parts(self, name: str, strength: float) -> list[Inputs] | Iterator[Inputs]:
        """The test inputs, corrupted batch by batch so that memory does not grow with N; short texts are kept."""
        inputs = self.dataset.test.inputs
        if not isinstance(inputs, Tokens) or self._count() * int(inputs.lengths.sum()) > KEPT:
            return self._parts(name, strength)
        if (name, strength) not in self._made:
            self._made[name, strength] = list(self._parts(name, strength))
        return self._made[name, strength]

    def _count(self) -> int:
        return sum(map(len, self.strengths.values()))

    def _parts(self, name: str, strength: float) -> Iterator[Inputs]:
        inputs = self.dataset.test.inputs
        for first in range(0, len(inputs), BATCH):
            yield self._corrupted(inputs[first : first + BATCH], name, strength, first)

    def _corrupted(self, part: Inputs, name: str, strength: float, first: int = 0) -> Inputs:
        source = generator(self.seed, f"shift {name}", first)
        if self.dataset.vocabulary is None:
            return corruptions.corrupted(as_tensor(part).to(self.device), name, strength, source)
        return text_corruptions.corrupted(self.dataset.vocabulary, as_texts(part), name, strength, source)

    def caveats(self) -> list[str]:
        """What is to be said of corruptions of texts that a tokenizer does not see."""
        clean, unseen = self.dataset.test.inputs, []
        if not isinstance(clean, Tokens):
            return []
        for name, values in self.strengths.items():
            pairs = zip(clean.split(BATCH), self.parts(name, max(values)), strict=True)
            if all(torch.equal(before.read(), as_texts(after).read()) for before, after in pairs):
                unseen.append(name)
        return [f"the tokenizer ignores {', '.join(unseen)}: no token of a test text changes by it"] if unseen else []

    def save_picture(self, path: Path) -> None:
        """Two test images, clean and at each strength, a row per corruption; or a text, a line per corruption and strength."""
        if self.dataset.vocabulary is not None:
            text, known = as_texts(self.dataset.test.inputs[:1]), self.dataset.vocabulary
            lines = [("clean", texts_of(known, text)[0])]
            for name, values in self.strengths.items():
                said = (texts_of(known, as_texts(self._corrupted(text, name, strength)))[0] for strength in values)
                lines += [(f"{name} {strength:g}", one) for strength, one in zip(values, said, strict=True)]
            save_texts(lines, path)
            return
        images = encode(as_tensor(self.dataset.test.inputs[:2]), 1.0)
        longest = 1 + max(map(len, self.strengths.values()))
        rows = {}
        for name, values in self.strengths.items():
            changed = (as_tensor(self._corrupted(images, name, strength)).cpu() for strength in values)
            seen = list(chain([images], changed))
            empty = (0, 0, 0, 0, 0, 0, 0, longest - len(seen))
            rows[name] = F.pad(torch.stack(seen, dim=1), empty, value=1.0).flatten(0, 1)
        pictures.save_rows(rows, path)
