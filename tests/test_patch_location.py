import copy
import math

import pytest
import torch
from torch import nn

from ssl_cli.config.build import build
from ssl_cli.config.compose import from_overrides
from ssl_cli.data.dataset import load
from ssl_cli.errors import ConfigError
from ssl_cli.methods.patch_location import (
    CENTRE,
    NEIGHBOURS,
    coarsen,
    cut_patches,
    draw_corners,
    informative_pairs,
    keep_one_channel,
    paste,
    remove_green_magenta,
    resampling_matrices,
)
from ssl_cli.randomness import Draws
from ssl_cli.stages.networks import pretraining_method
from ssl_cli.stages.pretrain import pretrain


def made(*overrides: str):
    config = from_overrides("method=patch_location", "dataset=synthetic", "backbone.width=4", *overrides)
    return pretraining_method(config, load(config.dataset))


def test_the_opposite_neighbour_has_the_opposite_number():
    (where,) = draw_corners(1, (30, 30), 8, 3, 0, Draws(0, "test"))
    for number, cell in enumerate(NEIGHBOURS):
        step, back = where[cell] - where[CENTRE], where[CENTRE] - where[NEIGHBOURS[7 - number]]
        assert torch.equal(step, back)
        assert step.abs().max() == 11
    assert (where[NEIGHBOURS[0]] - where[CENTRE]).tolist() == [-11, -11]
    assert (where[NEIGHBOURS[4]] - where[CENTRE]).tolist() == [0, 11]


@pytest.mark.parametrize(
    ("size", "patch", "gap", "jitter"), [((28, 28), 7, 2, 1), ((43, 60), 8, 3, 4), ((9, 9), 3, 0, 0)]
)
def test_patches_lie_inside_and_keep_the_gap(size, patch, gap, jitter):
    where = draw_corners(500, size, patch, gap, jitter, Draws(0, "test"))
    assert where.amin((0, 1)).tolist() == [0, 0]
    assert (where.amax((0, 1)) + patch).tolist() == list(size)  # and use all there is
    grid = where.view(500, 3, 3, 2)
    for between in (grid[:, 1:, :, 0] - grid[:, :-1, :, 0], grid[:, :, 1:, 1] - grid[:, :, :-1, 1]):
        assert between.min() == patch + gap
        assert between.max() == patch + gap + 2 * jitter


def test_patches_are_what_lies_there():
    images, where = torch.rand(3, 2, 28, 30), draw_corners(3, (28, 30), 6, 2, 2, Draws(0, "test"))
    patches = cut_patches(images, where, 6)
    row, column = where[1, 5].tolist()
    assert torch.equal(patches[1, 5], images[1, :, row : row + 6, column : column + 6])
    board = paste(patches, where, images)
    assert torch.equal(cut_patches(board, where, 6), patches)
    assert board.count_nonzero() == patches.count_nonzero()


def test_a_patch_of_one_value_silences_its_pairs_alone():
    patches = torch.rand(3, 9, 2, 4, 4)
    patches[0, 2] = 0.5
    patches[1, CENTRE] = 0
    patches[2, 8, 0] = 0  # the other channel still shows something
    shows = informative_pairs(patches)
    assert shows[0].tolist() == [cell != 2 for cell in NEIGHBOURS]
    assert not shows[1].any()
    assert shows[2].all()


def test_blank_inputs_cost_nothing_and_break_nothing():
    loss, numbers = made().loss((torch.zeros(4, 1, 28, 28),), None, Draws(0, "test"))
    loss.backward()
    assert loss == 0
    assert numbers["pairs_kept"] == 0
    assert all(number.isfinite() for number in numbers.values())


def test_who_cannot_know_pays_the_log_of_eight():
    method = made()
    nn.init.zeros_(method.classifier[-1].weight)
    nn.init.zeros_(method.classifier[-1].bias)
    loss, numbers = method.loss((torch.rand(6, 1, 28, 28),), None, Draws(0, "test"))
    assert loss.item() == pytest.approx(math.log(8), abs=1e-6)
    assert numbers["pretext_accuracy"] == pytest.approx(1 / 8)
    assert numbers["pairs_kept"] == 1


@pytest.mark.parametrize(("patch", "sides"), [(7, 6), (96, 87), (2, 1), (1, 1)])
def test_patches_go_down_to_ten_pixels_of_ninety_six_and_to_two_at_the_least(patch, sides):
    lines = resampling_matrices(patch)
    assert lines.shape == (sides, patch, patch)
    assert [int(torch.linalg.matrix_rank(line)) for line in lines[:3]] == list(range(patch - sides + 1, patch + 1))[:3]
    torch.testing.assert_close(lines[-1], torch.eye(patch))
    torch.testing.assert_close(lines.sum(2), torch.ones(sides, patch))  # what is of one value stays so


def test_a_share_of_patches_loses_what_is_fine_and_the_others_nothing():
    patches = torch.rand(200, 9, 2, 8, 8)
    seen = coarsen(patches, 0.4, resampling_matrices(8)[:-1], Draws(0, "test"))
    kept = (seen == patches).flatten(2).all(2)
    assert kept.float().mean().item() == pytest.approx(0.6, abs=0.04)
    assert not torch.equal(kept[0], kept[1])
    fine = (seen[..., 1:] - seen[..., :-1]).abs().mean((2, 3, 4))
    assert fine[~kept].mean() < 0.7 * fine[kept].mean()
    assert coarsen(patches, 0.0, resampling_matrices(8), Draws(0, "test")) is patches


def test_coarse_patches_are_what_an_image_library_makes_of_them():
    patches = torch.rand(3, 9, 2, 8, 8)
    shrunk = nn.functional.interpolate(patches.flatten(0, 1), (3, 3), mode="bilinear", antialias=True)
    wanted = nn.functional.interpolate(shrunk, (8, 8), mode="bilinear").unflatten(0, (3, 9))
    torch.testing.assert_close(coarsen(patches, 1.0, resampling_matrices(8)[1:2], Draws(0, "test")), wanted)


def test_coarse_patches_reach_the_network():
    torch.manual_seed(0)
    sharp, coarse = made("method.jitter=0"), made("method.jitter=0", "method.coarse=1")
    view = torch.rand(6, 1, 28, 28)
    losses = []
    for method in (sharp, coarse):
        losses.append(method.loss((view,), None, Draws(0, "test"))[0])
    assert losses[0] != losses[1]


def test_answers_are_of_informative_pairs():
    view = torch.rand(6, 1, 28, 28)
    view[0] = 0
    answers = made().answers((view,), Draws(0, "test"))
    assert torch.equal(answers.targets, torch.arange(8).repeat(5))
    assert answers.predictions.shape == answers.targets.shape
    assert len(answers.names) == len(NEIGHBOURS)


def test_dropping_colours_leaves_one_at_random():
    patches = torch.rand(200, 3, 5, 5) + 1
    seen = keep_one_channel(patches[:, None], Draws(0, "test"))[:, 0]
    stays = (seen == patches).all((2, 3))
    assert (stays.sum(1) == 1).all()
    assert (stays.sum(0) > 40).all()
    gone = seen[~stays]
    assert gone.std().item() == pytest.approx(0.01 * patches.std((2, 3)).mean().item(), rel=0.1)
    grey = patches[:, None, :1]
    assert torch.equal(keep_one_channel(grey, Draws(0, "test")), grey)


def test_projecting_takes_green_against_magenta_away_and_leaves_grey():
    green = torch.tensor([-1.0, 2.0, -1.0]).view(1, 3, 1, 1) * torch.rand(1, 1, 4, 4)
    grey = torch.rand(1, 1, 4, 4).expand(1, 3, 4, 4)
    torch.testing.assert_close(remove_green_magenta(green + grey), grey)


def test_places_are_learnt_where_there_is_something_to_see():
    torch.manual_seed(0)
    method = made("method.patch=8", "method.jitter=0")  # which leaves no room: every place looks the same each time
    ramp = torch.linspace(0, 1, 28)
    brighter = (3 * ramp.view(28, 1) + ramp) / 4  # to the right, and more so below
    view = brighter + 0.01 * torch.rand(16, 1, 28, 28)
    optimiser = torch.optim.Adam(method.parameters(), lr=0.01)
    for step in range(30):
        optimiser.zero_grad()
        loss, numbers = method.loss((view,), None, Draws(0, "test", step))
        loss.backward()
        optimiser.step()
    assert numbers["pretext_accuracy"] > 0.9
    shown = method.pictures((view,), Draws(0, "test"))
    same = (shown["patches"] == shown["as predicted"]).all(1).float().mean()
    assert same > 0.8


@pytest.mark.parametrize("colour", ["drop", "project", "keep"])
def test_photographs_train_with_every_treatment_of_colours(colour):
    method = made("dataset.facts.shape=[3,32,32]", f"method.colour={colour}")
    method.loss((torch.rand(4, 3, 32, 32),), None, Draws(0, "test"))[0].backward()
    assert method.backbone.stages[0][0].weight.grad.abs().sum() > 0


def test_the_accuracy_is_logged_and_a_picture_left(smoke):
    config, run = smoke("method=patch_location", "stage=pretrain")
    pretrain(config, run)
    assert '"pretext_accuracy"' in (run.folder / "metrics.jsonl").read_text()
    assert (run.folder / "pretext.png").exists()
    assert (run.folder / "pretext_confusion.png").exists()


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["method.gap=4"], "three patches of 7 with gap=4 and jitter=1 take 32 pixels, and inputs are 28×28"),
        (["backbone=vit"], "patch=7: inputs of 7×7 do not fit; sides must be multiples of patch=4"),
        (["backbone=warfield"], "patch=7: inputs of 7×7 do not fit; sides must be at least 22"),
        (["method.colour=project"], "colour=project: needs three colours, and inputs have 1"),
    ],
)
def test_what_does_not_fit_is_refused(fitting, overrides, sentence):
    with pytest.raises(ConfigError, match=f"method=patch_location: {sentence}"):
        fitting("method=patch_location", "dataset=synthetic", *overrides)


def test_a_grid_that_turns_out_too_large_is_refused():
    config = from_overrides("method=patch_location", "dataset=synthetic")
    with pytest.raises(ConfigError, match="take 28 pixels"):
        build(config.method, backbone=nn.Identity(), shape=(1, 20, 20))


def test_batch_norm_remembers_whole_inputs_and_no_patches():
    method = made()
    twin = copy.deepcopy(method.backbone)
    views = torch.rand(6, *load(from_overrides("dataset=synthetic").dataset).shape)
    method.loss((views,), None, Draws(0, "test"))
    twin(views)
    kept, wanted = dict(method.backbone.named_buffers()), dict(twin.named_buffers())
    assert all(torch.allclose(kept[name], wanted[name]) for name in wanted if "running" in name)
    assert not torch.allclose(kept["stages.0.1.running_mean"], torch.zeros(4))
