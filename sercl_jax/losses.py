"""Contrastive losses: pure functions of similarities and masks.

Under `pmap` they are given arrays and masks gathered over all devices, so that N devices compute what one would.
"""

import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import Array

from sercl_jax.types import Metrics

FORMS = ("symmetric", "graphcl")


def masked_info_nce(sim: Array, positives: Array, candidates: Array) -> Array:
    """InfoNCE over masks: -log(exp(s_p) / sum_c exp(s_c)), averaged over each anchor's positives, then over anchors.

    Args:
      sim: [N, M] logits (similarities over temperature).
      positives: [N, M] bool, the pairs to draw together.
      candidates: [N, M] bool, the pairs in the denominator. The usual form has the positives among them.

    Returns:
      A scalar. Anchors without a positive or without a candidate don't count; if none counts, it is 0, and so is its
      gradient.
    """
    counts = jnp.any(positives, 1) & jnp.any(candidates, 1)
    shift = jax.lax.stop_gradient(jnp.max(jnp.where(candidates, sim, -jnp.inf), 1))
    shift = jnp.where(counts, shift, 0.0)
    total = jnp.sum(jnp.where(candidates, jnp.exp(jnp.where(candidates, sim - shift[:, None], 0.0)), 0.0), 1)
    log_total = jnp.log(jnp.where(counts, total, 1.0)) + shift
    mean_positive = jnp.sum(jnp.where(positives, sim, 0.0), 1) / jnp.maximum(jnp.sum(positives, 1), 1)
    per_anchor = jnp.where(counts, log_total - mean_positive, 0.0)
    return jnp.sum(per_anchor) / jnp.maximum(jnp.sum(counts), 1)


def unit(z: Array) -> Array:
    """Rows scaled to length 1; a zero row stays zero, with a finite gradient."""
    return z * jax.lax.rsqrt(jnp.maximum(jnp.sum(jnp.square(z), -1, keepdims=True), 1e-12))


def nt_xent(views: Sequence[Array], valid: Array, *, temperature: Array | float, group: Array | None = None,
            form: str = "symmetric") -> tuple[Array, Metrics]:
    """NT-Xent between views, averaged over all pairs of views (You et al. 2020, GraphCL, equation 3).

    For a pair (a, b), the positive of a's row i is b's row i and its negatives are b's other rows.

    Args:
      views: V arrays [B, D] with V >= 2; row i of each stands for the same utterance. Need not be normalised.
      valid: [B] bool; false rows are padding: neither anchors nor negatives.
      temperature: divides the cosine similarities; may be traced.
      group: [B] int; negatives come only from the anchor's own group (its speaker, say). None: from all.
      form: "symmetric": both directions of each pair, positive in the denominator; "graphcl": as GraphCL's code
        has it, from the first of each pair to the second only, positive left out of the denominator.

    Returns:
      The loss, and metrics (sum, count) "loss", "positive_similarity" and "negative_similarity" (cosines).
    """
    if form not in FORMS:
        raise ValueError(f"form={form!r}; known: {', '.join(FORMS)}")
    if len(views) < 2:
        raise ValueError(f"{len(views)} views; a contrastive loss needs at least 2")
    pairs = valid[:, None] & valid[None, :]
    same = jnp.eye(valid.shape[0], dtype=bool)
    positives, negatives = pairs & same, pairs & ~same
    if group is not None:
        negatives = negatives & (group[:, None] == group[None, :])
    candidates = negatives if form == "graphcl" else negatives | positives
    units = [unit(z.astype(jnp.float32)) for z in views]
    losses, positive, negative = [], jnp.float32(0), jnp.float32(0)
    for a, b in itertools.combinations(units, 2):
        cosine = a @ b.T
        losses.append(masked_info_nce(cosine / temperature, positives, candidates))
        if form == "symmetric":
            losses.append(masked_info_nce(cosine.T / temperature, positives, candidates))
        positive += jnp.sum(jnp.where(positives, cosine, 0.0))
        negative += jnp.sum(jnp.where(negatives, cosine, 0.0))
    loss = sum(losses, jnp.float32(0)) / len(losses)
    view_pairs = len(units) * (len(units) - 1) // 2
    metrics = {"loss": (loss, jnp.float32(1)),
               "positive_similarity": (positive, (view_pairs * jnp.sum(positives)).astype(jnp.float32)),
               "negative_similarity": (negative, (view_pairs * jnp.sum(negatives)).astype(jnp.float32))}
    return loss, jax.lax.stop_gradient(metrics)
