"""What is in a data set, as one hash: the same wherever its files lie, and another one where a single pixel differs."""

import hashlib
import json
from collections.abc import Iterator

from torch import Tensor

from ssl_cli.data.tokens import Tokens
from ssl_cli.data.types import Dataset, Inputs, fingerprint

WHOLE = 2**32  # bytes of inputs that are looked at one by one; of more, some, and the dates of the files count too
BLOCK = 4096  # inputs at a time


def content_of(dataset: Dataset) -> str:
    """The hash of inputs, labels, cases, classes and names of files, of the training and the test part."""
    parts = (dataset.train, dataset.test)
    names = [] if dataset.files is None else [list(dataset.files.train), list(dataset.files.test)]
    digest = hashlib.sha256(json.dumps([dataset.classes, names]).encode())
    is_large = sum(_size(part.inputs) for part in parts) > WHOLE and dataset.stamp is not None
    for part in parts:
        digest.update(f"{len(part)} {_form(part.inputs)}".encode())
        if is_large:
            digest.update(f"{fingerprint(part.inputs)} {dataset.stamp}".encode())
        else:
            for tensor in _blocks(part.inputs):
                digest.update(_bytes(tensor))
        digest.update(_bytes(part.labels))
    if dataset.cases is not None:
        digest.update(_bytes(dataset.cases))
    return digest.hexdigest()[:32]


def _bytes(tensor: Tensor) -> memoryview:
    return tensor.contiguous().numpy().reshape(-1).data


def _size(inputs: Inputs) -> int:
    """Bytes."""
    if isinstance(inputs, Tokens):
        return int(inputs.lengths.sum()) * inputs.flat.dtype.itemsize
    return inputs.nbytes


def _form(inputs: Inputs) -> str:
    return "texts" if isinstance(inputs, Tokens) else f"{inputs.dtype} {tuple(inputs.shape[1:])}"


def _blocks(inputs: Inputs) -> Iterator[Tensor]:
    """All that inputs consist of, some of them at a time."""
    for part in inputs.split(BLOCK):
        if isinstance(part, Tokens):
            yield from (one for one in (part.read(), part.lengths, part.languages) if one is not None)
        else:
            yield part
