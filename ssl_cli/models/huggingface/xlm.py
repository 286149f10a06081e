"""XLM (Conneau and Lample, 2019) as transformers has it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from ssl_cli.config.schema import Count, Dropout, NonNegativeInt, Positive
from ssl_cli.data.tokens import Vocabulary
from ssl_cli.models.huggingface.architecture import Architecture, Same, layer, special_tokens

HIDDEN = 4  # times the width


@dataclass(frozen=True)
class Xlm(Architecture):
    """Layer norm after embeddings, attention and hidden layer; embeddings of positions and languages; causal or not."""

    vocab_size: Count = 30145
    emb_dim: Count = 2048
    n_layers: Annotated[int, "[1, 200]"] = 12
    n_heads: Count = 16
    dropout: Dropout = 0.1
    gelu_activation: bool = True
    causal: bool = False
    asm: bool = False
    n_langs: Count = 1
    use_lang_emb: bool = True
    max_position_embeddings: Count = 512
    layer_norm_eps: Positive = 1e-12
    is_encoder: bool = True
    lang2id: dict[str, NonNegativeInt] = field(default_factory=dict)

    kind: ClassVar[str] = "xlm"
    title: ClassVar[str] = "XLM"
    prefix: ClassVar[str] = "transformer."

    @classmethod
    def unlike(cls, settings: Mapping[str, Any], vocabulary: Vocabulary) -> Iterator[str]:
        """No segments, a hidden layer of four times the width, GELU or ReLU, and languages only where there are several."""
        why = "backbone.languages=true" if settings["languages"] else "backbone.causal=true"
        it = f"with norm=post and {why} it would be an XLM"
        if settings["segments"]:
            yield f"backbone.segments=true: {it}, which has no embeddings of segments"
        if round(settings["mlp_ratio"] * settings["dim"]) != HIDDEN * settings["dim"]:
            yield f"backbone.mlp_ratio={settings['mlp_ratio']:g}: {it}, where it is {HIDDEN}"
        if settings["activation"] == "gelu_tanh":
            yield f"backbone.activation=gelu_tanh: {it}, which has gelu or relu"
        if settings["languages"] and len(vocabulary.languages) < 2:
            yield f"backbone.languages=true: {it}, which has no embedding of a language where there is one only"

    @classmethod
    def described(cls, settings: Mapping[str, Any], vocabulary: Vocabulary) -> dict[str, Any]:
        """Languages by their names and numbers."""
        names = vocabulary.languages if settings["languages"] else ()
        return {
            "model_type": cls.kind,
            "vocab_size": vocabulary.size,
            "n_words": vocabulary.size,
            "emb_dim": settings["dim"],
            "n_layers": settings["layers"],
            "n_heads": settings["heads"],
            "dropout": settings["dropout"],
            "attention_dropout": settings["dropout"],
            "gelu_activation": settings["activation"] == "gelu",
            "sinusoidal_embeddings": False,
            "causal": settings["causal"],
            "asm": False,
            "n_langs": max(1, len(names)),
            "use_lang_emb": bool(names),
            "lang2id": {name: number for number, name in enumerate(names)},
            "id2lang": {str(number): name for number, name in enumerate(names)},
            "max_position_embeddings": settings["max_length"],
            "layer_norm_eps": settings["norm_eps"],
            "is_encoder": True,
            "pad_index": vocabulary.pad,
            "bos_index": vocabulary.first,
            "eos_index": vocabulary.last,
            **({} if vocabulary.mask is None else {"mask_index": vocabulary.mask, "mask_token_id": vocabulary.mask}),
            "tie_word_embeddings": True,
            **special_tokens(vocabulary),
        }

    @classmethod
    def model_class(cls, parts: set[str]) -> str:
        """With or without the output layer."""
        return "XLMWithLMHeadModel" if parts else "XLMModel"

    @classmethod
    def outputs(cls) -> dict[str, list[Same]]:
        """The bias alone; the weights are those of the embeddings."""
        return {"output": [Same("bias", ("pred_layer.proj.bias",))]}

    def problems(self) -> Iterator[str]:
        """An adaptive softmax, a decoder, or languages without names."""
        if self.asm:
            yield "config.json.asm=true: must be false, since no method has an adaptive softmax"
        if not self.is_encoder:
            yield "config.json.is_encoder=false: must be true"
        if self._has_languages and sorted(self.lang2id.values()) != list(range(self.n_langs)):
            yield f"config.json.lang2id: must name each of the n_langs={self.n_langs} languages once"

    @property
    def _has_languages(self) -> bool:
        return self.use_lang_emb and self.n_langs > 1

    def settings(self) -> dict[str, Any]:
        """Of `backbone=xlm` and its like."""
        return {
            "dim": self.emb_dim,
            "layers": self.n_layers,
            "heads": self.n_heads,
            "mlp_ratio": float(HIDDEN),
            "causal": self.causal,
            "positions": "learned",
            "norm": "post",
            "max_length": self.max_position_embeddings,
            "segments": False,
            "languages": self._has_languages,
            "norm_eps": self.layer_norm_eps,
            "activation": "gelu" if self.gelu_activation else "relu",
        }

    def tensors(self) -> list[Same]:
        """Each kind of layer is a list."""
        found = [
            Same("embedding.weight", ("embeddings.weight",)),
            Same("position_embedding.weight", ("position_embeddings.weight",)),
            *layer("embedding_norm", "", "layer_norm_emb"),
        ]
        if self._has_languages:
            found.append(Same("language_embedding.weight", ("lang_embeddings.weight",)))
        for number in range(self.n_layers):
            own, attention = f"stages.{number}", f"attentions.{number}."
            found += [
                *layer(f"{own}.qkv", attention, "q_lin", "k_lin", "v_lin"),
                *layer(f"{own}.out", attention, "out_lin"),
                *layer(f"{own}.norm_attention", "layer_norm1.", str(number)),
                *layer(f"{own}.up", f"ffns.{number}.", "lin1"),
                *layer(f"{own}.down", f"ffns.{number}.", "lin2"),
                *layer(f"{own}.norm_hidden", "layer_norm2.", str(number)),
            ]
        return found

    def rows(self) -> dict[str, int]:
        """Of tokens and languages."""
        return {"embedding.weight": self.vocab_size, "language_embedding.weight": self.n_langs}

    def language_rows(self, languages: tuple[str, ...]) -> list[int]:
        """By their names."""
        missing = [name for name in languages if name not in self.lang2id]
        if missing:
            raise ValueError(f"knows no language {', '.join(missing)}; it has {', '.join(self.lang2id)}")
        return [self.lang2id[name] for name in languages]
