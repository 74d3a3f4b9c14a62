"""One call of the command: the model is loaded and described, the recordings predicted and written."""

import argparse
import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax
from tqdm import tqdm

import sercl_jax
from sercl_jax import files
from sercl_jax.errors import UserError
from sercl_jax.inference import card
from sercl_jax.inference.card import Card
from sercl_jax.predicting import answers, writing
from sercl_jax.predicting.streaming import predictions
from sercl_jax.predicting.writer import Shape, Writer

_MANY = 10  # recordings that a progress bar is worth


def run(arguments: argparse.Namespace, paths: Sequence[Path]) -> int:
    """Predicts; returns 0, or 1 if some recordings could not be used.

    Args:
      arguments: of the command line, see `sercl_jax.predict`.
      paths: as `finding.find` gives them.

    Raises:
      UserError: there is no such model, a setting does not fit it, or no recording could be used.
    """
    place = arguments.workdir or arguments.bundle
    use(arguments.device)
    model = sercl_jax.load(place, seed=arguments.seed)
    if model.card.kind == card.REPRESENTATION:
        raise UserError(f"{place}: this model makes embeddings only and knows no emotions; use python -m "
                        "sercl_jax.embed, or train a recognizer on it.")
    if arguments.top and model.card.kind != card.CLASSES:
        raise UserError("--top: is about classes, and this model tells ratings; choose some with --labels.")
    labels = answers.chosen(arguments.labels, model.labels)
    shape = Shape(labels, model.card.kind, [str(path) for path in paths], arguments.top, arguments.windows)
    print(about(model.card), file=sys.stderr, flush=True)
    failed = 0
    found = predictions(model, paths, window=arguments.window, overlap=arguments.overlap,
                        together=arguments.together)
    with contextlib.closing(found), _writers(arguments, shape) as writers, _bar(len(paths)) as bar:
        for name, outcome in found:
            if isinstance(outcome, UserError):
                failed += 1
                tqdm.write(f"error: {outcome}", file=sys.stderr)
                for writer in writers:
                    writer.failure(name, str(outcome))
            else:
                for writer in writers:
                    writer.result(answers.restricted(outcome, labels))
            bar.update()
        for writer in writers:
            writer.end()
        if failed == len(paths):
            raise UserError(f"nothing was predicted: {failed} of {failed} recordings cannot be used.")
    return 1 if failed else 0


def use(device: str | None) -> None:
    """Computes on "cpu", "gpu" or "tpu".

    Raises:
      UserError: there is no such device.
    """
    if device == "cpu":
        jax.config.update("jax_platforms", "cpu")  # leaves accelerators to others
    elif device:
        try:
            jax.config.update("jax_default_device", jax.devices(device)[0])
        except RuntimeError as error:
            raise UserError(f"--device={device}: JAX finds none here ({str(error).splitlines()[0]}); install the "
                            f"extra {'cuda' if device == 'gpu' else 'tpu'}, or leave it out.") from error


def about(model: Card) -> str:
    """What a model is, in a few lines for people."""
    what = "classes" if model.kind == card.CLASSES else "ratings"
    lines = [f"model: {model.method}, trained on {model.corpus}; {what}: {', '.join(model.labels)}"]
    if model.calibration:
        lines.append(f"probabilities: {model.calibration}")
    return "\n".join([*lines, *(f"note: {note}" for note in model.notes)])


@contextlib.contextmanager
def _writers(arguments: argparse.Namespace, shape: Shape) -> Iterator[list[Writer]]:
    """Of standard output and of a file, if one is wanted, which is whole or absent in the end."""
    form, out = arguments.format, arguments.out
    if hasattr(sys.stdout, "reconfigure"):  # file names need not be text
        table = form == writing.TABLE
        sys.stdout.reconfigure(encoding=None if table else "utf-8",
                               errors="backslashreplace" if table else "surrogateescape")
    writers = [writing.writer(form, sys.stdout, shape)]
    try:
        with contextlib.ExitStack() as stack:
            if out is not None:
                suffix = out.suffix.lower().removeprefix(".")
                temporary = stack.enter_context(files.atomic_path(out.expanduser()))
                file = stack.enter_context(temporary.open("w", encoding="utf-8", errors="surrogateescape"))
                writers.append(writing.writer(suffix if suffix in writing.FORMATS else form, file, shape))
            for writer in writers:
                writer.begin()
            yield writers
    except UserError as error:
        if isinstance(error.__cause__, BrokenPipeError):  # standard output's, not the file's
            raise error.__cause__ from None
        raise


def _bar(total: int) -> tqdm:
    """On standard error; where results scroll by on the same terminal, they are the progress."""
    return tqdm(total=total, desc="Predicting", unit="recording", dynamic_ncols=True,
                mininterval=0.5 if sys.stderr.isatty() else 10, disable=total < _MANY or sys.stdout.isatty())
