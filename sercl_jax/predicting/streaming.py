"""Files in, predictions out: one by one, in order, in bounded memory."""

import contextlib
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sercl_jax import workers
from sercl_jax.errors import UserError
from sercl_jax.inference.prediction import Prediction
from sercl_jax.predicting.decoding import decoded

if TYPE_CHECKING:
    from sercl_jax.inference.model import Model


def predictions(model: "Model", paths: Sequence[Path], *, window: float | None = None, overlap: float = 0.5,
                together: bool = False) -> Generator[tuple[str, Prediction | UserError], None, None]:
    """What a model says of each recording, or why it says nothing.

    Args:
      model: of classes or ratings.
      paths: as `finding.find` gives them.
      window, overlap, together: see `Model.predict`.

    Yields:
      The path as text and its outcome, in the order of the paths.

    Raises:
      UserError: at the first step, if a setting does not fit the model.
    """
    with contextlib.closing(decoded(paths, threads=workers.cpu_count())) as recordings:
        outcomes = model.predict_each(recordings, window=window, overlap=overlap, together=together)
        yield from zip(map(str, paths), outcomes, strict=True)
