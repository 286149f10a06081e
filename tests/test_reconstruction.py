import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_cli.config import from_overrides
from ssl_cli.data.datasets import load
from ssl_cli.decoders import Decoder, Refinement
from ssl_cli.methods.autoencoder import masked
from ssl_cli.methods.base import Method
from ssl_cli.stages.pretrain import pretrain, pretraining_method


def made(*overrides: str) -> Method:
    config = from_overrides("dataset=synthetic", "backbone.width=4", "method.width=4", *overrides)
    return pretraining_method(config, load(config.dataset))


def trained(method: Method, view: Tensor, steps: int) -> list[float]:
    torch.manual_seed(0)
    optimiser = torch.optim.Adam(method.parameters(), lr=0.01)
    losses = []
    for _ in range(steps):
        optimiser.zero_grad()
        loss, _ = method.loss((view,), None)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


def strokes(count: int = 16) -> Tensor:
    """Bars, each somewhere else: what is seen of one tells all of it."""
    view = torch.zeros(count, 1, 28, 28)
    for number, image in enumerate(view):
        image[0, :, 4 + number : 7 + number] = 1
    return view


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 96, 96), (2, 9, 21), (1, 22, 8)])
def test_decoders_give_inputs_of_any_shape(shape):
    assert Decoder(10, shape, 2)(torch.rand(3, 10)).shape == (3, *shape)
    size = (shape[1] // 3, shape[2] // 5)
    assert Refinement(4, size, shape, 2)(torch.rand(3, 4, *size)).shape == (3, *shape)


def test_masking_takes_whole_pixels_and_leaves_the_others():
    images = 0.1 + torch.rand(8, 3, 20, 20)
    seen = masked(images, 0.3)
    gone = seen == 0
    assert gone.float().mean().item() == pytest.approx(0.3, abs=0.03)
    assert torch.equal(gone.all(1), gone.any(1))
    assert torch.equal(seen[~gone], images[~gone])
    assert masked(images, 0.0) is images


def test_the_error_is_against_the_whole_input():
    method = made("method=autoencoder", "method.noise=1.0")  # nothing is seen, so the best answer is the same for all
    for parameter in method.decoder.refine[-1].layers[-1].parameters():
        nn.init.zeros_(parameter)
    view = torch.rand(8, 1, 28, 28)
    loss, numbers = method.loss((view,), None)
    assert loss.item() == pytest.approx((view - 0.5).square().mean().item(), abs=1e-6)
    assert numbers["squared_error"] == loss


def test_pixels_as_probabilities_have_the_cross_entropy_of_one_half_at_first():
    method = made("method=autoencoder", "method.error=cross_entropy")
    for parameter in method.decoder.refine[-1].layers[-1].parameters():
        nn.init.zeros_(parameter)
    loss, _ = method.loss((torch.rand(8, 1, 28, 28),), None)
    assert loss.item() == pytest.approx(torch.tensor(2.0).log().item(), abs=1e-6)


def test_the_range_of_pixels_does_not_matter_to_the_error():
    small, large = made("method=autoencoder", "method.noise=0"), made("method=autoencoder", "augment.scale=255")
    large.noise = 0.0
    view = torch.rand(8, 1, 28, 28)
    small.backbone = large.backbone = nn.Sequential(nn.Flatten(), nn.LazyLinear(64), nn.LayerNorm(64))
    losses = []
    for method, seen in ((small, view), (large, 255 * view)):
        method.backbone(seen)
        losses.append(method.loss((seen,), None)[0].item())
        assert method.pictures((seen,))["given back"].max() > 0.3 * method.scale
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


@pytest.mark.parametrize("noise", [0.0, 0.25])
def test_an_autoencoder_gives_back_what_it_was_trained_on(noise):
    method, view = made("method=autoencoder", f"method.noise={noise}"), strokes()
    losses = trained(method, view, 80)
    constant = F.mse_loss(view.mean(0, keepdim=True).expand_as(view), view).item()
    assert losses[-1] < 0.3 * constant < losses[0]
    assert method.pictures((view,)).keys() == {"view", "given back", *(["masked"] if noise else [])}


@pytest.mark.parametrize("method", ["autoencoder"])
def test_pictures_are_drawn_and_the_error_logged(smoke, method):
    config, run = smoke(f"method={method}", "stage=pretrain")
    pretrain(config, run)
    assert '"squared_error"' in (run.folder / "metrics.jsonl").read_text()
    assert (run.folder / "pretext.png").stat().st_size > 1000
