"""What stands behind every embedding that an SVM classifies: its decision, and calibrated probabilities."""

import jax
import jax.numpy as jnp
import numpy as np

from sercl_jax import calibration, stored
from sercl_jax.inference import svm
from sercl_jax.inference.inputs import SPEAKER_EMBEDDING
from sercl_jax.inference.origin import Origin
from sercl_jax.types import Batch, Variables

SVM, CALIBRATION, EMBEDDINGS = "svm", "calibration", "embeddings"  # names among a pipeline's variables


def variables(origin: Origin) -> tuple[dict[str, dict[str, np.ndarray]], tuple[str, ...], str]:
    """The classifier's and the calibration's arrays, the K class names, and how probabilities were calibrated.

    A model that was stored without a calibration is calibrated now, by the test predictions in its workdir.
    """
    machine = origin.arrays_of(svm.PREFIX)
    classes = machine["classes"].astype(int)
    labels = tuple(origin.metadata["labels"][k] for k in classes)
    arrays = origin.arrays_of(calibration.PREFIX)
    words = str(origin.metadata["calibration"]) if arrays else ""
    if not arrays:
        arrays, words = _calibrated_now(origin, len(origin.metadata["labels"]))
    arrays = {**arrays, "bias": arrays["bias"][classes]}
    return {SVM: svm.variables(machine), CALIBRATION: arrays}, labels, words


def probabilities(variables: Variables, embedding: jax.Array) -> jax.Array:
    """[B, D] -> [B, K]."""
    return calibration.probabilities(variables[CALIBRATION],
                                     svm.decision(variables[SVM], embedding.astype(jnp.float32)))


def embedding_statistics(origin: Origin) -> dict[str, dict[str, np.ndarray]]:
    """Mean and deviation of the training corpus' embeddings, of a model that normalises each speaker's.

    Raises:
      UserError: the model was written before they were kept.
    """
    found = origin.arrays_of(f"{EMBEDDINGS}/")
    if not found:
        raise origin.too_old("statistics of its embeddings")
    return {EMBEDDINGS: found}


def centred(variables: Variables, batch: Batch, embedding: jax.Array) -> jax.Array:
    """Embeddings [B, D] normalised by the training corpus, and then by what is known of the speaker."""
    mean, std = (variables[EMBEDDINGS][name][None] for name in ("mean", "std"))
    own_mean, own_std = (batch[name] for name in SPEAKER_EMBEDDING)
    return ((embedding - mean) / std - own_mean) / own_std


def notes(origin: Origin) -> tuple[str, ...]:
    """What to know of a model whose training recordings were normalised by groups."""
    normalise = origin.config["normalise"]
    if normalise == "global":
        return ()
    return (f"Trained on recordings normalised by {normalise}: give recordings of one {normalise} together "
            "(together=True); otherwise the statistics of the training corpus stand in, and it knows less.",)


def _calibrated_now(origin: Origin, classes: int) -> tuple[dict[str, np.ndarray], str]:
    paths = sorted((origin.workdir / "predictions" / "ours").glob("*.npz"))
    runs = [run for path in paths if (run := stored.load(path, ("decision", "truth"))) is not None]
    found = calibration.fit(
        *(np.concatenate([arrays[name] for _, arrays in runs]) for name in ("decision", "truth")),
        *(np.concatenate([facts[name] for facts, _ in runs]) for name in ("speakers", "ids"))) if runs else None
    if found is None:
        return (calibration.Calibration(1.0, np.zeros(classes)).to_arrays(),
                "not calibrated: the workdir holds no test predictions")
    return found.to_arrays(), found.words
