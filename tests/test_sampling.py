"""Batches of emotion pairs and of similar lengths, as functions of the global step."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sercl_jax.errors import UserError
from sercl_jax.sampling import POOL, EmotionPairs, EpochBatches

EMOTIONS = ("angry", "fearful", "happy", "neutral", "sad", "surprised")
ENGLISH = ["neutral", "sad", "angry", "happy"] * 12
CHINESE = list(EMOTIONS) * 10
BOTH = [ENGLISH, CHINESE]

CORPORA = st.lists(st.lists(st.sampled_from(EMOTIONS), min_size=1, max_size=25), min_size=1, max_size=4).filter(
    lambda labels: len({e for own in labels for e in own}) > 1)
SIZES = st.integers(1, 10).map(lambda quarter: 4 * quarter)


def first_with(pairs, condition):
    return next(batch for batch in map(pairs, range(1000)) if condition(batch.emotion))


def test_both_corpora_have_the_emotion():
    """Fig. 2: N/4 positives and N/4 negatives from each."""
    batch = first_with(EmotionPairs(BOTH, 32, 0), ENGLISH.__contains__)
    np.testing.assert_array_equal(batch.positive, np.arange(32) < 16)
    np.testing.assert_array_equal(batch.corpus[:16], [0] * 8 + [1] * 8)
    assert Counter(batch.corpus[16:].tolist()) == {0: 8, 1: 8}
    # One corpus against the other in the cosine margin loss.
    np.testing.assert_array_equal(batch.half[:16], batch.corpus[:16])
    # The i-th positive does not always meet a negative of its own corpus.
    assert set(zip(batch.corpus[:16].tolist(), batch.corpus[16:].tolist(), strict=True)) == {
        (0, 0), (0, 1), (1, 0), (1, 1)}


def test_one_corpus_lacks_the_emotion():
    """Fig. 3: N/2 positives from the one that has it, still N/4 negatives from each; random halves."""
    batch = first_with(EmotionPairs(BOTH, 32, 0), {"fearful", "surprised"}.__contains__)
    assert (batch.corpus[:16] == 1).all()
    assert Counter(batch.corpus[16:].tolist()) == {0: 8, 1: 8}
    np.testing.assert_array_equal(batch.half[:16], [0] * 8 + [1] * 8)


@given(CORPORA, SIZES, st.integers(0, 2**31), st.integers(0, 10**6), st.sampled_from(["corpus", "random"]))
@settings(max_examples=150, deadline=None)
def test_every_batch_is_in_halves_and_equal_parts(labels, size, seed, step, halves):
    batch = EmotionPairs(labels, size, seed, halves=halves)(step)
    for array in (batch.corpus, batch.row, batch.half):
        assert array.shape == (size,)
        assert array.dtype == np.int32
    assert batch.positive.dtype == bool
    np.testing.assert_array_equal(batch.positive, np.arange(size) < size // 2)
    drawn = list(zip(batch.corpus.tolist(), batch.row.tolist(), strict=True))
    for (c, i), positive in zip(drawn, batch.positive, strict=True):
        assert (labels[c][i] == batch.emotion) == positive
    assert Counter(batch.half[batch.positive].tolist()) == {0: size // 4, 1: size // 4}
    assert not batch.half[~batch.positive].any()
    if halves == "corpus":
        assert (np.diff(batch.corpus[batch.positive]) >= 0).all()
    for positive in (True, False):
        pools = {c: [i for i, e in enumerate(own) if (e == batch.emotion) == positive]
                 for c, own in enumerate(labels)}
        pools = {c: pool for c, pool in pools.items() if pool}
        times = Counter(pair for pair, is_positive in zip(drawn, batch.positive, strict=True)
                        if is_positive == positive)
        parts = {c: sum(n for (of, _), n in times.items() if of == c) for c in pools}
        assert sum(parts.values()) == size // 2  # nothing from corpora that have none
        assert max(parts.values()) - min(parts.values()) <= 1
        for c, pool in pools.items():  # none once more before all have been drawn
            assert {times[c, i] for i in pool} <= {parts[c] // len(pool), -(-parts[c] // len(pool))}


@given(CORPORA.filter(lambda labels: len(labels) > 1), SIZES, st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_halves_are_of_different_corpora_where_several_have_the_emotion(labels, size, seed):
    batch = EmotionPairs(labels, size, seed)(0)
    first, second = (batch.corpus[batch.positive & (batch.half == half)] for half in (0, 1))
    if sum(batch.emotion in own for own in labels) > 1:
        assert (first != second).all()


@given(CORPORA, SIZES, st.integers(0, 2**31), st.lists(st.integers(0, 5000), min_size=1, max_size=6))
@settings(max_examples=50, deadline=None)
def test_a_batch_depends_on_seed_and_step_only(labels, size, seed, steps):
    pairs, other = EmotionPairs(labels, size, seed), EmotionPairs(labels, size, seed)
    forwards = {step: other(step) for step in sorted(steps)}
    for step in steps:  # in any order, as often as wanted
        again, once = pairs(step), forwards[step]
        assert again.emotion == once.emotion
        for name in ("corpus", "row", "positive", "half"):
            np.testing.assert_array_equal(getattr(again, name), getattr(once, name))


def test_steps_and_seeds_differ():
    drawn = {tuple(EmotionPairs(BOTH, 32, seed)(step).row.tolist()) for seed in range(3) for step in range(20)}
    assert len(drawn) == 60


def test_emotions_and_utterances_are_equally_likely():
    labels = [["sad"] * 30 + ["happy"] * 2, ["happy"] * 3 + ["bored"]]
    pairs, steps = EmotionPairs(labels, 8, 1), 3000
    batches = [pairs(step) for step in range(steps)]
    emotions = Counter(batch.emotion for batch in batches)
    # Whatever their shares of the utterances: 1000 each, deviation 26.
    assert set(emotions) == {"sad", "happy", "bored"}
    assert all(abs(count - 1000) < 120 for count in emotions.values())
    sad = Counter(int(i) for batch in batches if batch.emotion == "sad" for i in batch.row[:4])
    assert set(sad) == set(range(30))
    expected = 4 * emotions["sad"] / 30  # 133, deviation 11
    assert all(abs(count - expected) < 60 for count in sad.values())
    # Negatives of "bored" in the first corpus are any of its 32, however few a label has.
    others = Counter(int(i) for batch in batches if batch.emotion == "bored"
                     for c, i in zip(batch.corpus[4:], batch.row[4:], strict=True) if c == 0)
    assert set(others) == set(range(32))


def test_what_equal_parts_leave_over_goes_to_every_corpus():
    pairs = EmotionPairs([["sad", "happy"] * 5] * 3, 8, 0)
    parts = Counter(int(c) for step in range(900) for c in pairs(step).corpus[:4])
    assert all(abs(parts[c] - 1200) < 80 for c in range(3))  # deviation 14


def test_random_halves_mix_the_corpora():
    pairs = EmotionPairs([["sad", "happy"] * 20] * 2, 32, 0, halves="random")
    crossing = []
    for step in range(200):
        batch = pairs(step)
        assert Counter(batch.corpus[:16].tolist()) == {0: 8, 1: 8}
        crossing.append(np.mean(batch.corpus[:8] != batch.corpus[8:16]))
    assert abs(np.mean(crossing) - 8 / 15) < 0.05  # the chance that two of 8 + 8 differ


def test_an_emotion_in_one_corpus_only_has_random_halves():
    pairs = EmotionPairs([["sad"] * 8 + ["happy"] * 8], 16, 0)
    together = 0
    for step in range(400):
        rows = pairs(step).row[:8].tolist()
        together += (rows.index(min(rows)) < 4) == (rows.index(max(rows)) < 4)
    assert abs(together / 400 - 3 / 7) < 0.1


def test_a_corpus_with_one_emotion():
    """Where it has no negatives, the other gives all of them."""
    batch = first_with(EmotionPairs([["sad"] * 4, ["sad", "happy", "happy"]], 16, 0), "sad".__eq__)
    assert Counter(batch.corpus[:8].tolist()) == {0: 4, 1: 4}
    assert (batch.corpus[8:] == 1).all()
    assert set(batch.row[8:].tolist()) == {1, 2}
    batch = first_with(EmotionPairs([["sad"] * 4, ["sad", "happy", "happy"]], 16, 0), "happy".__eq__)
    assert Counter(batch.corpus[8:].tolist()) == {0: 4, 1: 4}


def test_all_emotions_of_all_corpora_are_drawn():
    assert EmotionPairs(BOTH, 32, 0).emotions == EMOTIONS


@pytest.mark.parametrize(("labels", "size", "message"), [
    (BOTH, 30, "batch_size=30.*multiple of 4"),
    (BOTH, 0, "batch_size=0"),
    (BOTH, -4, "batch_size=-4"),
    ([["sad"], ["sad", "sad"]], 8, "pairs from: sad. Negatives need at least two"),
    ([], 8, "pairs from: none"),
    ([ENGLISH, []], 8, "Corpus 2 of 2 has no training utterance"),
    ([["sad", "", "happy"]], 8, "Corpus 1 of 1: utterance 1 has no label"),
])
def test_nothing_to_draw_pairs_from(labels, size, message):
    with pytest.raises(UserError, match=message):
        EmotionPairs(labels, size, 0)


def test_unknown_halves():
    with pytest.raises(ValueError, match="corpus, random"):
        EmotionPairs(BOTH, 32, 0, halves="speaker")


@given(st.lists(st.integers(1, 400), min_size=1, max_size=90), st.integers(1, 12), st.integers(0, 2**31))
@settings(max_examples=100, deadline=None)
def test_an_epoch_has_every_utterance_once(lengths, size, seed):
    batches = EpochBatches(lengths, size, seed)
    per_epoch = batches.steps_per_epoch
    assert per_epoch == -(-len(lengths) // size)
    for epoch in range(2):
        drawn = []
        for step in range(epoch * per_epoch, (epoch + 1) * per_epoch):
            rows, valid = batches(step)
            assert rows.shape == valid.shape == (size,)
            assert rows.dtype == np.int32
            assert valid.dtype == bool
            assert valid.any()
            assert set(rows.tolist()) == set(rows[valid].tolist())  # padding repeats the batch's own
            drawn += rows[valid].tolist()
        assert sorted(drawn) == list(range(len(lengths)))


def test_batches_hold_similar_lengths_and_come_in_any_order():
    lengths = np.random.default_rng(0).integers(1, 1000, 4 * POOL)
    batches = EpochBatches(lengths, 4, 0)
    longest = [lengths[batches(step)[0]].max() for step in range(POOL)]
    # One pool: the batches are the sorted corpus in pieces, shuffled.
    np.testing.assert_array_equal(np.sort(longest), np.sort(lengths)[3::4])
    assert longest != sorted(longest)
    padding = 1 - lengths.sum() / (4 * np.sum(longest))
    assert padding < 0.1
    # Pools of their own make that a batch is not the same in every epoch.
    lengths = np.random.default_rng(0).integers(1, 1000, 8 * POOL)
    batches = EpochBatches(lengths, 4, 0)
    epochs = [{frozenset(batches(step)[0].tolist()) for step in range(e * 2 * POOL, (e + 1) * 2 * POOL)}
              for e in range(2)]
    assert len(epochs[0] & epochs[1]) < POOL


@given(st.lists(st.integers(1, 9), min_size=1, max_size=40), st.integers(1, 6), st.integers(0, 2**31),
       st.lists(st.integers(0, 300), min_size=1, max_size=8))
@settings(max_examples=50, deadline=None)
def test_an_epoch_batch_depends_on_seed_and_step_only(lengths, size, seed, steps):
    batches, other = EpochBatches(lengths, size, seed), EpochBatches(lengths, size, seed)
    forwards = {step: other(step) for step in sorted(steps)}
    for step in steps:
        for one, two in zip(batches(step), forwards[step], strict=True):
            np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(("lengths", "size"), [([], 4), ([3, 4], 0)])
def test_nothing_to_batch(lengths, size):
    with pytest.raises(UserError, match=f"batches of {size} from {len(lengths)}"):
        EpochBatches(lengths, size, 0)
