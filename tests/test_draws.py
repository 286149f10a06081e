"""Random numbers of methods: a function of seed and step, and of nothing else; several processes draw what one would."""

import copy
from pathlib import Path

import pytest
import torch

from ssl_cli.config.compose import from_overrides
from ssl_cli.data.dataset import load
from ssl_cli.randomness import Draws
from ssl_cli.stages.networks import pretraining_method

FOR_TEXTS = {
    "causal_lm",
    "cross_lingual",
    "electra",
    "masked_lm",
    "word2vec",
}  # tests/test_language_models.py has theirs
METHODS = sorted({path.stem for path in (Path(__file__).parent.parent / "conf" / "method").glob("*.yaml")} - FOR_TEXTS)
DRAWING = {"autoencoder", "bigan", "gan", "inpainting", "lejepa", "mae", "patch_location"}
PER_METHOD = {
    "micle": ["dataset=synthetic_cases"],
    "mae": ["backbone=vit"],
    "autoencoder": ["method.noise=0.3"],
    "inpainting": ["method.mask=random"],
    "patch_location": ["method.coarse=0.5"],
    "transfer": ["dataset@method.source=synthetic"],
}


def losses(name: str, *draws: Draws) -> list[float]:
    """Of a fresh method on the same views, one for each source of random numbers, from another global state each."""
    width = [] if name == "mae" else ["backbone.width=4"]
    config = from_overrides("dataset=synthetic", f"method={name}", *width, *PER_METHOD.get(name, []))
    dataset = load(config.dataset)
    torch.manual_seed(0)
    method = pretraining_method(config, dataset)
    views = torch.rand(method.n_views, 8, *dataset.shape).unbind()
    labels = torch.arange(8) if name in {"exemplar", "transfer"} else None
    found = []
    for number, each in enumerate(draws):
        torch.manual_seed(number)
        with torch.no_grad():
            found.append(copy.deepcopy(method).loss(views, labels, each)[0].item())
    return found


@pytest.mark.parametrize("name", METHODS)
def test_a_loss_draws_from_its_argument_alone(name):
    first, again, other = losses(name, Draws(0, "test", 1), Draws(0, "test", 1), Draws(0, "test", 2))
    assert first == again
    assert (first != other) == (name in DRAWING)


@pytest.mark.parametrize("kind", ["uniform", "normal", "integers"])
def test_processes_draw_together_what_one_would(kind):
    def drawn(count: int, **slices: int) -> torch.Tensor:
        draw = Draws(3, "test", 7, **slices)
        more = (10,) if kind == "integers" else ()
        getattr(draw, kind)(*more, count, 2)  # the second draw must agree too
        return getattr(draw, kind)(*more, count, 3, 5)

    parts = [drawn(4, rank=rank, processes=3) for rank in range(3)]
    assert torch.equal(torch.stack(parts, dim=1).flatten(0, 1), drawn(12))  # dealt in turn
    assert not torch.equal(parts[0], parts[1])


def test_draws_are_of_their_kind():
    draws = Draws(0, "test")
    uniform, normal, integers = draws.uniform(10_000), draws.normal(10_000), draws.integers(7, 10_000)
    assert (uniform.min() >= 0, uniform.max() < 1) == (True, True)
    assert uniform.mean().item() == pytest.approx(0.5, abs=0.02)
    assert (normal.mean().item(), normal.std().item()) == pytest.approx((0, 1), abs=0.05)
    assert integers.unique().tolist() == list(range(7))


@pytest.mark.parametrize("other", [(1, "test", 0), (0, "another", 0), (0, "test", 1)])
def test_seed_purpose_and_step_each_change_the_draw(other):
    assert not torch.equal(Draws(0, "test").uniform(8), Draws(*other).uniform(8))
