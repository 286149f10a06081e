"""The order of very many inputs, which is computed place by place."""

import pytest
import torch
from scipy.stats import chisquare

from ssl_cli.data import batches
from ssl_cli.data.batches import Batches
from ssl_cli.data.permutation import permuted


@pytest.mark.parametrize("count", [1, 2, 3, 16, 17, 1000, 4097])
def test_every_number_is_at_one_place(count):
    order = permuted(torch.arange(count), count, 0, 0)
    assert torch.equal(order.sort().values, torch.arange(count))


def test_any_place_can_be_asked_for_by_itself():
    count = 10**12
    places = torch.tensor([0, 7, count - 1])
    found = permuted(places, count, 3, 5)
    assert [int(permuted(place[None], count, 3, 5)) for place in places] == found.tolist()
    assert ((found >= 0) & (found < count)).all()


def test_every_number_is_as_likely_at_every_place():
    """And so is every distance between neighbours: 4,000 orders of 40 things."""
    count, orders = 40, torch.stack([permuted(torch.arange(40), 40, 1, epoch) for epoch in range(4000)])
    places = torch.stack([orders[:, place].bincount(minlength=count) for place in range(count)])
    # Rows and columns have sums that are given, so 39 · 39 of the 1,600 numbers are free.
    assert chisquare(places.flatten(), ddof=count * count - 1 - (count - 1) ** 2).pvalue > 1e-3
    distances = (orders.diff(dim=1) % count).flatten().bincount(minlength=count)[1:]
    assert chisquare(distances).pvalue > 1e-3


def test_another_seed_or_epoch_is_another_order():
    first, *others = (permuted(torch.arange(1000), 1000, *key) for key in ((0, 0), (0, 1), (1, 0)))
    assert all((first == other).float().mean() < 0.02 for other in others)


@pytest.mark.parametrize("order", ["shuffle", "file"])
@pytest.mark.parametrize("items", [None, torch.arange(20, 60)])
def test_batches_of_a_computed_order_have_each_input_once_an_epoch(monkeypatch, order, items):
    monkeypatch.setattr(batches, "COMPUTED_FROM", 0)
    source = Batches(torch.arange(100), None, items, 10, order, 0)
    known = torch.arange(100) if items is None else items
    epochs = [
        torch.cat([source.at(epoch * source.steps_per_epoch + step).inputs for step in range(source.steps_per_epoch)])
        for epoch in range(2)
    ]
    for epoch in epochs:
        assert torch.equal(epoch.sort().values, known)
    assert torch.equal(*epochs) == torch.equal(epochs[0], known) == (order == "file")
