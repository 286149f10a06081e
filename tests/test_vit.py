import math

import pytest
import torch
from torch import Tensor, nn

from ssl_cli.config.build import build
from ssl_cli.config.compose import from_overrides
from ssl_cli.errors import ConfigError
from ssl_cli.models.backbones import vit
from ssl_cli.models.backbones.vit import Block, VisionTransformer, position_embeddings


def made(shape: tuple[int, int, int] = (1, 28, 28), patch: int = 4) -> VisionTransformer:
    torch.manual_seed(0)
    return VisionTransformer(shape, patch, width=16, depth=3, heads=2, mlp_ratio=2.0)


def shuffled(network: VisionTransformer) -> VisionTransformer:
    """With norms and offsets that are not the ones and zeros of the beginning."""
    for parameter in network.parameters():
        if parameter.ndim == 1:
            nn.init.normal_(parameter, 0.5, 0.2)
    return network


def test_a_block_is_the_block_of_pytorch():
    block = Block(16, 2, 3.0)
    theirs = nn.TransformerEncoderLayer(16, 2, 48, dropout=0.0, activation="gelu", batch_first=True, norm_first=True)
    pairs = {
        "self_attn.in_proj_": block.queries_keys_values, "self_attn.out_proj.": block.project, "norm1.": block.norm1,
        "norm2.": block.norm2, "linear1.": block.mlp[0], "linear2.": block.mlp[2],
    }  # fmt: skip
    theirs.load_state_dict(
        {f"{name}{key}": value for name, part in pairs.items() for key, value in part.state_dict().items()}
    )
    tokens = torch.randn(3, 7, 16)
    torch.testing.assert_close(block(tokens), theirs(tokens))


def test_stages_give_maps_and_the_last_one_is_normalised():
    network, inputs = made((3, 32, 24)), torch.rand(2, 3, 32, 24)
    for stage in network.stages:
        inputs = stage(inputs)
        assert inputs.shape == (2, 16, 8, 6)
    torch.testing.assert_close(inputs.mean(1), torch.zeros(2, 8, 6), atol=1e-5, rtol=0)
    torch.testing.assert_close(inputs.var(1, correction=0), torch.ones(2, 8, 6), atol=1e-2, rtol=0)


def test_places_have_codes_of_their_own_that_only_rows_or_columns_share():
    embeddings = position_embeddings(16, 5, 7, torch.device("cpu"))
    assert torch.cdist(embeddings.flatten(1).T, embeddings.flatten(1).T).fill_diagonal_(1).min() > 0.1
    assert (embeddings[:8] == embeddings[:8, :, :1]).all()  # the row's half
    assert (embeddings[8:] == embeddings[8:, :1]).all()  # the column's
    assert embeddings[[0, 4, 8, 12], 3, 5].tolist() == pytest.approx(
        [math.sin(3), math.cos(3), math.sin(5), math.cos(5)]
    )
    torch.testing.assert_close(embeddings.square().sum(0), torch.full((5, 7), 8.0))


def test_where_a_patch_is_matters():
    network, inputs = made(), torch.rand(2, 1, 28, 28)
    assert not torch.allclose(network(inputs), network(inputs.roll(4, 3)), atol=1e-3)


def test_looking_at_all_patches_in_any_order_is_looking_at_the_input():
    network, inputs = shuffled(made((3, 16, 24))), torch.rand(2, 3, 16, 24)
    order = torch.rand(2, 24).argsort(1)
    tokens = network.encode_patches(inputs, order)
    whole = inputs
    for stage in network.stages:
        whole = stage(whole)
    wanted = whole.flatten(2).mT.gather(1, order[..., None].expand(-1, -1, 16))
    torch.testing.assert_close(tokens, wanted, atol=1e-5, rtol=1e-4)


def test_patches_that_are_not_looked_at_do_not_matter():
    network, inputs = made(), torch.rand(2, 1, 28, 28)
    some = torch.tensor([[0, 8, 20], [3, 9, 48]])
    other = torch.rand_like(inputs)
    for item, patches in enumerate(some.tolist()):
        for patch in patches:
            rows, columns = (slice(4 * place, 4 * place + 4) for place in divmod(patch, 7))
            other[item, :, rows, columns] = inputs[item, :, rows, columns]
    assert torch.equal(network.encode_patches(inputs, some), network.encode_patches(other, some))
    assert not torch.equal(network(inputs), network(other))


def test_the_layout_in_memory_does_not_matter():
    network, inputs = made(), torch.rand(2, 1, 28, 28)
    wanted = network(inputs)
    found = network.to(memory_format=torch.channels_last)(inputs.to(memory_format=torch.channels_last))
    torch.testing.assert_close(found, wanted)


def test_bfloat16_computes_nearly_the_same():
    network, inputs = made(), torch.rand(8, 1, 28, 28)
    exact = gradient(network, network(inputs))
    with torch.autocast("cpu", torch.bfloat16):
        features = network(inputs)
    rough = gradient(network, features)
    assert 0 < (rough - exact).norm() < 0.05 * exact.norm()


def test_many_tokens_attend_as_few_do_in_bfloat16(monkeypatch):
    network, inputs = made(), torch.rand(8, 1, 28, 28)

    def of_bfloat16() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return gradient(network, network(inputs))

    few = of_bfloat16()
    monkeypatch.setattr(vit, "FEW_TOKENS", 48)  # fewer than there are
    assert 0 < (of_bfloat16() - few).norm() < 0.02 * few.norm()


def gradient(network: nn.Module, features: Tensor) -> Tensor:
    found = torch.autograd.grad(features.float()[:, 0].square().sum(), list(network.parameters()))
    return torch.cat([part.flatten() for part in found])


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("width=98", "width=98: must be a multiple of heads=3, and of 4"),
        ("heads=5", "width=96: must be a multiple of heads=5, and of 4"),
    ],
)
def test_tokens_that_cannot_be_divided_are_refused(override, sentence):
    with pytest.raises(ConfigError, match=sentence):
        build(from_overrides("backbone=vit", f"backbone.{override}").backbone, shape=(1, 28, 28))


def test_inputs_of_a_shape_unknown_before_are_refused_too():
    with pytest.raises(
        ConfigError, match="backbone=vit: inputs of 30×28 do not fit; sides must be multiples of patch=4"
    ):
        build(from_overrides("backbone=vit").backbone, shape=(1, 30, 28))
