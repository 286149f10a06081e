"""What the library transformers needs of a tokenizer, beside what is known of it here."""

import json
from typing import Any

from ssl_cli.data.text.tokenizer import from_text, library
from ssl_cli.data.tokens import Vocabulary


def tokenizer_files(vocabulary: Vocabulary, max_length: int, has_segments: bool) -> dict[str, bytes]:
    """`tokenizer.json` and `tokenizer_config.json`: texts become the tokens that networks got of them here.

    Args:
        vocabulary: with the tokenizer, and which of its tokens stand around texts.
        max_length: of a text in tokens.
        has_segments: whether the network is told which tokens are of a pair's second text.
    """
    names: dict[str, str] = {
        role: from_text(vocabulary.tokenizer).id_to_token(number)
        for role in ("pad", "mask", "first", "last", "pair")
        if (number := getattr(vocabulary, role)) is not None
    }
    parts = library()
    tokenizer = parts.Tokenizer.from_str(vocabulary.tokenizer)
    around = {names[role]: getattr(vocabulary, role) for role in ("first", "last", "pair")}
    tokenizer.post_processor = parts.processors.TemplateProcessing(
        single=[names["first"], "$A", names["last"]],
        pair=[names["first"], "$A", names["pair"], "$B:1", f"{names['last']}:1"],
        special_tokens=list(around.items()),
    )
    settings: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": max_length,
        "model_input_names": ["input_ids", *(["token_type_ids"] if has_segments else []), "attention_mask"],
        "clean_up_tokenization_spaces": False,
        "pad_token": names["pad"],
        "bos_token": names["first"],
        "cls_token": names["first"],
        "eos_token": names["last"],
        "sep_token": names["pair"],
        **({"mask_token": names["mask"]} if "mask" in names else {}),
    }
    return {
        "tokenizer.json": tokenizer.to_str(pretty=True).encode(),
        "tokenizer_config.json": (json.dumps(settings, indent=2, ensure_ascii=False) + "\n").encode(),
    }
