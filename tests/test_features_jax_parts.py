"""Parts of the device's descriptors against closed forms: roots, sums of two singles, periods."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_features_pitch import RATE, pulses

from sercl_jax.features import (
    frames,
    jax_double,
    jax_exact,
    jax_frames,
    jax_lsp,
    jax_periods,
    jax_perturbation,
    jax_pitch,
    perturbation,
    pitch,
)

HOPS = 500
_line_spectral_frequencies = jax.jit(lambda a: jax_lsp.from_polynomial(list(a)))
_rounding = jax.jit(jax_exact.rounding)
_perturbation = jax.jit(jax_perturbation.perturbation_of)
_best_match = jax.jit(jax_periods.best_match, static_argnames="limit")


def step_up(reflections: np.ndarray) -> np.ndarray:
    """Coefficients of A(z), the first 1; minimum phase for reflections within the unit circle."""
    a = np.ones(1)
    for k in reflections:
        a = np.append(a, 0) + k * np.append(0, a[::-1])
    return a


def circle_roots(a: np.ndarray) -> np.ndarray:
    """Angles in (0, pi) of the roots of A(z) +- z^-9 A(1/z)."""
    padded = np.append(a, 0)
    roots = np.concatenate([np.roots(padded + sign * padded[::-1]) for sign in (1, -1)])
    return np.sort(np.angle(roots[(roots.imag > 1e-7)]))


def test_line_spectral_frequencies_are_numpy_s_roots():
    rng = np.random.default_rng(0)
    polynomials = np.stack([step_up(rng.uniform(-0.9, 0.9, 8)) for _ in range(300)])
    found = np.asarray(_line_spectral_frequencies(polynomials[:, 1:].T.astype(np.float32)))
    for a, own in zip(polynomials, found, strict=True):
        np.testing.assert_allclose(own, circle_roots(a), atol=3e-4)


def test_line_spectral_frequencies_of_silence_are_even():
    found = _line_spectral_frequencies(np.zeros((8, 300), np.float32))
    np.testing.assert_allclose(found, np.tile(np.pi * np.arange(1, 9) / 9, (300, 1)), atol=1e-6)


def test_close_roots_are_not_missed():
    roots = np.array([-0.9, 0.3, 0.302, 0.9])
    powers = np.polynomial.polynomial.polyfromroots(roots).astype(np.float32)
    found = jax.jit(lambda p: jax_lsp.real_roots(list(p)))(powers)
    np.testing.assert_allclose(found, roots, atol=1e-3)


@settings(deadline=None)
@given(st.lists(st.floats(-1e6, 1e6, width=32, allow_subnormal=False).filter(lambda x: x == 0 or abs(x) > 1e-6),
                min_size=3, max_size=3))
def test_two_singles_hold_sums_products_and_quotients(numbers: list[float]):
    a, b, c = numbers
    one = jax_double.of(jnp.float32(a), jnp.float32(b) * jnp.float32(2**-20))
    other = jax_double.single(jnp.float32(c))

    def value(x: jax_double.Double) -> Fraction:
        return Fraction(float(x.high)) + Fraction(float(x.low))

    exact = Fraction(a) + Fraction(b) / 2**20
    assert value(one) == exact
    for found, wanted, size in (
            (jax_double.add(one, other), exact + Fraction(c), abs(exact) + abs(Fraction(c))),
            (jax_double.multiply(one, other), exact * Fraction(c), abs(exact * Fraction(c)))):
        assert abs(value(found) - wanted) <= size / 2**44
    if c:
        assert abs(value(jax_double.divide(one, other)) - exact / Fraction(c)) <= abs(exact / Fraction(c)) / 2**42


def test_correlations_are_exact():
    rng = np.random.default_rng(0)
    signal = np.clip(np.cumsum(rng.normal(0, 3000, 900)) % 60_000 - 30_000, -32768, 32767).round()
    begins, lengths = rng.integers(0, 100, 50), rng.integers(40, 200, 50)
    x, y = (np.stack([signal[start:start + count] for start in starts]).astype(np.float32)
            for starts, count in ((begins, 240), (begins + lengths - 1, 243)))
    found = jax.jit(jax_exact.exact)(x, y, _rounding(x), _rounding(y), lengths.astype(np.int32))
    held = (signal.astype(np.float32) / np.float32(32767)).astype(np.float64)
    for lane, (begin, length) in enumerate(zip(begins, lengths, strict=True)):
        for j, n in enumerate(range(length - 1, length + 2)):
            wanted = np.corrcoef(held[begin:begin + n], held[begin + n:begin + 2 * n])[0, 1]
            assert float(found.high[lane, j]) + float(found.low[lane, j]) == pytest.approx(wanted, abs=1e-11)


def test_best_matches_are_numpy_s():
    rng = np.random.default_rng(0)
    signal = np.round(20_000 * pulses(rng.normal(110, 2, 40)) + rng.normal(0, 300, 40 * 110 + 401)[:1])[:4000]
    begin = rng.integers(0, 3000, 32).astype(np.int32)
    shortest, longest = np.full(32, 85, np.int32), np.full(32, 142, np.int32)
    flat = signal.astype(np.float32)
    match = _best_match(flat, _rounding(flat), begin, shortest, longest, limit=240)
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(signal, (0, 800)), 800)
    for lane in range(32):
        wanted = perturbation.best_match(perturbation.correlations(windows[begin[lane]:], 85, 142))
        assert wanted is not None
        index, place, score = wanted
        assert match.found[lane]
        assert match.length[lane] == 85 + index
        assert float(match.period[lane]) == pytest.approx(85 + place, abs=1e-3)
        assert float(match.score.high[lane]) == pytest.approx(score, abs=1e-6)


def jitter_and_shimmer(signal: np.ndarray, period: float) -> np.ndarray:
    """[T, 3] where every frame but the first is known to be voiced, without the onset."""
    count = min(len(signal) // 160, HOPS) - 8
    padded = np.zeros((1, HOPS * 160), np.float32)
    part = signal[:(HOPS - 1) * 160]
    padded[0, 160:160 + len(part)] = np.round(20_000 * part)
    f0 = np.zeros((1, HOPS), np.float32)
    f0[0, 1:count] = RATE / period
    return np.asarray(_perturbation(padded, f0))[0, 4:count]


def test_steady_pulses_have_neither_jitter_nor_shimmer():
    assert np.abs(jitter_and_shimmer(pulses(np.full(300, 100.0)), 100)).max() < 1e-4


@pytest.mark.parametrize("deviation", [0.5, 1.0])
def test_jitter_of_independent_periods(deviation: float):
    jitter = jitter_and_shimmer(pulses(np.random.default_rng(1).normal(100, deviation, 790)), 100)[:, 0].mean()
    expected = 2 * deviation / np.sqrt(np.pi) / 100  # E|a - b| of two normal variables
    assert 0.78 * expected < jitter < 1.08 * expected


@pytest.mark.parametrize("low", [0.9, 0.6])
def test_shimmer_of_alternating_amplitudes(low: float):
    signal = pulses(np.full(400, 100.0), np.where(np.arange(401) % 2, 1, low))
    # Each period still rings when the next begins, which takes a few per cent off.
    np.testing.assert_allclose(jitter_and_shimmer(signal, 100)[:, 2], (1 - low) / ((1 + low) / 2), rtol=0.06)


@pytest.mark.parametrize("hz", [120, 210, 450, 600])
def test_a_pulse_train_has_its_repetition_rate_as_pitch(hz: int):
    signal = pulses(np.full(int(hz / 2), RATE / hz))[:6400]
    f0, voicing = _pitch(np.pad(signal, (0, 6400 - len(signal)))[None].astype(np.float32))
    np.testing.assert_allclose(f0[0, 4:-10], hz, rtol=0.01)
    assert (voicing[0, 4:-10] > pitch.VOICED).all()


_pitch = jax.jit(lambda s: jax_pitch.best_candidate(jax_pitch.subharmonic_sum(s)))


def test_contours_follow_numpy_s_within_each_utterance():
    rng = np.random.default_rng(0)
    counts = [1, 2, 3, 40, 7, 24]
    raw = [np.where(rng.random(n) < 0.4, 0, rng.choice([100.0, 110, 220, 55], n)) for n in counts]
    row = jnp.asarray(np.concatenate(raw)[None], jnp.float32)
    layout = jax_frames.Layout(*(jnp.asarray(np.concatenate(parts)[None], jnp.int32) for parts in (
        [np.arange(n) for n in counts], [np.full(n, n) for n in counts], [np.full(n, n) for n in counts])))
    mended = jax_pitch.mend(row, layout)
    level = np.asarray(jax_pitch.envelope(mended, layout))[0]
    smooth, delta = (np.asarray(f(row[..., None], layout.position, layout.total))[0]
                     for f in (jax_frames.smooth, jax_frames.delta))
    ends = np.cumsum(counts)
    for values, start, end in zip(raw, ends - counts, ends, strict=True):
        expected = pitch.mend(values)
        np.testing.assert_array_equal(np.asarray(mended)[0, start:end], np.append(expected, 0))
        np.testing.assert_allclose(level[start:end - 1], pitch.envelope(expected), rtol=1e-5)
        np.testing.assert_allclose(smooth[start:end], frames.smooth(values[:, None]), rtol=1e-5)
        np.testing.assert_allclose(delta[start:end], frames.delta(values[:, None]), atol=1e-3)
