"""Jitter and shimmer on the device: `sercl_jax.features.perturbation` for a whole batch at once.

Periods follow one from another, but voiced stretches are independent: a number of them is worked on side by side, one
period each at a time, and a lane whose stretch has ended takes the next one. So the number of steps is about the
number of periods in the batch over the number of lanes, whatever utterance they come from.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from sercl_jax.features import frames, jax_exact, jax_periods, perturbation
from sercl_jax.features.frames import HOP, RATE

_FRAMES_PER_LANE = 128
_MOST_LANES = 1024
_LIMITS = (240, perturbation.LONGEST)  # samples: sizes that a step is compiled for; the longest period decides


class _Sums(NamedTuple):
    """What the accepted periods of a frame add up to, [L] float32 each."""

    periods: jax.Array
    length: jax.Array
    differences: jax.Array
    difference: jax.Array
    seconds: jax.Array  # differences of differences
    second: jax.Array
    amplitude: jax.Array
    amplitude_change: jax.Array
    lowest: jax.Array  # score so far


def _none(lanes: int) -> _Sums:
    return _Sums._make([*jnp.zeros((8, lanes)), jnp.full(lanes, jnp.inf)])


class _Lanes(NamedTuple):
    """Where every lane stands, [L] each."""

    frame: jax.Array  # int32, row by row; the number of all frames where there is nothing left to do
    position: jax.Array  # int32 sample: where the first period of the next frame begins
    begin: jax.Array  # int32 sample: where the next period is sought
    stop: jax.Array  # int32 sample: where the frame is done
    period: jax.Array  # the last accepted one of the stretch, samples; 0 for none
    difference: jax.Array  # the last one of the stretch; 0 for none
    held: jax.Array  # [L, 3] the stretch's last values
    sums: _Sums


def _range(expected: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Shortest and longest period to seek, int32."""
    return (jnp.floor((1 - perturbation.RANGE) * expected).astype(jnp.int32),
            jnp.ceil((1 + perturbation.RANGE) * expected).astype(jnp.int32))


def _stop(frame: jax.Array, position: jax.Array, longest: jax.Array) -> jax.Array:
    start = (frame + 1) * HOP  # the contour knows frame t when frame t + 1 begins
    end = jnp.minimum(jnp.maximum(start + HOP, position + 2 * longest + 2), start + frames.LONG)
    return end - 2 * longest - 1


def _taken_in(lanes: _Lanes, match: jax_periods.Match, found: jax.Array) -> _Lanes:
    """Lanes whose sums, last period and last difference have the period that was found, where it is accepted.

    As in openSMILE, a frame's worst match so far is left out, where a match compares as itself rounded to single.
    """
    sums = lanes.sums
    lowest = jnp.where(found, jnp.minimum(sums.lowest, match.score.high), sums.lowest)
    better = (match.score.high > lowest) | ((match.score.high == lowest) & (match.score.low > 0))
    accepted = found & better
    again, third = accepted & (lanes.period > 0), accepted & (lanes.period > 0) & (lanes.difference > 0)
    difference = jnp.abs(lanes.period - match.period)
    first, second = match.amplitudes

    def plus(total: jax.Array, value: jax.Array | float, where: jax.Array) -> jax.Array:
        return total + jnp.where(where, value, 0)

    sums = _Sums(plus(sums.periods, 1, accepted), plus(sums.length, match.period, accepted),
                 plus(sums.differences, 1, again), plus(sums.difference, difference, again),
                 plus(sums.seconds, 1, third),
                 plus(sums.second, jnp.abs(lanes.difference - difference), third),
                 plus(sums.amplitude, (first + second) / 2, accepted),
                 plus(sums.amplitude_change, jnp.abs(first - second), accepted), lowest)
    return lanes._replace(sums=sums, period=jnp.where(accepted, match.period, lanes.period),
                          difference=jnp.where(again, difference, lanes.difference))


def _longest_first(voiced: jax.Array, lanes: int) -> jax.Array:
    """First frames of the stretches of a [T] contour, the longest stretch first, then T for "none" at least `lanes`
    times: the lanes then finish at about the same time."""
    total = voiced.shape[0]
    before, after = jnp.pad(voiced, (1, 0))[:-1], jnp.pad(voiced, (0, 1))[1:]
    first, last = (jnp.nonzero(edge, size=total // 2 + 1, fill_value=total)[0].astype(jnp.int32)
                   for edge in (voiced & ~before, voiced & ~after))
    return jnp.pad(first[jnp.argsort(first - last)], (0, lanes), constant_values=total)


def _values(sums: _Sums, held: jax.Array) -> tuple[jax.Array, jax.Array]:
    """A finished frame's three values, and what the stretch holds from now on: [L, 3] each."""
    def ratio(total: jax.Array, of: jax.Array) -> jax.Array:
        return jnp.where(of > 0, jnp.minimum(total / jnp.where(of > 0, of, 1), 1), 0)

    mean = sums.length / jnp.maximum(sums.periods, 1)
    fresh = jnp.stack([ratio(sums.difference, sums.differences * mean), ratio(sums.second, sums.seconds * mean),
                       ratio(sums.amplitude_change, sums.amplitude)], 1)
    enough = jnp.stack([sums.differences, sums.seconds, sums.periods], 1) > 0
    some = (sums.periods > 0)[:, None]
    return jnp.where(some, fresh, held), jnp.where(some & enough, fresh, held)


def _lane_count(batch: int, hops: int) -> int:
    if not isinstance(batch, int):  # exported for any batch, a symbol: it cannot be compared with anything
        return batch * -(-hops // _FRAMES_PER_LANE)
    return min(-(-batch * hops // _FRAMES_PER_LANE), _MOST_LANES)


def perturbation_of(signal: jax.Array, f0: jax.Array) -> jax.Array:
    """Jitter and shimmer of every frame.

    Args:
      signal: [B, S] float32 whole numbers of 16 bit, S a multiple of HOP.
      f0: [B, S / HOP] Hz, 0 where unvoiced; frame 0 of every utterance and the last of every row are.

    Returns:
      [B, S / HOP, 3] in the order of `perturbation.NAMES`.
    """
    batch, hops = f0.shape
    total = batch * hops
    count = _lane_count(batch, hops)
    flat = jnp.pad(signal.reshape(-1), (0, 4 * perturbation.LONGEST))
    off = jax_exact.rounding(flat)
    contour = jnp.pad(f0.reshape(-1), (0, 1))
    expected = jnp.where(contour > 0, RATE / jnp.where(contour > 0, contour, 1), 0)
    voiced = contour[:-1] > 0
    jobs = _longest_first(voiced, lanes=count)

    def entered(frame: jax.Array, position: jax.Array) -> jax.Array:
        return _stop(frame, position, _range(expected[frame])[1])

    def step(state: tuple[_Lanes, jax.Array, jax.Array]) -> tuple[_Lanes, jax.Array, jax.Array]:
        lanes, taken, values = state
        active = lanes.frame < total
        shortest, longest = _range(expected[lanes.frame])
        size = sum((longest.max() > limit).astype(jnp.int32) for limit in _LIMITS[:-1])
        match = jax.lax.switch(size, [
            lambda limit=limit: jax_periods.best_match(flat, off, lanes.begin, shortest, longest, limit=limit)
            for limit in _LIMITS])
        running = active & (lanes.begin < lanes.stop)
        lanes = _taken_in(lanes, match, running & match.found)
        advance = jnp.where(match.found, match.length, jnp.round(expected[lanes.frame]).astype(jnp.int32))
        begin = jnp.where(running, lanes.begin + advance, lanes.begin)
        position = jnp.where(running & (begin < (lanes.frame + 2) * HOP - 1), begin, lanes.position)

        done = active & (begin >= lanes.stop)
        result, held = _values(lanes.sums, lanes.held)
        values = values.at[jnp.where(done, lanes.frame, total)].set(result, mode="drop")
        ended = done & ~(contour[lanes.frame + done] > 0)  # the stretch, too
        rank = jnp.cumsum(ended.astype(jnp.int32))
        frame = jnp.where(ended, jobs[jnp.where(ended, taken + rank - 1, 0)], lanes.frame + done)
        position = jnp.where(ended, (frame + 1) * HOP, position)
        sums = jax.tree.map(lambda none, kept: jnp.where(done, none, kept), _none(count), lanes.sums)
        held = jnp.where(ended[:, None], 0, jnp.where(done[:, None], held, lanes.held))
        return _Lanes(frame, position, jnp.where(done, position, begin),
                      jnp.where(done, entered(frame, position), lanes.stop), jnp.where(ended, 0, lanes.period),
                      jnp.where(ended, 0, lanes.difference), held, sums), taken + rank[-1], values

    frame = jobs[:count]
    position = (frame + 1) * HOP
    lanes = _Lanes(frame, position, position, entered(frame, position), jnp.zeros(count), jnp.zeros(count),
                   jnp.zeros((count, 3)), _none(count))
    state = (lanes, jnp.int32(count), jnp.zeros((total, 3)))
    values = jax.lax.while_loop(lambda s: (s[0].frame < total).any(), step, state)[2]
    return values.reshape(batch, hops, 3)
