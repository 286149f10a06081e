"""What an architecture of the library transformers is: its settings, and its tensors' names beside those of this program."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from ssl_cli.data.tokens import Vocabulary

ACTIVATIONS = {"gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "relu": "relu"}


@dataclass(frozen=True)
class Same:
    """A tensor of this program that is these of theirs, one below the other, each transposed where that is said."""

    own: str
    theirs: tuple[str, ...]
    transposed: bool = False

    def read(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Theirs → own, in float32."""
        parts = [tensors[name].float() for name in self.theirs]
        return torch.cat([part.T if self.transposed else part for part in parts]).contiguous()

    def written(self, value: Tensor) -> dict[str, Tensor]:
        """Own → theirs."""
        parts = value.detach().cpu().chunk(len(self.theirs))
        return {
            name: (part.T if self.transposed else part).contiguous()
            for name, part in zip(self.theirs, parts, strict=True)
        }

    def their_shape(self, own: tuple[int, ...]) -> tuple[int, ...]:
        """The shape that each of theirs has where the own one has this."""
        shape = (own[0] // len(self.theirs), *own[1:])
        return shape[::-1] if self.transposed else shape


def layer(own: str, theirs: str, *names: str, transposed: bool = False) -> Iterator[Same]:
    """Weight and bias of a layer, or of several that are one here: `theirs` ends before the `names` of these."""
    for part in ("weight", "bias"):
        yield Same(f"{own}.{part}", tuple(f"{theirs}{name}.{part}" for name in names), transposed and part == "weight")


@dataclass(frozen=True)
class Architecture:
    """One of them. A subclass has the fields of `config.json` that decide what is computed, with the library's defaults.

    kind: as `model_type` says it; title: as people call it.
    prefix: of the network's tensors in a model that has output layers too.
    tie_word_embeddings: whether the output layer has the weights of the token embeddings, as it always has here.
    """

    tie_word_embeddings: bool = True

    kind: ClassVar[str]
    title: ClassVar[str]
    prefix: ClassVar[str]

    @classmethod
    def unlike(cls, settings: Mapping[str, Any], vocabulary: Vocabulary) -> Iterator[str]:
        """A sentence for each setting of a transformer that this architecture does not have."""
        raise NotImplementedError

    @classmethod
    def described(cls, settings: Mapping[str, Any], vocabulary: Vocabulary) -> dict[str, Any]:
        """`config.json` of a transformer with these settings."""
        raise NotImplementedError

    @classmethod
    def model_class(cls, parts: set[str]) -> str:
        """The library's class of a network with these output layers."""
        raise NotImplementedError

    @classmethod
    def outputs(cls) -> dict[str, list[Same]]:
        """The tensors of output layers, by the names of the files in which a run keeps them."""
        raise NotImplementedError

    def problems(self) -> Iterator[str]:
        """A sentence for each setting that no transformer of this program has."""
        raise NotImplementedError

    def settings(self) -> dict[str, Any]:
        """The settings of the transformer that computes the same."""
        raise NotImplementedError

    def tensors(self) -> list[Same]:
        """The tensors of the network."""
        raise NotImplementedError

    def rows(self) -> dict[str, int]:
        """How many rows tables of embeddings have that the data decide here, by their names here."""
        raise NotImplementedError

    def language_rows(self, languages: tuple[str, ...]) -> list[int]:
        """The rows of languages' embeddings.

        Raises:
            ValueError: one of them is none of the network's.
        """
        raise ValueError(f"{self.title} has no languages")


def special_tokens(vocabulary: Vocabulary) -> dict[str, int]:
    """The ids of special tokens as every configuration has them."""
    return {"pad_token_id": vocabulary.pad, "bos_token_id": vocabulary.first, "eos_token_id": vocabulary.last}
