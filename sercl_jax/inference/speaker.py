"""Recordings of one speaker, normalised by that speaker's own statistics, as training normalised its speakers."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from sercl_jax.errors import UserError
from sercl_jax.inference import flow
from sercl_jax.inference.flow import Part, Result, Settings
from sercl_jax.inference.inputs import SPEAKER, SPEAKER_EMBEDDING, Described
from sercl_jax.inference.pipeline import EMBEDDING, Runner
from sercl_jax.inference.recording import Recording

# Of a window's nodes, as the training corpus standardises them: their number, and of each feature mean and variance.
NODE_COUNT, NODE_MEAN, NODE_VARIANCE = "node_count", "node_mean", "node_variance"
# A feature or column that varies by less than this share of what it does in the training corpus must not be blown up.
LEAST = 0.01


def results(runner: Runner, items: Iterable[Recording | UserError], name: str,
            settings: Settings) -> Iterator[Result | UserError]:
    """`flow.results` for recordings that are all of one speaker; all of them are in memory.

    Raises:
      UserError: the model does not normalise its speakers.
    """
    inputs = runner.inputs
    by_nodes, by_embedding = (getattr(inputs, kind, 0) for kind in ("speaker", "speaker_embedding"))
    if not by_nodes and not by_embedding:
        raise UserError("together: this model was not trained on recordings normalised by speaker or corpus; leave "
                        "it out.")
    pairs = list(flow.described(inputs, flow.parts(items, settings, inputs.longest), settings))
    added: dict[str, np.ndarray] = {}
    if by_nodes and (own := _arrays(flow.computed(runner, pairs, (NODE_COUNT, NODE_MEAN, NODE_VARIANCE)))):
        added |= dict(zip(SPEAKER, _of_nodes(own), strict=True))
    if by_embedding and (own := _arrays(flow.computed(runner, _with(pairs, added), (EMBEDDING,)))):
        added |= dict(zip(SPEAKER_EMBEDDING, _of_embeddings([one[EMBEDDING] for one in own]), strict=True))
    return flow.together(flow.computed(runner, _with(pairs, added), (name,)), name)


def _arrays(stream: Iterable[tuple[Part, Described | UserError]]) -> list[Described]:
    return [made for _, made in stream if not isinstance(made, UserError)]


def _with(pairs: Sequence[tuple[Part, Described | UserError]],
          added: Described) -> Iterator[tuple[Part, Described | UserError]]:
    for part, made in pairs:
        yield part, made if isinstance(made, UserError) else {**made, **added}


def _of_nodes(windows: Sequence[Described]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation over all nodes of all windows, [F] each."""
    count = np.array([float(one[NODE_COUNT]) for one in windows])[:, None]
    means, variances = (np.stack([one[name] for one in windows]).astype(np.float64)
                        for name in (NODE_MEAN, NODE_VARIANCE))
    mean = (count * means).sum(0) / count.sum()
    std = np.sqrt((count * (variances + (means - mean) ** 2)).sum(0) / count.sum())
    return mean, np.where(std > 1e-6 * np.maximum(np.abs(means).max(0), 1), std, 1.0)


def _of_embeddings(embeddings: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of each column, [D] each, as `evaluate.group_normalise` has them."""
    x = np.stack(embeddings).astype(np.float64)
    std = x.std(0)
    return x.mean(0), np.maximum(np.where(std > 1e-6 * np.abs(x).max(0), std, 1.0), LEAST)
