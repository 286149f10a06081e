"""How well does a language model predict texts that it was not trained on?"""

from collections.abc import Callable

import torch
from torch import Tensor

from ssl_cli.data.types import Inputs, Plain, as_texts
from ssl_cli.methods.base import Method
from ssl_cli.randomness import Draws
from ssl_cli.training.device import Machine

BATCH = 256
MOST = 4096  # texts


def perplexity_monitor(
    inputs: Inputs, items: Tensor, languages: tuple[str, ...], plain: Plain, machine: Machine, seed: int
) -> Callable[[Method], dict[str, float]]:
    """The perplexity of held-out texts, exp of the mean cross-entropy of all tokens that are predicted; overall and by language.

    The same tokens are masked each time. Of more than `MOST` texts, so many are used, evenly spaced.

    Args:
        inputs: all training texts.
        items: int64, those that are held out.
        languages: names of the languages; none where there is one.
        plain: texts from their beginning, as pre-training sees them without a draw.
        machine: device and precision.
        seed: of the masks.
    """
    spaced = items[torch.linspace(0, len(items) - 1, min(len(items), MOST)).long()] if len(items) else items
    texts = as_texts(inputs)[spaced]
    count = max(len(languages), 1)

    @torch.inference_mode()
    def monitor(method: Method) -> dict[str, float]:
        was_training = method.training
        method.eval()
        sums: dict[str, Tensor] = {}
        for number, part in enumerate(texts.split(BATCH)):
            view = plain(part, machine.device)
            spoken = torch.zeros(len(part), dtype=torch.int64) if part.languages is None else part.languages.long()
            with machine.autocast():
                found = method.token_losses(view, Draws(seed, "held out", number, machine.device))
            for task, (each, of) in found.items():
                total = sums.setdefault(task, torch.zeros(2, count, dtype=torch.float64))
                language = spoken[of.cpu()]
                total[0] += torch.zeros(count, dtype=torch.float64).index_add(0, language, each.double().cpu())
                total[1] += language.bincount(minlength=count)
        method.train(was_training)
        return {name: value for task, total in sums.items() for name, value in _named(task, total, languages).items()}

    return monitor


def _named(task: str, total: Tensor, languages: tuple[str, ...]) -> dict[str, float]:
    """Perplexities by what they are called: of all texts, and of each language that has any."""
    losses, counts = total
    found = {f"held_out_{task}perplexity": (losses.sum() / counts.sum()).exp().item()} if counts.sum() else {}
    for language, loss, tokens in zip(languages, losses, counts, strict=False):
        if tokens:
            found[f"held_out_{task}perplexity_{language}"] = (loss / tokens).exp().item()
    return found
