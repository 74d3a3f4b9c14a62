"""Bootstrap intervals over speakers.

Utterances of one speaker are not independent, so whole speakers are drawn. A resample is a vector of how often each
speaker was drawn; as every class metric is a function of the confusion matrix, and that of a resample is a
weighted sum of the speakers' own, all resamples are one matrix product. (So it is for CCC and its moments, see
`ratings`.)
"""

from collections.abc import Sequence

import numpy as np

from sercl_jax.metrics import Metric

RESAMPLES = 2000
FEW_CLUSTERS = 10


def speaker_confusions(truth: np.ndarray, predicted: np.ndarray, speakers: Sequence[str], classes: int) -> np.ndarray:
    """The confusion matrix of each speaker.

    Args:
      truth, predicted: [U] class numbers in 0..classes - 1.
      speakers: U names. An utterance of an unknown speaker ("") is a cluster of its own.
      classes: K.

    Returns:
      [S, K, K] float64, speakers in the order of their names (unknown ones last, in the order of utterances).
    """
    clusters = speaker_clusters(speakers)
    matrices = np.zeros((clusters.max() + 1, classes, classes))
    np.add.at(matrices, (clusters, truth, predicted), 1.0)
    return matrices


def speaker_clusters(speakers: Sequence[str]) -> np.ndarray:
    """[U] number of each utterance's cluster: its speaker's, in the order of their names; then the unknown ones'."""
    keys = [(0, name, 0) if name else (1, "", u) for u, name in enumerate(speakers)]
    number = {key: s for s, key in enumerate(sorted(set(keys)))}
    return np.array([number[key] for key in keys])


def draw_counts(clusters: int, *, resamples: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """[resamples, clusters] how often each cluster is drawn; each row sums to `clusters`."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(clusters, np.full(clusters, 1 / clusters), size=resamples).astype(np.float64)


def ci95(confusions: np.ndarray, metric: Metric, *, resamples: int = RESAMPLES, seed: int = 0) -> tuple[float, float]:
    """Percentile interval of a metric, averaged over runs.

    Args:
      confusions: [R, S, K, K] matrices of R runs (seeds) on the same utterances, by speaker.
      metric: one of `metrics.METRICS`.
    """
    return percentiles(_resampled(confusions, metric, resamples, seed))


def ci95_difference(ours: np.ndarray, theirs: np.ndarray, metric: Metric, *, resamples: int = RESAMPLES,
                    seed: int = 0) -> tuple[float, float]:
    """Percentile interval of the paired difference ours - theirs, each [R, S, K, K], on the same resamples.

    The runs are averaged on each side, their numbers may differ; speakers and utterances must be the same.
    """
    if ours.shape[1:] != theirs.shape[1:] or not np.array_equal(ours[0].sum(-1), theirs[0].sum(-1)):
        raise ValueError("the two systems were not tested on the same utterances.")
    return percentiles(_resampled(ours, metric, resamples, seed) - _resampled(theirs, metric, resamples, seed))


def cluster_warning(by_speaker: np.ndarray) -> str:
    """A sentence on too few clusters, or "" if there are enough, for what is summed up by speaker, [R, S, ...]."""
    clusters = by_speaker.shape[1]
    if clusters >= FEW_CLUSTERS:
        return ""
    return (f"The intervals rest on {clusters} speaker{'s' * (clusters != 1)}; with fewer than {FEW_CLUSTERS} "
            "they are too narrow and should not be relied on.")


def _resampled(confusions: np.ndarray, metric: Metric, resamples: int, seed: int) -> np.ndarray:
    runs, clusters, classes, _ = confusions.shape
    counts = draw_counts(clusters, resamples=resamples, seed=seed)
    flat = confusions.transpose(1, 0, 2, 3).reshape(clusters, -1)
    return metric((counts @ flat).reshape(resamples, runs, classes, classes)).mean(1)


def percentiles(values: np.ndarray) -> tuple[float, float]:
    """What 2.5 % and 97.5 % of the values lie below."""
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
