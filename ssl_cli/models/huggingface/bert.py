"""BERT (Devlin et al., 2019) as transformers has it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from ssl_cli.config.schema import Count, Dropout, Positive
from ssl_cli.data.tokens import Vocabulary
from ssl_cli.models.huggingface.architecture import ACTIVATIONS, Architecture, Same, layer, special_tokens


@dataclass(frozen=True)
class Bert(Architecture):
    """Layer norm after embeddings, attention and hidden layer; embeddings of positions and segments; both sides are seen."""

    vocab_size: Count = 30522
    hidden_size: Count = 768
    num_hidden_layers: Annotated[int, "[1, 200]"] = 12
    num_attention_heads: Count = 12
    intermediate_size: Count = 3072
    hidden_act: Literal["gelu", "gelu_new", "gelu_pytorch_tanh", "relu"] = "gelu"
    hidden_dropout_prob: Dropout = 0.1
    max_position_embeddings: Count = 512
    type_vocab_size: Count = 2
    layer_norm_eps: Positive = 1e-12
    position_embedding_type: Literal["absolute"] = "absolute"
    is_decoder: bool = False

    kind: ClassVar[str] = "bert"
    title: ClassVar[str] = "BERT"
    prefix: ClassVar[str] = "bert."

    @classmethod
    def unlike(cls, settings: Mapping[str, Any], vocabulary: Vocabulary) -> Iterator[str]:
        """Nothing: what is neither causal nor has languages, and has layer norm after its parts, is a BERT."""
        yield from ()

    @classmethod
    def described(cls, settings: Mapping[str, Any], vocabulary: Vocabulary) -> dict[str, Any]:
        """One without embeddings of segments has some that are 0."""
        names = {own: theirs for theirs, own in reversed(ACTIVATIONS.items())}
        return {
            "model_type": cls.kind,
            "vocab_size": vocabulary.size,
            "hidden_size": settings["dim"],
            "num_hidden_layers": settings["layers"],
            "num_attention_heads": settings["heads"],
            "intermediate_size": round(settings["mlp_ratio"] * settings["dim"]),
            "hidden_act": names[settings["activation"]],
            "hidden_dropout_prob": settings["dropout"],
            "attention_probs_dropout_prob": settings["dropout"],
            "max_position_embeddings": settings["max_length"],
            "type_vocab_size": 2,
            "layer_norm_eps": settings["norm_eps"],
            "tie_word_embeddings": True,
            **special_tokens(vocabulary),
        }

    @classmethod
    def model_class(cls, parts: set[str]) -> str:
        """With the next sentence it is the model of both tasks."""
        if "next_sentence" in parts:
            return "BertForPreTraining"
        return "BertForMaskedLM" if parts else "BertModel"

    @classmethod
    def outputs(cls) -> dict[str, list[Same]]:
        """The pooler is the hidden layer of the next sentence's classifier."""
        return {
            "output": [
                *layer("transform.0", "cls.predictions.transform.", "dense"),
                *layer("transform.2", "cls.predictions.transform.", "LayerNorm"),
                Same("bias", ("cls.predictions.bias",)),
            ],
            "next_sentence": [*layer("0", "bert.pooler.", "dense"), *layer("2", "cls.", "seq_relationship")],
        }

    def problems(self) -> Iterator[str]:
        """A decoder, or another number of segments."""
        if self.is_decoder:
            yield "config.json.is_decoder=true: must be false, since a decoder of BERT's shape is none of this program's networks"
        if self.type_vocab_size != 2:
            yield f"config.json.type_vocab_size={self.type_vocab_size}: must be 2, a first and a second text"

    def settings(self) -> dict[str, Any]:
        """Of `backbone=bert_base` and its like."""
        return {
            "dim": self.hidden_size,
            "layers": self.num_hidden_layers,
            "heads": self.num_attention_heads,
            "mlp_ratio": self.intermediate_size / self.hidden_size,
            "causal": False,
            "positions": "learned",
            "norm": "post",
            "max_length": self.max_position_embeddings,
            "segments": True,
            "languages": False,
            "norm_eps": self.layer_norm_eps,
            "activation": ACTIVATIONS[self.hidden_act],
        }

    def tensors(self) -> list[Same]:
        """Queries, keys and values are one layer here."""
        found = [
            Same("embedding.weight", ("embeddings.word_embeddings.weight",)),
            Same("position_embedding.weight", ("embeddings.position_embeddings.weight",)),
            Same("segment_embedding.weight", ("embeddings.token_type_embeddings.weight",)),
            *layer("embedding_norm", "embeddings.", "LayerNorm"),
        ]
        for number in range(self.num_hidden_layers):
            own, theirs = f"stages.{number}", f"encoder.layer.{number}."
            found += [
                *layer(f"{own}.qkv", f"{theirs}attention.self.", "query", "key", "value"),
                *layer(f"{own}.out", f"{theirs}attention.output.", "dense"),
                *layer(f"{own}.norm_attention", f"{theirs}attention.output.", "LayerNorm"),
                *layer(f"{own}.up", f"{theirs}intermediate.", "dense"),
                *layer(f"{own}.down", f"{theirs}output.", "dense"),
                *layer(f"{own}.norm_hidden", f"{theirs}output.", "LayerNorm"),
            ]
        return found

    def rows(self) -> dict[str, int]:
        """Of tokens."""
        return {"embedding.weight": self.vocab_size}
