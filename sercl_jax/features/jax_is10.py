"""The IS10 low-level descriptors and their deltas on the device: raw audio in, 76 values per 10 ms frame out.

Pure functions with fixed shapes, to be jitted, mapped or built into a model's input; `is10` is the same in NumPy
and double precision. Agreement with openSMILE's IS10: `python -m benchmarks.features --agreement`.

Single precision suffices everywhere but in two places. Products of matrices need all of it (`jax_frames.dot`), and
the score that decides whether a glottal period counts needs more (`jax_exact`).

A frame costs about 0.8 MFLOP: 526 kFLOP for the sub-harmonic sum, 162 for line spectral frequencies, 17 for mel
bands, 70 for its two FFTs. Each glottal period adds about 70 kFLOP at usual pitches, 200 below 84 Hz.
"""

import jax
import jax.numpy as jnp

from sercl_jax.features import jax_frames, jax_perturbation, jax_pitch, jax_spectral, pitch
from sercl_jax.features.frames import HOP, LONG, SHORT
from sercl_jax.features.jax_frames import Layout, shifted

_BLOCK = 4096  # frames of a row whose spectra are in memory at once


def describe_rows(waveforms: jax.Array, layout: Layout) -> jax.Array:
    """The descriptors of rows that hold any number of utterances.

    Args:
      waveforms: [B, S] at 16 kHz, int16 or floats in [-1, 1]; S a multiple of HOP.
      layout: what each of the S / HOP frames is.

    Returns:
      [B, S / HOP, 76] float32 in the order of `is10.NAMES`, 0 in frames that do not count.
    """
    signal = jax_frames.to_float(waveforms)
    position, total, known = layout
    spectra, f0, voicing = _of_single_frames(signal)
    contour = jax_pitch.mend(jnp.where(voicing > pitch.VOICED, f0, 0), layout)
    perturbation = jax_perturbation.perturbation_of(jnp.round(signal * 32767), contour)
    tracked = jnp.concatenate([jax_pitch.envelope(contour, layout)[..., None],
                               jnp.where(position > 0, voicing, 0)[..., None], contour[..., None], perturbation], 2)
    # The contour ends one frame early: its last value is held.
    last = (position == total - 1)[..., None]
    tracked = jnp.where(last, jnp.where(position[..., None] > 0, shifted(tracked, -1), 0), tracked)
    spectra = jax_frames.smooth(spectra, position, known)
    values = jnp.concatenate([spectra, jax_frames.smooth(tracked, position, total)], 2)
    values = jnp.concatenate([values, jax_frames.delta(values, position, total)], 2)
    return jnp.where(layout.valid[..., None], values, 0)


def _of_single_frames(signal: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """What needs one frame only: spectral descriptors [B, T, 32], pitch [B, T] and voicing [B, T]; T = S / HOP."""
    def of_block(block: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        return jax_spectral.descriptors(block), *jax_pitch.best_candidate(jax_pitch.subharmonic_sum(block))

    batch, samples = signal.shape
    hops = samples // HOP
    if hops <= _BLOCK:
        return of_block(signal)
    count = -(-hops // _BLOCK)
    step, reach = _BLOCK * HOP, LONG - HOP  # the last frames of a block reach into the next
    padded = jnp.pad(signal, ((0, 0), (0, count * step + reach - samples)))
    blocks = jnp.stack([padded[:, k * step:(k + 1) * step + reach] for k in range(count)])

    def joined(values: jax.Array) -> jax.Array:
        return jnp.moveaxis(values[:, :, :_BLOCK], 0, 1).reshape(batch, count * _BLOCK, *values.shape[3:])[:, :hops]

    spectra, f0, voicing = jax.tree.map(joined, jax.lax.map(of_block, blocks))
    return spectra, f0, voicing


def _whole_hops(waveforms: jax.Array) -> jax.Array:
    samples = waveforms.shape[1]
    return jnp.pad(waveforms, ((0, 0), (0, max(-(-samples // HOP) * HOP, jax_frames.SHORTEST) - samples)))


def _cleared(waveforms: jax.Array, lengths: jax.Array) -> jax.Array:
    padding = jnp.arange(waveforms.shape[1], dtype=jnp.int32)[None] >= lengths[:, None]
    return jnp.where(padding, jnp.zeros((), waveforms.dtype), waveforms)


def describe(waveforms: jax.Array, lengths: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The descriptors of one utterance per row. Neither padding nor the other rows change a frame's values.

    Args:
      waveforms: [B, S] at 16 kHz, int16 or floats in [-1, 1]; what lies beyond an utterance's length is ignored.
      lengths: [B] int32 samples.

    Returns:
      [B, T, 76] float32 in the order of `is10.NAMES`, T = max(1, 1 + (S - 960) // 160), and [B, T] bool: the
      max(1, 1 + (length - 960) // 160) frames of each utterance. Values of other frames are 0.
    """
    rows = _whole_hops(_cleared(waveforms, lengths))
    layout = jax_frames.alone(lengths, rows.shape[1] // HOP)
    count = max(1, 1 + (waveforms.shape[1] - LONG) // HOP)
    return describe_rows(rows, layout)[:, :count], layout.valid[:, :count]


def log_mel(waveforms: jax.Array, lengths: jax.Array) -> tuple[jax.Array, jax.Array]:
    """40 log mel energies of one utterance per row, as `logmel` has them.

    Args:
      waveforms, lengths: see `describe`.

    Returns:
      [B, T, 40] float32 natural logarithms, T = max(1, 1 + (S - 400) // 160), and [B, T] bool: the frames of each
      utterance. Values of other frames are 0.
    """
    rows = _whole_hops(_cleared(waveforms, lengths))
    count = max(1, 1 + (waveforms.shape[1] - SHORT) // HOP)
    valid = jnp.arange(count, dtype=jnp.int32)[None] < jax_frames.num_frames(lengths, SHORT)[:, None]
    return jnp.where(valid[..., None], jax_spectral.log_mel(jax_frames.to_float(rows))[:, :count], 0), valid
