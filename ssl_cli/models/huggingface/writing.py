"""A transformer as files of the library transformers."""

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from ssl_cli.data.tokens import Vocabulary
from ssl_cli.errors import ConfigError
from ssl_cli.models.huggingface.architecture import Architecture
from ssl_cli.models.huggingface.bert import Bert
from ssl_cli.models.huggingface.gpt2 import Gpt2
from ssl_cli.models.huggingface.xlm import Xlm


def architecture_of(settings: Mapping[str, Any], vocabulary: Vocabulary) -> type[Architecture]:
    """The architecture that a transformer with these settings is exactly.

    Raises:
        ConfigError: it is none, with a sentence for each setting that differs.
    """
    if settings["positions"] != "learned":
        raise ConfigError(
            f"backbone.positions={settings['positions']}: BERT, GPT-2 and XLM have learned positions, so it is none of them"
        )
    kind = Gpt2 if settings["norm"] == "pre" else Xlm if settings["languages"] or settings["causal"] else Bert
    problems = list(kind.unlike(settings, vocabulary))
    if problems:
        raise ConfigError(*problems)
    return kind


def written(
    settings: Mapping[str, Any],
    vocabulary: Vocabulary,
    network: Mapping[str, Tensor],
    outputs: Mapping[str, Mapping[str, Tensor]],
) -> tuple[str, dict[str, bytes]]:
    """The model as files: the library's class, and `config.json` and `model.safetensors`.

    Args:
        settings: of the transformer.
        vocabulary: of its tokens.
        network: its weights.
        outputs: those of its output layers, by the names of the files in which a run keeps them.

    Raises:
        ConfigError: it is of no architecture that the library has, or an output layer is of another shape.
    """
    kind = architecture_of(settings, vocabulary)
    described = kind.described(settings, vocabulary)
    known = {field.name for field in fields(kind)}
    own = kind(**{key: value for key, value in described.items() if key in known})
    prefix = kind.prefix if outputs else ""
    tensors: dict[str, Tensor] = {}
    for same in own.tensors():
        value = network.get(same.own)
        if value is None:  # the embeddings of segments, of a BERT that has none
            value = torch.zeros(2, settings["dim"])
        tensors |= {prefix + name: part for name, part in same.written(value).items()}
    for name, weights in outputs.items():
        wanted = kind.outputs().get(name)
        if wanted and name == "output" and not weights:  # a causal model's, without a bias
            weights = {"bias": torch.zeros(vocabulary.size)}
        if wanted is None or {same.own for same in wanted} != set(weights):
            raise ConfigError(_unlike_output(kind, name, set(weights)))
        for same in wanted:
            tensors |= same.written(weights[same.own])
    name = kind.model_class(set(outputs))
    config = {"architectures": [name], **described}
    return name, {
        "config.json": (json.dumps(config, indent=2, ensure_ascii=False) + "\n").encode(),
        "model.safetensors": save(tensors, metadata={"format": "pt"}),
    }


def _unlike_output(kind: type[Architecture], name: str, there: set[str]) -> str:
    instead = "stage.heads=false leaves it out"
    if name != "output":
        return f"method.next_sentence=true: {kind.title} predicts no next sentence; {instead}"
    if "transform.0.weight" in there:
        return f"method.transform=true: {kind.title} has no layer before its output layer; {instead}"
    if kind is Bert:
        return f"method.transform=false: BERT has a layer before its output layer; {instead}"
    return f"method: {kind.title} has another output layer; {instead}"
