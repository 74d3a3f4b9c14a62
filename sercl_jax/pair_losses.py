"""Losses of one emotion's utterances against the others': cross-corpus SupCon (Xiang; METHODS.md 3).

Pure functions of one batch that `sampling.EmotionPairs` draws. Under `pmap` they are given arrays gathered over all
devices, so that N devices compute what one would.
"""

import jax
import jax.numpy as jnp
from jax import Array

from sercl_jax.losses import unit
from sercl_jax.types import Metrics

PAIRINGS = ("elementwise", "all")


def contrastive(x: Array, positive: Array, *, temperature: Array | float = 0.07) -> tuple[Array, Metrics]:
    """L_c: -log of equation 2, averaged over the ordered pairs of different positives as equation 3 does.

    For anchor i and its positive j, both of the emotion, with logits s = cosine / temperature:
    l_ij = exp(s_ij) / (exp(s_ij) + sum over negatives k of exp(s_ik)). Other positives are not in the denominator and
    negatives are never anchors, unlike in Khosla et al.'s SupCon. As printed, the loss is the mean of l_ij itself,
    whose minimum drives positives apart; its negative logarithm is what InfoNCE means and what is computed here.

    Args:
      x: [N, D] vectors; need not be normalised. A zero vector has cosine 0 to all.
      positive: [N] bool, who has the emotion. The others are the negatives.
      temperature: divides the cosines; may be traced.

    Returns:
      The loss (0 if there are less than two positives), and metrics (sum, count): "contrastive", the mean cosines of
      pairs of positives, "positive_similarity", and of a positive and a negative, "negative_similarity".

    Raises:
      ValueError: the shapes don't fit.
    """
    cosine, pairs, opposed = _compare(x, positive)
    logits = cosine / temperature
    against = jax.nn.logsumexp(logits, axis=1, where=opposed)
    each = jax.nn.softplus(against[:, None] - logits)  # -log l_ij
    loss = _mean(each, pairs)
    return loss, jax.lax.stop_gradient({"contrastive": (loss, jnp.float32(1)),
                                        **_similarities(cosine, pairs, opposed)})


def cosine_margin(x: Array, positive: Array, half: Array, *, alpha: float = 0.5, margin: float = 0.4,
                  pairing: str = "elementwise") -> tuple[Array, Metrics]:
    """L_m = alpha (1 - cos(p1, p2)) + max(0, cos(p, n) - margin) (equation 4), each term a mean over its pairs.

    Args:
      x: [N, D] vectors, N divisible by 4; need not be normalised. A zero vector has cosine 0 to all.
      positive: [N] bool, true for N/2: the p; the others are the n.
      half: [N] int, 0 for those N/4 positives that are p1 and 1 for the N/4 that are p2. What stands at a negative
        does not matter.
      alpha: weight of the first term.
      margin: cosine up to which a negative costs nothing.
      pairing: "elementwise": the i-th p1 with the i-th p2 and the i-th p with the i-th n, in the order of the batch;
        "all": every p1 with every p2 and every p with every n. The paper does not say which.

    Returns:
      The loss, and metrics (sum, count): "cosine_margin", and the similarities that `contrastive` tells, which are
      over all pairs whatever `pairing` is.

    Raises:
      ValueError: the shapes don't fit, N is not divisible by 4, or the pairing is unknown.
    """
    if pairing not in PAIRINGS:
        raise ValueError(f"pairing={pairing!r}; known: {', '.join(PAIRINGS)}")
    if half.shape != positive.shape or x.shape[0] % 4:
        raise ValueError(f"half {half.shape} must be [N] like positive {positive.shape}, and N divisible by 4.")
    cosine, pairs, opposed = _compare(x, positive)
    first, second = positive & (half == 0), positive & (half == 1)
    if pairing == "all":
        halves, others = first[:, None] & second[None, :], opposed
    else:
        halves, others = _same_rank(first, second), _same_rank(positive, ~positive)
    loss = alpha * _mean(1 - cosine, halves) + _mean(jax.nn.relu(cosine - margin), others)
    return loss, jax.lax.stop_gradient({"cosine_margin": (loss, jnp.float32(1)),
                                        **_similarities(cosine, pairs, opposed)})


def _compare(x: Array, positive: Array) -> tuple[Array, Array, Array]:
    """All cosines [N, N] float32, which are of two different positives, and which of a positive to a negative."""
    if x.ndim != 2 or positive.shape != x.shape[:1]:
        raise ValueError(f"x {x.shape} must be [N, D] and positive {positive.shape} [N].")
    z = unit(x.astype(jnp.float32))
    pairs = positive[:, None] & positive[None, :] & ~jnp.eye(len(x), dtype=bool)
    return z @ z.T, pairs, positive[:, None] & ~positive[None, :]


def _same_rank(rows: Array, columns: Array) -> Array:
    """[N, N] bool: the i-th true of `rows` meets the i-th true of `columns`."""
    rank_row, rank_column = jnp.cumsum(rows), jnp.cumsum(columns)
    return rows[:, None] & columns[None, :] & (rank_row[:, None] == rank_column[None, :])


def _mean(values: Array, where: Array) -> Array:
    return jnp.sum(jnp.where(where, values, 0.0)) / jnp.maximum(jnp.sum(where), 1)


def _similarities(cosine: Array, pairs: Array, opposed: Array) -> Metrics:
    return {name: (jnp.sum(jnp.where(where, cosine, 0.0)), jnp.sum(where).astype(jnp.float32))
            for name, where in (("positive_similarity", pairs), ("negative_similarity", opposed))}
