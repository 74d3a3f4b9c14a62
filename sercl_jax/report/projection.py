"""Embeddings in the plane."""

import numpy as np

LIMIT = 2000  # points: beyond it t-SNE is slow and the plot a cloud
SMALLEST = 10  # points: below it neighbourhoods mean nothing


def subsample(count: int) -> np.ndarray:
    """At most `LIMIT` positions out of `count`, in order, the same ones every time."""
    if count <= LIMIT:
        return np.arange(count)
    return np.sort(np.random.default_rng(0).choice(count, LIMIT, replace=False))


def tsne(vectors: np.ndarray) -> np.ndarray:
    """t-SNE of standardised vectors [U, D] as [U, 2]: started from principal components, seeded.

    The SVM sees the same standardisation. Constant dimensions carry nothing and are dropped.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits  # scikit-learn's own dependency

    vectors = np.asarray(vectors, np.float64)
    spread = vectors.std(axis=0)
    vectors = (vectors - vectors.mean(axis=0))[:, spread > 1e-12] / spread[spread > 1e-12]
    if vectors.shape[1] < 2:  # nothing to unfold
        return np.pad(vectors, ((0, 0), (0, 2 - vectors.shape[1])))
    components = min(50, *vectors.shape)
    vectors = PCA(components, svd_solver="full").fit_transform(vectors)
    perplexity = min(30.0, (len(vectors) - 1) / 3)
    # One thread: with several, busy CPUs make it many times slower (they spin), and sums may differ in their order.
    with threadpool_limits(1):
        return TSNE(2, perplexity=perplexity, init="pca", random_state=0, n_jobs=1).fit_transform(vectors)
