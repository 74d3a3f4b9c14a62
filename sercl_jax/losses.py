"""Contrastive losses: pure functions of similarities and masks.

Under `pmap` they are given arrays and masks gathered over all devices, so that N devices compute what one would.
"""

import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import Array

from sercl_jax.models.products import product
from sercl_jax.negatives import usable
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


def ccc_loss(predicted: Array, target: Array, rated: Array, weights: Sequence[float] | None = None, *,
             names: Sequence[str] = ("act", "val", "dom")) -> tuple[Array, Metrics]:
    """1 - sum_a w_a CCC_a over the batch (Li et al. 2021, equations 7 and 8).

    CCC is no mean over utterances: give it the whole batch, gathered over devices. Moments are the population's.

    Args:
      predicted: [B, A] float32.
      target: [B, A] ratings; what stands at an unrated place does not matter.
      rated: [B, A] bool; CCC_a is over the utterances rated in a.
      weights: A numbers; 1/A each by default. A dimension in which nobody is rated does not count: the others'
        weights are scaled up to the same sum.
      names: A names for the metrics.

    Returns:
      The loss, and metrics "ccc_<name>": the batch's CCC, count 1 (0 if nobody is rated). Where predictions or
      targets are constant, or only one is rated, CCC is 0, with a finite gradient. If no dimension counts, the loss
      is 1 and its gradient 0.
    """
    if not predicted.shape == target.shape == rated.shape or predicted.shape[1:] != (len(names),):
        raise ValueError(f"predicted {predicted.shape}, target {target.shape} and rated {rated.shape} must all be "
                         f"[B, {len(names)}], one column each for {', '.join(names)}.")
    weight = jnp.asarray([1 / len(names)] * len(names) if weights is None else weights, jnp.float32)
    counts = jnp.sum(rated, 0)

    def mean(values: Array) -> Array:
        return jnp.sum(jnp.where(rated, values, 0.0), 0) / jnp.maximum(counts, 1)

    x, y = (jnp.where(rated, values, 0.0).astype(jnp.float32) for values in (predicted, target))
    mean_x, mean_y = mean(x), mean(y)
    x, y = x - mean_x[None], y - mean_y[None]
    below = mean(jnp.square(x)) + mean(jnp.square(y)) + jnp.square(mean_x - mean_y)
    # Less than rounding leaves of two equal constants: 0/0.
    defined = below > 1e-12
    ccc = jnp.where(defined, 2 * mean(x * y) / jnp.where(defined, below, 1.0), 0.0)
    counting = jnp.where(counts > 0, weight, 0.0)
    left = jnp.sum(counting)
    loss = 1 - jnp.sum(counting * ccc) * jnp.sum(weight) / jnp.where(left > 0, left, 1.0)
    metrics = {f"ccc_{name}": (ccc[a], (counts[a] > 0).astype(jnp.float32)) for a, name in enumerate(names)}
    return loss, jax.lax.stop_gradient(metrics)


def cpc_info_nce(predictions: Array, z: Array, candidates: Array, frames: Array, *,
                 temperature: float) -> tuple[Array, Array, Array]:
    """InfoNCE of predictions of later frames against frames of the same sequence (van den Oord et al. 2018, eq. 4).

    The prediction of frame t + k made at t scores f(t + k) and N others, none of which is a copy of it
    (`negatives.usable`); its loss is -log softmax of the true one. `share` successive t use one set of candidates, so
    the scores are matrix products [share, D] @ [D, 1 + N], and the vectors of negatives are gathered once for a set.

    Bytes in float32 for B = 8, T = 1000, K = 12, N = 50, D = 128, share = 100: predictions K B T D 4 = 49 MB, scores
    K B T (1 + N) 4 = 20 MB, gathered candidates K B (T / share) (1 + N) D 4 = 25 MB: 94 MB, and as much for their
    gradients at worst. The negatives of every prediction, [B, T, K, N, D], would be 2.46 GB, and their gradient, too.

    Args:
      predictions: [K, B, T, D]; row t of the k-th (k = 1..K) predicts frame t + k.
      z: [B, T, D], the frames.
      candidates: [B, K, G, 1 + N] from `negatives.draw_candidates`, G = ceil(T / share).
      frames: [B] int32, the utterance's frames before it was repeated.
      temperature: divides the scores.

    Returns:
      Sums over t, each [B, K] float32: of the losses; of the predictions whose true frame scores strictly higher than
      every negative; and the number of predictions, those with t + k < T and at least one negative.
    """
    ahead, batch, length, width = predictions.shape
    groups = candidates.shape[2]
    share = -(-length // groups)
    padded = groups * share
    predictions = jnp.pad(predictions, ((0, 0), (0, 0), (0, padded - length), (0, 0)))
    later = jnp.pad(z, ((0, 0), (0, padded - length + ahead), (0, 0)))
    frames = jnp.clip(frames, 1, length)

    def compare(_: None, given: tuple[Array, Array, Array]) -> tuple[None, tuple[Array, Array, Array]]:
        k, predicted, chosen = given
        others = jax.vmap(lambda x, i: x[i])(z, jnp.maximum(chosen, 0))
        scores = product("bgpd,bgmd->bgpm", predicted.reshape(batch, groups, share, width), others) / temperature
        wanted = jax.lax.dynamic_slice_in_dim(later, k, padded, 1)
        true = jnp.sum(predicted.astype(jnp.float32) * wanted.astype(jnp.float32), -1) / temperature
        true = true.reshape(batch, groups, share)
        positives = (jnp.arange(padded) + k).reshape(groups, share)
        negatives = usable(chosen, positives, frames)
        highest = jnp.max(jnp.where(negatives, scores, -jnp.inf), -1)
        counts = (positives < length)[None] & (highest > -jnp.inf)
        shift = jax.lax.stop_gradient(jnp.maximum(true, highest))
        total = jnp.exp(true - shift) + jnp.sum(jnp.where(negatives, jnp.exp(scores - shift[..., None]), 0.0), -1)
        loss, identified, count = (jnp.sum(jnp.where(counts, x, 0.0), (1, 2))
                                   for x in (jnp.log(total) + shift - true, true > highest, 1.0))
        return None, (loss, jax.lax.stop_gradient(identified), count)

    # A loop over k: it compiles in half the time of all k written out, and is as fast.
    _, sums = jax.lax.scan(compare, None, (jnp.arange(1, ahead + 1), predictions, candidates.swapaxes(0, 1)))
    return tuple(x.T for x in sums)  # type: ignore[return-value]
