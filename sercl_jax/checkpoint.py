"""Checkpoints of a training and the final model, on disk through Orbax: whole or absent, never pickled."""

import contextlib
import hashlib
import io
import json
import logging
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from sercl_jax import parallel
from sercl_jax.errors import UserError
from sercl_jax.files import atomic_path, make_directory, remove_leftovers, write_json

Tree = Any


def _is_foreign(record: logging.LogRecord) -> bool:
    return "orbax" not in Path(record.pathname).parts


# Orbax logs each failure several times, with tracebacks; here it becomes one UserError.
logging.getLogger("absl").addFilter(_is_foreign)


def _digest(tree: Tree) -> str:
    """SHA-256 of every leaf's name, shape, type and bytes."""
    total = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        array = np.asarray(leaf)
        total.update(f"{jax.tree_util.keystr(path, simple=True, separator='/')} {array.dtype} {array.shape}".encode())
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()


def _shapes(tree: Tree) -> dict[str, str]:
    return {jax.tree_util.keystr(path, simple=True, separator="/"): f"{np.dtype(leaf.dtype)}{list(leaf.shape)}"
            for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def _differences(stored: Any, wanted: Any, name: str = "") -> list[str]:
    if isinstance(stored, dict) and isinstance(wanted, dict):
        return [line for key in sorted(stored.keys() | wanted.keys())
                for line in _differences(stored.get(key, "absent"), wanted.get(key, "absent"),
                                         f"{name}.{key}" if name else key)]
    return [] if stored == wanted else [f"{name} ({stored!r} there, {wanted!r} here)"]


def _why(error: Exception) -> str:
    """What an error says, in one line; the cause stands at the end of a long one."""
    lines = str(error).strip().splitlines()
    if not lines:
        return repr(error)
    return lines[0] if len(lines[0]) <= 200 else f"... {lines[0][-200:]}"


def _alone() -> ocp.options.MultiprocessingOptions:
    """Lets Orbax work in this process without waiting for the others."""
    me = jax.process_index()
    return ocp.options.MultiprocessingOptions(primary_host=me, active_processes={me},
                                              barrier_sync_key_prefix=f"process{me}")


def _reader() -> ocp.Checkpointer:
    options = _alone()
    return ocp.Checkpointer(ocp.PyTreeCheckpointHandler(multiprocessing_options=options),
                            multiprocessing_options=options)


def _score(metrics: Mapping[str, Any]) -> float:
    return -math.inf if metrics["score"] is None else metrics["score"]


class Checkpoints:
    """The last checkpoint of a training, and the best if steps are scored; one folder, one training.

    Every process calls every method; the main process alone touches the disk, and the others get what it reads,
    so that a training can go on with another number of processes. Saving is asynchronous: a full disk is told by
    the next call of `save` or `wait`, and the checkpoint before stays.
    """

    def __init__(self, directory: Path, settings: Mapping[str, Any], *, scored: bool = False):
        """Opens or makes the folder.

        Args:
          directory: of the checkpoints.
          settings: JSON-like; what must be equal for a training to be continued.
          scored: whether checkpoints have scores, by which the best is kept beside the last.

        Raises:
          UserError: the folder holds a training with other settings, is damaged, or cannot be written.
        """
        self._directory = directory.resolve()
        self._scored = scored
        self._manager: Any = None
        parallel.from_main(lambda: self._open(json.loads(json.dumps(dict(settings)))), None)

    def _open(self, settings: dict[str, Any]) -> None:
        make_directory(self._directory)
        self._check_settings(settings)
        self._remove_unfinished()
        policies: list[Any] = [checkpoint_managers.LatestN(1)]
        if self._scored:
            policies.append(checkpoint_managers.BestN(get_metric_fn=_score, n=1))
        options = ocp.CheckpointManagerOptions(
            preservation_policy=checkpoint_managers.AnyPreservationPolicy(policies),
            best_fn=_score if self._scored else None, best_mode="max", create=False,
            multiprocessing_options=_alone())
        try:
            self._manager = ocp.CheckpointManager(self._directory, options=options, item_names=("state", "sum"))
        except Exception as error:
            raise UserError(f"{self._directory}: the checkpoints cannot be read ({_why(error)}); remove that folder "
                            "to train anew.") from error

    def _check_settings(self, settings: dict[str, Any]) -> None:
        path = self._directory / "settings.json"
        remove_leftovers(path)
        if not path.exists():
            write_json(path, settings)
            return
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: cannot be read ({error}); remove {self._directory} to train anew.") from error
        if lines := _differences(stored, settings):
            raise UserError(f"{self._directory}: holds a training with other settings: {'; '.join(lines)}. "
                            "Use another workdir, or the settings of that training.")

    def _remove_unfinished(self) -> None:
        for part in self._directory.glob("*.orbax-checkpoint-tmp*"):
            shutil.rmtree(part, ignore_errors=True)

    def latest(self) -> int | None:
        """The step of the last checkpoint that is whole; None if there is none."""
        step = parallel.from_main(lambda: np.int64(-1 if (last := self._manager.latest_step()) is None else last),
                                  np.int64(0))
        return None if step < 0 else int(step)

    def best(self) -> int | None:
        """The step of the highest score, the later of two that are equal; None if no step was scored."""
        step = parallel.from_main(lambda: np.int64(self._best()), np.int64(0))
        return None if step < 0 else int(step)

    def _best(self) -> int:
        if not self._scored:
            return -1
        step = self._manager.best_step()
        return -1 if step is None or self._manager.metrics(step)["score"] is None else step

    def save(self, step: int, state: Tree, score: float | None = None) -> None:
        """Starts to write a checkpoint.

        Args:
          step: the number of optimizer steps done.
          state: NumPy arrays, none of them empty; must not be altered afterwards.
          score: higher is better; None if the step wasn't scored.

        Raises:
          UserError: this or the last checkpoint could not be written.
        """
        parallel.from_main(lambda: self._save(step, state, score), None)

    def _save(self, step: int, state: Tree, score: float | None) -> None:
        metrics = {"score": None if score is None else float(score)} if self._scored else None
        try:
            self._manager.save(
                step, metrics=metrics,
                args=ocp.args.Composite(state=ocp.args.StandardSave(state),
                                        sum=ocp.args.JsonSave({"sha256": _digest(state)})))
        except Exception as error:
            raise self._unwritten(error) from error

    def restore(self, state: Tree, step: int | None = None) -> Tree:
        """Reads a checkpoint.

        Args:
          state: a tree of arrays of the same structure, shapes and types.
          step: which; None for the last.

        Returns:
          The tree as NumPy arrays.

        Raises:
          UserError: it is damaged, or of another structure.
        """
        like = jax.tree.map(lambda x: np.empty(np.shape(x), np.asarray(x).dtype), state)
        return parallel.from_main(lambda: self._restore(like, step), like)

    def _restore(self, like: Tree, step: int | None) -> Tree:
        step = self._manager.latest_step() if step is None else step
        try:
            with _reader() as reader:
                stored = reader.metadata(self._directory / str(step) / "state").item_metadata.tree
            lines = _differences(_shapes(stored), _shapes(like))
        except Exception as error:
            raise self._damaged(step, _why(error)) from error
        if lines:
            raise self._damaged(step, "; ".join(lines[:3]))
        try:
            stored = self._manager.restore(step, args=ocp.args.Composite(
                state=ocp.args.StandardRestore(like), sum=ocp.args.JsonRestore()))
            restored = jax.tree.map(np.asarray, stored["state"])
            whole = _digest(restored) == stored["sum"]["sha256"]
        except Exception as error:
            raise self._damaged(step, _why(error)) from error
        if not whole:
            raise self._damaged(step, "its checksum does not fit")
        return restored

    def wait(self) -> None:
        """Waits until everything is written.

        Raises:
          UserError: the last checkpoint could not be written.
        """
        parallel.from_main(self._wait, None)

    def _wait(self) -> None:
        try:
            self._manager.wait_until_finished()
            self._manager.check_for_errors()
        except Exception as error:
            raise self._unwritten(error) from error

    def close(self) -> None:
        """Waits until everything is written and gives the folder up; call `wait` before to learn of errors."""
        if self._manager is None:
            return
        # Orbax tells the same failure again here; what `wait` or `save` raised must not be replaced by it.
        with contextlib.suppress(Exception):
            self._manager.close()

    def _unwritten(self, error: Exception) -> UserError:
        self._remove_unfinished()  # the disk may be full
        return UserError(f"{self._directory}: the checkpoint could not be written ({_why(error)}); the one "
                         "before it is kept. Free some space and run the same command again.")

    def _damaged(self, step: int | None, why: str) -> UserError:
        return UserError(f"{self._directory / str(step)}: the checkpoint cannot be read ({why}). Remove that folder "
                         "to go back to an earlier one or to the start, then run the same command again.")


def save_model(directory: Path, variables: Tree, arrays: Mapping[str, np.ndarray],
               metadata: Mapping[str, Any]) -> None:
    """Writes a final model, in place of one that may be there, whole or not at all.

    Every process calls it; the main one writes.

    Args:
      directory: becomes `variables/` (Orbax), `arrays.npz` and `model.json`, which carries checksums.
      variables: nested dicts of arrays.
      arrays: what is no Flax variable, such as an SVM.
      metadata: JSON-like: config, labels, names.

    Raises:
      UserError: it cannot be written.
    """
    parallel.from_main(lambda: _save_model(directory.resolve(), variables, arrays, metadata), None)


def _save_model(directory: Path, variables: Tree, arrays: Mapping[str, np.ndarray],
                metadata: Mapping[str, Any]) -> None:
    variables = jax.tree.map(np.asarray, dict(variables))
    with atomic_path(directory) as temporary:
        temporary.mkdir()
        try:
            with ocp.StandardCheckpointer(multiprocessing_options=_alone()) as checkpointer:
                checkpointer.save(temporary / "variables", variables)
        except Exception as error:
            raise UserError(f"{directory}: the model cannot be written ({_why(error)}); nothing was changed. "
                            "Free some space or choose another folder.") from error
        buffer = io.BytesIO()
        if pickled := [name for name, value in arrays.items() if np.asarray(value).dtype.hasobject]:
            raise TypeError(f"{pickled[0]}: arrays of objects would be pickled.")
        np.savez(buffer, **{name: np.asarray(value) for name, value in arrays.items()})  # type: ignore[arg-type]
        (temporary / "arrays.npz").write_bytes(buffer.getvalue())
        write_json(temporary / "model.json", {
            "metadata": dict(metadata), "variables": _digest(variables),
            "arrays": hashlib.sha256(buffer.getvalue()).hexdigest()})


def load_model(directory: Path) -> tuple[Tree, dict[str, np.ndarray], dict[str, Any]]:
    """Reads what `save_model` wrote: variables, arrays, metadata.

    Raises:
      UserError: it is absent, truncated or altered.
    """
    directory = directory.resolve()
    if not (directory / "model.json").is_file():
        raise UserError(f"{directory}: holds no model (model.json is missing); give the folder that training wrote.")
    advice = "take another copy, or train again"
    try:
        sheet = json.loads((directory / "model.json").read_text(encoding="utf-8"))
        content = (directory / "arrays.npz").read_bytes()
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        with _reader() as checkpointer:
            path = directory / "variables"
            tree = checkpointer.metadata(path).item_metadata.tree
            variables = checkpointer.restore(path, restore_args=jax.tree.map(
                lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree))
        whole = (hashlib.sha256(content).hexdigest() == sheet["arrays"] and _digest(variables) == sheet["variables"])
        metadata = sheet["metadata"]
    except Exception as error:
        raise UserError(f"{directory}: the model is damaged ({_why(error)}); {advice}.") from error
    if not whole:
        raise UserError(f"{directory}: the model was altered (its checksum does not fit); {advice}.")
    return variables, arrays, metadata
