import pytest
import torch
from toy_texts import (
    CPU,
    FIRST,
    LAST,
    PAD,
    PAIR,
    VOCABULARY,
    batch_of,
    parts,
    some_texts,
    text_views,
    tokens,
    transformer,
)

from ssl_cli.data.token_batch import IGNORED, joined, packing
from ssl_cli.models.backbones.bag import Bag
from ssl_cli.randomness import Draws

TEXTS = some_texts()


def framed(text: list[int]) -> list[int]:
    return [FIRST, *text, LAST]


@pytest.mark.parametrize("seed", range(5))
def test_rows_never_overflow_and_every_token_is_there_once(seed):
    lengths = torch.randint(1, 21, (100,), generator=torch.Generator().manual_seed(seed))
    rows, columns, count, width = packing(lengths, 20)
    places = [(int(r), int(c) + i) for r, c, n in zip(rows, columns, lengths, strict=True) for i in range(n)]
    assert len(set(places)) == len(places) == int(lengths.sum())
    assert {row for row, _ in places} == set(range(count))
    assert max(column for _, column in places) == width - 1 < 20
    assert count * 20 < 1.3 * int(lengths.sum())


def test_a_batch_has_each_text_once_and_nothing_else():
    batch = batch_of(TEXTS, max_length=16)
    assert len(batch.ids) < len(TEXTS)
    assert parts(batch) == [framed(text) for text in TEXTS]
    assert parts(batch, "texts") == [[i] * (len(text) + 2) for i, text in enumerate(TEXTS)]
    assert parts(batch, "positions") == parts(batch, "places") == [list(range(len(text) + 2)) for text in TEXTS]
    assert batch.present.sum() == sum(len(text) + 2 for text in TEXTS)
    assert (batch.ids[~batch.present] == PAD).all()
    assert (batch.texts[~batch.present] == IGNORED).all()


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("positions", ["learned", "rotary"])
@pytest.mark.parametrize("causal", [False, True])
def test_a_text_in_a_row_with_others_has_the_states_it_has_alone(norm, positions, causal):
    backbone = transformer(norm=norm, positions=positions, causal=causal)
    batch = batch_of(TEXTS, max_length=16)
    states = backbone.states(batch).flatten(0, 1)
    features = backbone(batch)
    for item, text in enumerate(TEXTS):
        alone = batch_of([text])
        assert alone.is_one_text_a_row
        own = states[batch.firsts[item] : batch.lasts[item] + 1]
        torch.testing.assert_close(own, backbone.states(alone)[0], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(features[item], backbone(alone)[0], rtol=1e-5, atol=1e-5)


def test_a_bag_of_a_text_is_the_standardised_mean_of_its_tokens_however_it_is_packed():
    backbone = Bag(VOCABULARY, 8)
    batch = batch_of(TEXTS, max_length=16)
    means = torch.stack([backbone.embedding.weight[framed(text)].mean(0) for text in TEXTS])
    std, mean = torch.std_mean(means, 1, keepdim=True, correction=0)
    by_hand = (means - mean) / (std.square() + 1e-5).sqrt()
    torch.testing.assert_close(backbone(batch), by_hand, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(backbone.layers(batch)[-1], by_hand, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("which", [slice(0, 5), slice(3, None), slice(None, None, 2), slice(4, 5)])
def test_a_slice_of_a_batch_keeps_each_text(which):
    batch = batch_of(TEXTS, [i % 2 for i in range(12)], max_length=16)[which]
    assert parts(batch) == [framed(text) for text in TEXTS[which]]
    assert parts(batch, "positions") == [list(range(len(text) + 2)) for text in TEXTS[which]]
    wanted = [[i % 2] * (len(TEXTS[i]) + 2) for i in range(12)]
    assert parts(batch, "languages") == wanted[which]


def test_joined_batches_keep_each_text_in_its_order():
    one, other = batch_of(TEXTS[:7], max_length=16), batch_of([TEXTS[8][:2], [7, 9], [11]], max_length=32)
    both = joined([one, other])
    assert parts(both) == parts(one) + parts(other)
    assert parts(both, "texts") == [[i] * len(text) for i, text in enumerate(parts(both))]
    backbone = transformer()
    torch.testing.assert_close(backbone(both), torch.cat([backbone(one), backbone(other)]), rtol=1e-5, atol=1e-5)


def test_what_evaluation_sees_is_the_beginning_of_a_text_between_first_and_last():
    assert parts(batch_of(TEXTS, max_length=8)) == [framed(text[:6]) for text in TEXTS]
    assert parts(batch_of([[], [9]])) == [[FIRST, LAST], [FIRST, 9, LAST]]


@pytest.mark.parametrize("length", [6, 32])
def test_spans_are_parts_of_texts_and_no_longer_than_asked(length):
    texts = [list(range(6, 6 + n)) for n in (1, 2, 7, 20, 34)]
    met = set()
    for step in range(20):
        (view,) = text_views(length, p=1.0)(tokens(texts), 1, Draws(0, "test", step))
        for text, seen in zip(texts, parts(view), strict=True):
            inner = seen[1:-1]
            assert (seen[0], seen[-1]) == (FIRST, LAST)
            assert 1 <= len(inner) <= length - 2
            assert inner == text[text.index(inner[0]) :][: len(inner)]
            assert len(inner) <= -(-0.7 * len(text) // 1)
            met.add((inner[0], len(text)))
    assert len({first for first, n in met if n == 34}) > 5


def test_dropout_leaves_a_token_and_keeps_the_order():
    texts = [list(range(6, 6 + n)) for n in (1, 2, 30)]
    kept = []
    for step in range(30):
        for text, seen in zip(
            texts, parts(text_views(drop=0.9)(tokens(texts), 1, Draws(0, "d", step))[0]), strict=True
        ):
            inner = seen[1:-1]
            assert len(inner) >= 1
            assert sorted(inner) == inner
            assert set(inner) <= set(text)
            kept.append(len(inner))
    assert max(kept) > 1


def test_two_views_differ_and_are_drawn_from_the_argument_alone():
    views = text_views(p=1.0, drop=0.1)
    one, other = views(tokens(TEXTS), 2, Draws(0, "test", 3))
    again, _ = views(tokens(TEXTS), 2, Draws(0, "test", 3))
    assert parts(one) == parts(again) != parts(other)


def test_the_second_text_of_a_pair_is_a_segment_of_its_own():
    batch = batch_of([[7, 8, PAIR, 9], [7], [PAIR, 9, 9]])
    assert parts(batch, "segments") == [[0, 0, 0, 0, 1, 1], [0, 0, 0], [0, 0, 1, 1, 1]]
    assert batch.device == CPU


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("causal", [True, False])
def test_the_states_of_some_tokens_are_those_among_all(norm, causal):
    backbone = transformer(norm=norm, causal=causal)
    batch = batch_of(some_texts(20, 14))
    places = batch.present.flatten().nonzero()[::3, 0]
    torch.testing.assert_close(backbone.states_at(batch, places), backbone.states(batch).flatten(0, 1)[places])
