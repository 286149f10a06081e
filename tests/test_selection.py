"""Ways of choosing inputs to label, on features whose best choice is plain."""

import numpy as np
import pytest
import torch

from ssl_cli.data.selection.k_centre import choose_k_centre
from ssl_cli.data.selection.proposal import draw_at_random
from ssl_cli.data.selection.typical import choose_typical, typicality_of
from ssl_cli.data.selection.uncertain import choose_by_entropy, choose_by_margin, choose_margin_then_k_centre
from ssl_cli.randomness import generator

NONE = torch.empty(0, dtype=torch.int64)


def at_degrees(*degrees: float) -> torch.Tensor:
    """Directions in the plane, at different lengths, which should not count."""
    angles = torch.tensor(degrees).deg2rad()
    lengths = torch.arange(1, len(degrees) + 1)[:, None]
    return lengths * torch.stack([angles.cos(), angles.sin()], 1)


def blobs(*sizes: int, spread: float = 0.02) -> torch.Tensor:
    """Groups of these sizes, each around an axis of its own."""
    source = torch.Generator().manual_seed(0)
    axes = torch.eye(len(sizes) + 1)[: len(sizes)]
    return torch.cat(
        [axis + spread * torch.randn(size, len(axis), generator=source) for axis, size in zip(axes, sizes, strict=True)]
    )


def test_k_centre_takes_the_farthest_from_all_that_is_labelled_or_chosen():
    features = at_degrees(0, 10, 100, 190, 260)
    chosen = choose_k_centre(features, torch.tensor([0]), torch.tensor([1, 2, 3, 4]), 3)
    assert chosen.items.tolist() == [3, 2, 4]
    assert chosen.scores == pytest.approx(
        [2 * np.sin(np.radians(85)), 2 * np.sin(np.radians(45)), 2 * np.sin(np.radians(35))]
    )
    assert chosen.reasons[0] == "1.99 from the nearest input that has a label or is chosen"


def test_k_centre_without_labels_begins_in_the_middle():
    assert choose_k_centre(at_degrees(0, 20, 45, 80), NONE, torch.arange(4), 2).items.tolist() == [2, 0]


def test_k_centre_chooses_no_input_twice_where_all_are_equal():
    chosen = choose_k_centre(torch.ones(6, 3), torch.tensor([5]), torch.arange(5), 5)
    assert sorted(chosen.items.tolist()) == [0, 1, 2, 3, 4]


def test_a_typical_choice_has_one_of_each_group_the_largest_first():
    features = blobs(40, 60, 20)
    chosen = choose_typical(features, NONE, torch.arange(120), 3, generator(0, "x"))
    groups = [0 if item < 40 else 1 if item < 100 else 2 for item in chosen.items.tolist()]
    assert groups == [1, 0, 2]
    assert chosen.reasons[0] == "the most typical left of a group of 60 inputs with no label yet"


def test_groups_that_have_a_label_come_last():
    features = blobs(40, 60, 20)
    known = torch.tensor([50])  # in the largest
    candidates = torch.tensor([item for item in range(120) if item != 50])
    chosen = choose_typical(features, known, candidates, 2, generator(0, "x"))
    assert [item < 40 for item in chosen.items.tolist()] == [True, False]
    assert all(not 40 <= item < 100 for item in chosen.items.tolist())


def test_the_most_typical_is_not_at_the_edge_of_its_group():
    features = blobs(100, spread=0.2)
    chosen = choose_typical(features, NONE, torch.arange(100), 1, generator(0, "x"))
    directions = torch.nn.functional.normalize(features, dim=1)
    distances = torch.cdist(directions, directions).sort(1).values[:, 1:21].mean(1)
    assert chosen.items.tolist() == [int(distances.argmin())]
    assert chosen.scores == pytest.approx([1 / float(distances.min())], rel=1e-2)


def test_a_lone_outlier_waits_for_the_groups():
    features = torch.cat([blobs(30, 30, 30), torch.tensor([[0.0, 0.0, 0.0, 1.0]])])
    chosen = choose_typical(features, NONE, torch.arange(91), 4, generator(0, "x"))
    assert chosen.items.tolist()[-1] == 90
    assert typicality_of(np.zeros((1, 3))).tolist() == [1.0]


@pytest.mark.filterwarnings("error")
def test_more_than_there_are_groups_and_equal_inputs_are_chosen_all_the_same():
    chosen = choose_typical(torch.ones(70, 4), NONE, torch.arange(70), 60, generator(0, "x"))
    assert len(set(chosen.items.tolist())) == 60


def test_margin_and_entropy_by_hand():
    logits = torch.tensor([[0.5, 0.3, 0.2], [0.4, 0.35, 0.25], [0.49, 0.48, 0.03], [0.9, 0.05, 0.05]]).log()
    by_margin = choose_by_margin(logits, ("a", "b", "c"), torch.tensor([0, 1, 2, 3]), 2)
    assert by_margin.items.tolist() == [2, 1]
    assert by_margin.scores == pytest.approx([0.01, 0.05], abs=1e-6)
    assert by_margin.reasons[0] == "a or b: 0.010 between them"
    by_entropy = choose_by_entropy(logits, torch.tensor([0, 2, 3]), 2)
    assert by_entropy.items.tolist() == [0, 2]
    assert by_entropy.scores[0] == pytest.approx(-(0.5 * np.log(0.5) + 0.3 * np.log(0.3) + 0.2 * np.log(0.2)))


def test_among_the_uncertain_those_that_differ_are_chosen():
    """Twenty-one are uncertain, twenty of them alike; the certain ones, far from all, are no choice."""
    features = torch.cat([at_degrees(*[10.0] * 20), at_degrees(80.0), at_degrees(*[200.0] * 30)])
    logits = torch.zeros(51, 2)
    logits[21:, 0] = 9.0
    candidates = torch.arange(51)
    chosen = choose_margin_then_k_centre(logits, ("a", "b"), features, torch.tensor([0]), candidates[1:], 2)
    assert chosen.items.tolist()[0] == 20
    assert chosen.items.tolist()[1] < 20
    assert chosen.reasons[0].startswith("a or b: 0.000 between them; ")


def test_random_choices_are_nested_and_differ_by_seed():
    few, many = (draw_at_random(torch.arange(50, 90), count, generator(1, "x")).items.tolist() for count in (5, 20))
    assert many[:5] == few
    assert set(many) <= set(range(50, 90))
    assert draw_at_random(torch.arange(50, 90), 5, generator(2, "x")).items.tolist() != few
