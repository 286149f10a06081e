import math
from dataclasses import replace

import pytest
import torch
from toy_texts import (
    BILINGUAL,
    FIRST,
    LAST,
    MASK,
    PAIR,
    SENTENCE,
    VOCABULARY,
    batch_of,
    parts,
    some_texts,
    text_views,
    tokens,
    train,
    transformer,
)

from ssl_cli.config.build import build
from ssl_cli.config.compose import from_overrides
from ssl_cli.data.dataset import load
from ssl_cli.data.types import Dataset, Split
from ssl_cli.errors import ConfigError
from ssl_cli.methods.causal_lm import CausalLM
from ssl_cli.methods.cross_lingual import CrossLingual, side_by_side
from ssl_cli.methods.electra import Electra
from ssl_cli.methods.masked_lm import MaskedLM
from ssl_cli.methods.networks import build_for
from ssl_cli.methods.parts.language_model import mask_tokens, next_token_losses
from ssl_cli.methods.parts.sentence_pairs import sentence_pairs
from ssl_cli.methods.simclr import one_sided
from ssl_cli.methods.word2vec import Word2Vec
from ssl_cli.models.backbones.bag import Bag
from ssl_cli.models.backbones.transformer import Transformer
from ssl_cli.randomness import Draws

TEXTS = some_texts(30, 14)
LN_V = math.log(VOCABULARY.size)
CASES = torch.arange(4)


@pytest.fixture(autouse=True)
def one_thread():
    """Networks this small are slower on more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def silent(method):
    """With an output that says nothing: the tied embeddings are 0, and so is the last layer of the other outputs."""
    torch.nn.init.zeros_(method.backbone.embedding.weight)
    for layer in getattr(method, "follows", None) or []:
        for parameter in layer.parameters():
            torch.nn.init.zeros_(parameter)
    return method


def with_sentences(count: int = 60, sentences: int = 3) -> list[list[int]]:
    """Sentences of a text's own three tokens, with a mark after each but the last."""
    texts = []
    for item in range(count):
        own = [6 + (3 * item + shift) % 30 for shift in range(3)]
        texts.append([token for _ in range(sentences) for token in [*own, SENTENCE]][:-1])
    return texts


def draw(step: int = 0) -> Draws:
    return Draws(0, "test", step)


def test_without_an_opinion_the_loss_is_that_of_chance():
    batch = batch_of(TEXTS)
    for backbone in (transformer(), transformer(norm="post")):
        assert silent(MaskedLM(backbone, VOCABULARY, 0.15, False)).loss((batch,), None, draw())[
            0
        ].item() == pytest.approx(LN_V)
    method = silent(MaskedLM(transformer(segments=True), VOCABULARY, 0.15, True))
    loss = method.loss((batch_of(with_sentences()),), None, draw())[0].item()
    assert loss == pytest.approx(LN_V + math.log(2))
    method = silent(CausalLM(transformer(causal=True), VOCABULARY, 0.8))
    assert method.loss((batch,), None, draw())[0].item() == pytest.approx(LN_V)


def test_with_its_first_weights_the_loss_is_near_chance():
    torch.manual_seed(0)
    shape = (32, 2, 2, 2.0, True, "learned", "pre", 32, False, False, 0.0, "mean")
    loss, _ = CausalLM(Transformer(VOCABULARY, *shape), VOCABULARY, 0.8).loss((batch_of(TEXTS),), None, draw())
    assert loss.item() == pytest.approx(LN_V, rel=0.02)


def test_a_seventh_of_the_tokens_is_predicted_and_no_special_one():
    batch = batch_of([[*text, PAIR, SENTENCE] for text in some_texts(2000, 14)])
    chosen, seen = mask_tokens(batch, VOCABULARY, 0.15, draw())
    ordinary = batch.present & (batch.ids > SENTENCE)
    assert not (chosen & ~ordinary).any()
    assert (chosen.sum() / ordinary.sum()).item() == pytest.approx(0.15, abs=0.01)
    assert torch.equal(seen[~chosen], batch.ids[~chosen])
    masked = (seen == MASK)[chosen].float().mean().item()
    kept = (seen == batch.ids)[chosen].float().mean().item()
    assert masked == pytest.approx(0.8 + 0.1 / VOCABULARY.size, abs=0.03)
    assert kept == pytest.approx(0.1 + 0.1 / VOCABULARY.size, abs=0.03)


def test_masks_are_drawn_anew_at_each_step_and_for_each_text():
    batch = batch_of([[7] * 20] * 10)
    one, again, other = (mask_tokens(batch, VOCABULARY, 0.3, draw(step))[0] for step in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert len({tuple(row) for row in one.tolist()}) == len(one)


def test_only_predicted_tokens_are_targets(monkeypatch):
    batch = batch_of(TEXTS)
    chosen, seen = mask_tokens(batch, VOCABULARY, 0.3, draw())
    method = MaskedLM(transformer(), VOCABULARY, 0.3, False)

    def loss(ids):  # of a network that sees the same, whatever is wanted of it
        monkeypatch.setattr("ssl_cli.methods.parts.language_model.mask_tokens", lambda *given: (chosen, seen))
        return method.loss((replace(batch, ids=ids),), None, draw())[0]

    assert loss(batch.ids) == loss(torch.where(chosen, batch.ids, 9)) != loss(torch.where(chosen, 9, batch.ids))


def test_texts_with_nothing_to_predict_cost_nothing():
    method = MaskedLM(transformer(), VOCABULARY, 0.15, True)
    loss, numbers = method.loss((batch_of([[], []]),), None, draw())
    assert loss == 0
    assert all(number.isfinite() for number in numbers.values())


def test_masked_tokens_are_learnt():
    # Each text repeats one token, so those around a gap tell what is in it.
    def batch(step):
        return (batch_of([[6 + (7 * step + item) % 12] * 8 for item in range(16)]),)

    losses = train(MaskedLM(transformer(dim=32), VOCABULARY, 0.3, False), batch, 150, lr=0.005)
    assert sum(losses[-10:]) / 10 < 0.5 * LN_V


def test_half_of_the_continuations_are_another_texts():
    texts = with_sentences(400)
    batch = batch_of(texts)
    paired, is_random = sentence_pairs(batch, VOCABULARY, draw())
    assert is_random.float().mean().item() == pytest.approx(0.5, abs=0.08)
    for item, (seen, segments) in enumerate(zip(parts(paired), parts(paired, "segments"), strict=True)):
        mark = seen.index(PAIR)
        assert (seen[0], seen[-1], seen.count(PAIR)) == (FIRST, LAST, 1)
        assert segments == [0] * (mark + 1) + [1] * (len(seen) - mark - 1)
        original = [FIRST, *texts[item], LAST]
        assert seen[:mark] == original[:mark]
        assert original[mark] == SENTENCE
        assert (seen[mark + 1 :] == original[mark + 1 :]) == (is_random[item] == 0) or is_random[item] == 1
        if is_random[item]:
            endings = [[*text[cut + 1 :], LAST] for text in texts for cut in (3, 7)]
            assert seen[mark + 1 :] in endings
    cuts = {seen.index(PAIR) for seen in parts(paired)}
    assert cuts == {4, 8}


def test_texts_of_one_sentence_are_no_pairs():
    paired, is_random = sentence_pairs(batch_of([[7, 8], [7, 8, SENTENCE, 9], [11]]), VOCABULARY, draw())
    assert is_random.tolist() == [-1, 0, -1]  # no other text has a second part
    assert parts(paired) == [[FIRST, 7, 8, LAST], [FIRST, 7, 8, PAIR, 9, LAST], [FIRST, 11, LAST]]


def test_of_a_pair_that_is_too_long_the_longer_part_is_cut_first():
    """With other beginnings and endings for every text, so that it shows where each part was cut."""
    long, short = list(range(6, 15)), [20, 21]
    texts = [[*long, SENTENCE, 30, 31], [*short, SENTENCE, *range(22, 31)], [*long, SENTENCE, *short]]
    batch = batch_of(texts, max_length=14)
    for step in range(20):
        paired, is_random = sentence_pairs(batch, VOCABULARY, draw(step))
        for item, seen in enumerate(parts(paired)):
            assert len(seen) <= 14
            mark = seen.index(PAIR)
            one, other = seen[1:mark], seen[mark + 1 : -1]
            assert (seen[0], seen[-1]) == (FIRST, LAST)
            whole = texts[item][: texts[item].index(SENTENCE)]
            assert one == whole[-len(one) :]  # what is beside the second part stays
            ending = next(
                text[text.index(SENTENCE) + 1 :] for text in texts if text[text.index(SENTENCE) + 1] == other[0]
            )
            assert other == ending[: len(other)]
            if len(whole) + len(ending) > 11:
                assert len(one) + len(other) == 11
                assert abs(len(one) - len(other)) <= 1 or len(whole) == len(one) or len(ending) == len(other)
            assert (is_random[item] == 1) or len(one) == len(whole)


def test_a_causal_state_does_not_know_what_comes_later():
    for positions in ("learned", "rotary"):
        backbone = transformer(causal=True, positions=positions)
        text = TEXTS[0] + list(range(7, 17))
        changed = [*text[:8], *reversed(text[8:])]
        one, other = (backbone.states(batch_of([each]))[0] for each in (text, changed))
        torch.testing.assert_close(one[:9], other[:9])
        assert not torch.allclose(one[9:], other[9:])


def test_the_next_token_is_that_of_the_same_text():
    batch, backbone = batch_of(TEXTS, max_length=16), transformer(causal=True)
    method = CausalLM(backbone, VOCABULARY, 0.8)
    each, _, targets, _ = next_token_losses(backbone.states(batch), batch, method.output, backbone)
    assert sorted(targets.tolist()) == sorted(token for text in parts(batch) for token in text[1:])
    alone = sum(method.loss((batch_of([text]),), None, draw())[0] * (len(text) + 1) for text in TEXTS)
    torch.testing.assert_close(each.sum(), alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: MaskedLM(transformer(causal=True), VOCABULARY, 0.15, False), "set backbone.causal=false"),
        (lambda: MaskedLM(Bag(VOCABULARY, 8), VOCABULARY, 0.15, False), "masked_lm .* take backbone=transformer"),
        (lambda: MaskedLM(transformer(), replace(VOCABULARY, sentence=None), 0.15, True), "no sentence is marked"),
        (lambda: CausalLM(transformer(), VOCABULARY, 0.8), "set backbone.causal=true"),
        (lambda: CausalLM(Bag(VOCABULARY, 8), VOCABULARY, 0.8), "causal_lm .* take backbone=transformer"),
        (lambda: Word2Vec(transformer(), VOCABULARY, 5, 5, 0.75), "take backbone=bag"),
        (lambda: Electra(Bag(VOCABULARY, 8), VOCABULARY, 0.15, 0.25, 50.0), "take backbone=transformer"),
        (lambda: Electra(transformer(causal=True), VOCABULARY, 0.15, 0.25, 50.0), "set backbone.causal=false"),
        (lambda: CrossLingual(transformer(), VOCABULARY, CASES, 0.15, 1.0, 1.0, 0.0), "set dataset.columns.language"),
        (
            lambda: CrossLingual(transformer(BILINGUAL), BILINGUAL, None, 0.15, 1.0, 1.0, 0.0),
            "take dataset=parallel",
        ),
        (lambda: CrossLingual(transformer(BILINGUAL), BILINGUAL, CASES, 0.15, 0.0, 0.0, 0.0), "nothing is learnt"),
    ],
)
def test_what_does_not_fit_is_refused_with_one_sentence(make, said):
    with pytest.raises(ValueError, match=said) as refused:
        make()
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["masked_lm", "causal_lm", "word2vec", "electra", "cross_lingual"])
def test_methods_for_texts_refuse_images(name):
    config = from_overrides("dataset=synthetic", f"method={name}")
    with pytest.raises(ConfigError, match=f"method={name}: is for texts, and dataset=synthetic has images"):
        build_for(config.method, load(config.dataset), backbone=torch.nn.Identity(), cases=None, translations=None)


def test_methods_for_images_refuse_texts():
    config = from_overrides("dataset=synthetic", "method=rotation")
    split = Split(tokens(TEXTS), torch.zeros(len(TEXTS), dtype=torch.int64))
    texts = Dataset(split, split, ("a", "b"), name="texts", vocabulary=VOCABULARY)
    with pytest.raises(ConfigError, match="method=rotation: is for images, and dataset=texts has texts"):
        build_for(config.method, texts, backbone=Bag(VOCABULARY, 8))


def fresh(name: str):
    """A method for texts, and the views it gets."""
    torch.manual_seed(0)
    pair = tuple(batch_of(some_texts(8, 10, seed), [seed] * 8, BILINGUAL) for seed in (0, 1))
    speaking = transformer(BILINGUAL, languages=True)
    return {
        "masked_lm": lambda: (MaskedLM(transformer(), VOCABULARY, 0.3, False), (batch_of(TEXTS),)),
        "next_sentence": lambda: (MaskedLM(transformer(), VOCABULARY, 0.3, True), (batch_of(with_sentences()),)),
        "word2vec": lambda: (awake(Word2Vec(Bag(VOCABULARY, 8), VOCABULARY, 3, 2, 0.75)), (batch_of(TEXTS),)),
        "electra": lambda: (Electra(transformer(), VOCABULARY, 0.3, 0.25, 50.0), (batch_of(TEXTS),)),
        "cross_lingual": lambda: (CrossLingual(speaking, BILINGUAL, CASES, 0.3, 1.0, 1.0, 1.0), pair),
    }[name]()


def awake(method: Word2Vec) -> Word2Vec:
    torch.nn.init.normal_(method.context.weight)
    return method


@pytest.mark.parametrize("name", ["masked_lm", "next_sentence", "word2vec", "electra", "cross_lingual"])
def test_a_loss_draws_from_its_argument_alone_and_trains_everything(name):
    found = []
    for number, step in enumerate((1, 1, 2)):
        method, views = fresh(name)
        torch.manual_seed(number)
        loss, numbers = method.loss(views, None, draw(step))
        found.append(loss.item())
        assert all(value.isfinite() and not value.requires_grad for value in numbers.values())
    loss.backward()
    unused = {part for part, weight in method.named_parameters() if weight.grad is None}
    assert not unused
    assert found[0] == found[1] != found[2]


def test_word2vec_starts_at_chance_and_draws_by_frequency():
    method = Word2Vec(Bag(VOCABULARY, 8), VOCABULARY, 5, 5, 0.75)
    loss, _ = method.loss((batch_of([[7, 8, 9, 7], [7]]),), None, draw())
    assert loss.item() == pytest.approx(6 * math.log(2))
    assert method.counts.nonzero()[:, 0].tolist() == [7, 8, 9]
    assert method.counts[[7, 8, 9]].tolist() == [3, 1, 1]
    drawn = method._drawn(torch.rand(20_000, generator=torch.Generator().manual_seed(0)), method.counts)
    share = 3**0.75 / (3**0.75 + 2)
    assert (drawn == 7).float().mean().item() == pytest.approx(share, abs=0.02)
    assert set(drawn.tolist()) == {7, 8, 9}


def test_word2vec_by_hand():
    method = awake(Word2Vec(Bag(VOCABULARY, 8), VOCABULARY, 1, 1, 0.0))
    numbers = method.loss((batch_of([[7, 8, 9], [10, 11]]),), None, draw())[1]
    pairs = [(7, 8), (8, 7), (8, 9), (9, 8), (10, 11), (11, 10)]
    scores = torch.stack([method.backbone.embedding.weight[a] @ method.context.weight[b] for a, b in pairs])
    torch.testing.assert_close(numbers["neighbour_loss"], -torch.nn.functional.logsigmoid(scores).mean().detach())


def test_words_of_the_same_contexts_become_similar():
    # Words 6 to 9 stand among 20 to 24, and 10 to 13 among 30 to 34.
    def batch(step):
        source = torch.Generator().manual_seed(step)
        texts = []
        for item in range(32):
            word, around = ((6, 20), (10, 30))[item % 2]
            some = torch.randint(5, (4,), generator=source).tolist()
            own = word + int(torch.randint(4, (1,), generator=source))
            texts.append([around + some[0], around + some[1], own, around + some[2], around + some[3]])
        return (batch_of(texts),)

    torch.manual_seed(0)
    method = Word2Vec(Bag(VOCABULARY, 16), VOCABULARY, 2, 5, 0.75)
    train(method, batch, 150, lr=0.03)
    words = torch.nn.functional.normalize(method.backbone.embedding.weight[6:14], dim=1).detach()
    similar = words @ words.T
    alike = torch.cat([similar[:4, :4][~torch.eye(4).bool()], similar[4:, 4:][~torch.eye(4).bool()]])
    assert alike.min() > similar[:4, 4:].max() + 0.3


def test_the_one_sided_loss_of_equal_embeddings_is_ln_b():
    assert one_sided(torch.ones(64, 8), torch.ones(64, 8), 0.05).item() == pytest.approx(math.log(64))
    z0, z1 = torch.randn(2, 16, 8, generator=torch.Generator().manual_seed(0))
    loss = one_sided(z0, z1, 0.1).item()
    assert one_sided(3 * z0, z1, 0.1).item() == pytest.approx(loss, rel=1e-5)
    assert one_sided(z1, z0, 0.1).item() != pytest.approx(loss, rel=1e-3)
    near = torch.nn.functional.normalize(z0, dim=1) @ torch.nn.functional.normalize(z1, dim=1).T / 0.1
    assert loss == pytest.approx((near.logsumexp(1) - near.diagonal()).mean().item(), rel=1e-5)


@pytest.mark.parametrize("option", ["queue=64", "debias=0.1", "cancel=0.1"])
def test_one_side_has_no_options_for_negatives(fitting, option):
    name, number = option.split("=")
    with pytest.raises(ConfigError, match=rf"negatives\.{name}={number}: belongs to sides=both"):
        fitting("dataset=synthetic", "method.sides=one", f"method.negatives.{option}")


def test_electra_counts_a_drawn_original_as_real():
    method, views = fresh("electra")
    chosen, _, seen = method._replaced(views[0], draw())
    assert torch.equal(seen[~chosen], views[0].ids[~chosen])
    wanted = (seen != views[0].ids)[views[0].present].float().mean()
    assert method.loss(views, None, draw())[1]["replaced"] == wanted
    # A generator that is sure of the token that was there everywhere replaces nothing.
    batch = batch_of([[9] * 10] * 4)
    torch.nn.init.zeros_(method.output.bias)
    method.output.bias.data[9] = 1e4
    assert method.loss((batch,), None, draw())[1]["replaced"] == 0


def test_electra_has_a_narrow_generator_and_starts_at_chance():
    backbone = transformer(dim=32, heads=4)
    method = Electra(backbone, VOCABULARY, 0.15, 0.25, 50.0)
    assert (method.generator.dim, len(method.generator.stages), method.generator.stages[0].heads) == (8, 2, 1)
    torch.nn.init.zeros_(method.generator.embedding.weight)
    for parameter in method.replaced[-1].parameters():
        torch.nn.init.zeros_(parameter)
    loss, _ = method.loss((batch_of(TEXTS),), None, draw())
    assert loss.item() == pytest.approx(LN_V + 50 * math.log(2))


def test_electra_learns():
    def batch(step):
        return (batch_of([[6 + (7 * step + item) % 12] * 8 for item in range(16)]),)

    losses = train(Electra(transformer(dim=32), VOCABULARY, 0.3, 0.5, 50.0), batch, 100, lr=0.005)
    assert sum(losses[-10:]) < 0.6 * sum(losses[:10])


def test_a_translation_begins_at_position_0_in_its_own_language():
    both = side_by_side(
        batch_of([[7, 8, 9], [10], [12, 13]], [0, 1, 1], BILINGUAL),
        batch_of([[17], [18, 19], [14]], [1, 0, 1], BILINGUAL),
    )
    assert parts(both) == [
        [FIRST, 7, 8, 9, LAST, FIRST, 17, LAST],
        [FIRST, 10, LAST, FIRST, 18, 19, LAST],
        [FIRST, 12, 13, LAST],
    ]
    assert parts(both, "positions") == [[0, 1, 2, 3, 4, 0, 1, 2], [0, 1, 2, 0, 1, 2, 3], [0, 1, 2, 3]]
    assert parts(both, "languages") == [[0] * 5 + [1] * 3, [1] * 3 + [0] * 4, [1] * 4]


def test_a_language_changes_the_states_and_both_sides_are_masked():
    backbone = transformer(BILINGUAL, languages=True)
    one, other = (backbone(batch_of([[7, 8]], [language], BILINGUAL)) for language in (0, 1))
    assert not torch.allclose(one, other)
    both = side_by_side(batch_of([[7] * 20] * 9, [0] * 9, BILINGUAL), batch_of([[8] * 20] * 9, [1] * 9, BILINGUAL))
    chosen, _ = mask_tokens(both, BILINGUAL, 0.3, draw())
    assert set(both.languages[chosen].tolist()) == {0, 1}


def test_without_translations_it_is_masked_language_modelling():
    backbone = transformer(BILINGUAL, languages=True)
    text = batch_of(some_texts(8), [0] * 8, BILINGUAL)
    cross = CrossLingual(backbone, BILINGUAL, CASES, 0.3, 1.0, 0.0, 0.0)
    plain = MaskedLM(backbone, BILINGUAL, 0.3, False)
    plain.output.load_state_dict(cross.output.state_dict())
    wanted = plain.loss((text,), None, draw())[0]
    assert cross.loss((text, text), None, draw())[0] == wanted
    cross.mlm, cross.tlm = 0.0, 1.0
    assert parts(side_by_side(text, text)) == parts(text)
    # In the same language, the partner is no translation.
    assert cross.loss((text, text), None, draw())[0].item() == pytest.approx(wanted.item(), rel=0.3)


def test_a_text_continues_in_its_language():
    backbone = transformer(BILINGUAL, languages=True, causal=True)
    method = CausalLM(backbone, BILINGUAL, 0.0)
    start = torch.tensor([FIRST, 7, 8])
    languages = []
    states = backbone.states
    backbone.states = lambda batch: languages.append(batch.languages) or states(batch)
    method._continued(start, torch.tensor(1), draw())
    assert all((each == 1).all() for each in languages)


def test_settings_build_the_methods():
    for name in ("word2vec", "electra", "cross_lingual"):
        backbone = Bag(BILINGUAL, 8) if name == "word2vec" else transformer(BILINGUAL)
        extra = {"translations": CASES} if name == "cross_lingual" else {}
        build(from_overrides(f"method={name}").method, backbone=backbone, vocabulary=BILINGUAL, **extra)


def test_processes_mask_together_what_one_would():
    # The second process has the long texts, so that the rows of both have other widths than those of the whole.
    batch = batch_of([[7, 8, 9], [12] * 14, [10, 11], [13] * 9], max_length=40)
    assert batch[::2].ids.shape[1] < batch.ids.shape[1] < batch.longest == 40

    def seen(part, **slices) -> list[list[int]]:
        _, ids = mask_tokens(part, VOCABULARY, 0.6, Draws(0, "test", **slices))
        return parts(replace(part, ids=ids))

    first, second = (seen(batch[rank::2], rank=rank, processes=2) for rank in range(2))
    assert [first[0], second[0], first[1], second[1]] == seen(batch) != parts(batch)


def test_a_language_model_refuses_views_that_leave_tokens_out():
    masked, causal = (
        MaskedLM(transformer(), VOCABULARY, 0.15, False),
        CausalLM(transformer(causal=True), VOCABULARY, 0.0),
    )
    for method in (masked, causal):
        method.check_views(text_views(p=1.0))
        with pytest.raises(ValueError, match=r"drop\.p=0\.1 leaves tokens out.* take augment=whole_text"):
            method.check_views(text_views(drop=0.1))
