"""GPT-2 (Radford et al., 2019) as transformers has it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from ssl_cli.config.schema import Count, Dropout, Positive
from ssl_cli.data.tokens import Vocabulary
from ssl_cli.models.huggingface.architecture import ACTIVATIONS, Architecture, Same, layer, special_tokens


@dataclass(frozen=True)
class Gpt2(Architecture):
    """Layer norm before attention and hidden layer, and after the last one; a token sees those before it."""

    vocab_size: Count = 50257
    n_positions: Count = 1024
    n_embd: Count = 768
    n_layer: Annotated[int, "[1, 200]"] = 12
    n_head: Count = 12
    n_inner: Count | None = None
    activation_function: Literal["gelu", "gelu_new", "gelu_pytorch_tanh", "relu"] = "gelu_new"
    resid_pdrop: Dropout = 0.1
    layer_norm_epsilon: Positive = 1e-5
    scale_attn_weights: bool = True
    scale_attn_by_inverse_layer_idx: bool = False
    add_cross_attention: bool = False

    kind: ClassVar[str] = "gpt2"
    title: ClassVar[str] = "GPT-2"
    prefix: ClassVar[str] = "transformer."

    @classmethod
    def unlike(cls, settings: Mapping[str, Any], vocabulary: Vocabulary) -> Iterator[str]:
        """It is causal, and nothing but tokens and positions has embeddings."""
        if not settings["causal"]:
            yield "backbone.causal=false: with norm=pre it would be a GPT-2, which is causal; BERT and XLM have norm=post"
        for name in ("segments", "languages"):
            if settings[name]:
                yield f"backbone.{name}=true: with norm=pre it would be a GPT-2, which has no embeddings of {name}"

    @classmethod
    def described(cls, settings: Mapping[str, Any], vocabulary: Vocabulary) -> dict[str, Any]:
        """The three kinds of dropout are one setting here."""
        names = {own: theirs for theirs, own in reversed(ACTIVATIONS.items())}
        return {
            "model_type": cls.kind,
            "vocab_size": vocabulary.size,
            "n_positions": settings["max_length"],
            "n_embd": settings["dim"],
            "n_layer": settings["layers"],
            "n_head": settings["heads"],
            "n_inner": round(settings["mlp_ratio"] * settings["dim"]),
            "activation_function": names[settings["activation"]],
            "resid_pdrop": settings["dropout"],
            "embd_pdrop": settings["dropout"],
            "attn_pdrop": settings["dropout"],
            "layer_norm_epsilon": settings["norm_eps"],
            "tie_word_embeddings": True,
            **special_tokens(vocabulary),
        }

    @classmethod
    def model_class(cls, parts: set[str]) -> str:
        """Its language model has no weights beside the embeddings."""
        return "GPT2LMHeadModel" if parts else "GPT2Model"

    @classmethod
    def outputs(cls) -> dict[str, list[Same]]:
        """Nothing but the embeddings."""
        return {"output": []}

    def problems(self) -> Iterator[str]:
        """Attention of other kinds."""
        for key, wanted in (
            ("scale_attn_weights", True),
            ("scale_attn_by_inverse_layer_idx", False),
            ("add_cross_attention", False),
        ):
            if getattr(self, key) != wanted:
                said = {True: "true", False: "false"}
                yield f"config.json.{key}={said[not wanted]}: must be {said[wanted]}, as in GPT-2"

    def settings(self) -> dict[str, Any]:
        """Of `backbone=gpt2_small` and its like."""
        return {
            "dim": self.n_embd,
            "layers": self.n_layer,
            "heads": self.n_head,
            "mlp_ratio": (self.n_inner or 4 * self.n_embd) / self.n_embd,
            "causal": True,
            "positions": "learned",
            "norm": "pre",
            "max_length": self.n_positions,
            "segments": False,
            "languages": False,
            "norm_eps": self.layer_norm_epsilon,
            "activation": ACTIVATIONS[self.activation_function],
        }

    def tensors(self) -> list[Same]:
        """Its linear layers are convolutions of one token, whose weights are the other way round."""
        found = [
            Same("embedding.weight", ("wte.weight",)),
            Same("position_embedding.weight", ("wpe.weight",)),
            *layer("last_norm", "", "ln_f"),
        ]
        for number in range(self.n_layer):
            own, theirs = f"stages.{number}", f"h.{number}."
            found += [
                *layer(f"{own}.norm_attention", theirs, "ln_1"),
                *layer(f"{own}.qkv", theirs, "attn.c_attn", transposed=True),
                *layer(f"{own}.out", theirs, "attn.c_proj", transposed=True),
                *layer(f"{own}.norm_hidden", theirs, "ln_2"),
                *layer(f"{own}.up", theirs, "mlp.c_fc", transposed=True),
                *layer(f"{own}.down", theirs, "mlp.c_proj", transposed=True),
            ]
        return found

    def rows(self) -> dict[str, int]:
        """Of tokens."""
        return {"embedding.weight": self.vocab_size}
