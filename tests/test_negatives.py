"""Negatives of CPC: what may never be drawn, and how likely the rest is."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sercl_jax.graphs import utterance_keys
from sercl_jax.negatives import draw_candidates, usable

pytestmark = pytest.mark.usefixtures("quick_compilation")
LENGTH, SIZE = 23, 6
draw_compiled = jax.jit(draw_candidates, static_argnames=("length", "draws", "size"))
usable_compiled = jax.jit(usable)
FRAMES = np.array([23, 10, 7, 6, 5, 1, 40], np.int32)  # once in part, several times, fewer than SIZE, cut


@functools.cache
def a_draw(draws=4000, seed=0):
    keys = utterance_keys(jax.random.key(seed), np.arange(len(FRAMES)))
    return np.asarray(draw_compiled(keys, FRAMES, length=LENGTH, draws=draws, size=SIZE))


def used(positives, candidates, frames):
    """[B, G, P, M] as the loss sees it."""
    return np.asarray(usable_compiled(candidates, np.asarray(positives), np.minimum(frames, LENGTH)))


@pytest.mark.parametrize("row", range(len(FRAMES)))
def test_candidates_are_frames_of_different_residues(row):
    n, drawn = min(FRAMES[row], LENGTH), a_draw()[row]
    assert drawn.min() >= -1
    assert drawn.max() < LENGTH
    for candidates in drawn[:500]:
        real = candidates[candidates >= 0]
        assert len(real) == min(n, SIZE)
        assert len(set(real % n)) == len(real)


@pytest.mark.parametrize("row", range(len(FRAMES)))
def test_negatives_are_never_the_positive_nor_a_copy_and_are_all_different(row):
    n, drawn = min(FRAMES[row], LENGTH), a_draw()[row:row + 1, :300]
    positives = np.tile(np.arange(LENGTH), (drawn.shape[1], 1))
    left = used(positives, drawn, FRAMES[row:row + 1])[0]
    for group, candidates in enumerate(drawn[0]):
        for positive in range(LENGTH):
            chosen = candidates[left[group, positive]]
            assert (chosen >= 0).all()
            assert len(chosen) == min(n - 1, SIZE - 1)
            residues = set(chosen % n)
            assert len(residues) == len(chosen)
            assert positive % n not in residues


@pytest.mark.parametrize(("row", "positive"), [(0, 0), (0, 22), (1, 13), (2, 6)])
def test_every_other_residue_is_equally_likely(row, positive):
    """Chi-square of how often each residue is a negative, which has n - 2 degrees of freedom."""
    n, drawn = min(FRAMES[row], LENGTH), a_draw()[row:row + 1]
    left = used(np.full((drawn.shape[1], 1), positive), drawn, FRAMES[row:row + 1])[0, :, 0]
    counts = np.bincount(drawn[0][left] % n, minlength=n)
    assert counts[positive % n] == 0
    others = np.delete(counts, positive % n)
    p = (SIZE - 1) / (n - 1)
    expected = drawn.shape[1] * p
    # Drawn without replacement, counts vary less than a multinomial's: by 1 - p.
    statistic = ((others - expected) ** 2 / expected).sum() / max(1 - p, 1e-9) * (n - 2) / (n - 1)
    degrees = n - 2
    assert abs(statistic - degrees) < 4 * np.sqrt(2 * degrees)


def test_every_pair_of_residues_is_equally_likely():
    n, drawn = 10, a_draw()[1] % 10
    together = np.zeros((n, n))
    for candidates in drawn:
        together[np.ix_(candidates, candidates)] += 1
    p = SIZE * (SIZE - 1) / (n * (n - 1))
    found = together[~np.eye(n, dtype=bool)] / len(drawn)
    np.testing.assert_allclose(found, p, atol=4.5 * np.sqrt(p * (1 - p) / len(drawn)))


def test_every_copy_of_a_residue_is_equally_likely():
    n, drawn = 7, a_draw()[2]
    for residue in range(n):
        copies = np.arange(residue, LENGTH, n)
        counts = np.array([(drawn == copy).sum() for copy in copies])
        expected = counts.sum() / len(copies)
        assert ((counts - expected) ** 2 / expected).sum() < 20


def test_the_last_candidate_is_any_of_them():
    last = a_draw()[0, :, -1]
    counts = np.bincount(last, minlength=LENGTH)
    expected = len(last) / LENGTH
    assert ((counts - expected) ** 2 / expected).sum() < (LENGTH - 1) + 4 * np.sqrt(2 * (LENGTH - 1))


def test_draws_belong_to_the_utterance_not_to_its_place():
    key = jax.random.key(3)
    index = np.array([11, 4, 8], np.int32)
    frames = np.array([20, 9, 23], np.int32)

    @jax.jit
    def draw(key, index, frames):
        return draw_candidates(utterance_keys(key, index), frames, length=LENGTH, draws=5, size=SIZE)

    first, turned = draw(key, index, frames), draw(key, index[::-1], frames[::-1])
    np.testing.assert_array_equal(turned, first[::-1])
    assert (first != draw(jax.random.key(4), index, frames)).any((1, 2)).all()


def test_fifty_of_a_thousand():
    """The published sizes: 50 negatives for each of the predictions of 10 s."""
    drawn = draw_compiled(utterance_keys(jax.random.key(0), jnp.arange(2)), jnp.array([1000, 321]), length=1000,
                          draws=12, size=51)
    positives = np.tile(np.arange(100, 200), (12, 1))
    left = np.asarray(usable_compiled(drawn, positives, jnp.array([1000, 321])))
    assert left.shape == (2, 12, 100, 51)
    assert (left.sum(-1) == 50).all()
