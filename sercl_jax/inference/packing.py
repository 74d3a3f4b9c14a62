"""Writing a bundle: a pipeline's programs, weights and facts, and what people should know, in one folder."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import jax
import numpy as np
import safetensors
import safetensors.numpy
from tqdm import tqdm

from sercl_jax import __version__, files
from sercl_jax.errors import UserError
from sercl_jax.inference import bundle, inputs, model_card, programs
from sercl_jax.inference.pipeline import FRAMES, Pipeline
from sercl_jax.types import SAMPLE_RATE

_LEFT_OUT = ("command",)  # of a card's facts: it names folders of the machine


@dataclass(frozen=True)
class Request:
    """What a bundle is to hold.

    Attributes:
      platforms: of `programs.PLATFORMS`.
      frames: whether programs for frame embeddings go with it.
      extra: writes more into the folder that it is given, or None.
    """

    platforms: tuple[str, ...] = programs.PLATFORMS
    frames: bool = False
    extra: Callable[[Path], None] | None = None


def write(pipeline: Pipeline, out: Path, request: Request, *, progress: bool = False) -> None:
    """Writes a bundle, whole or not at all.

    Args:
      pipeline: of a finished run.
      out: the folder; absent or empty.
      request: what is wanted.
      progress: whether to show a bar on stderr.

    Raises:
      UserError: the folder holds something or cannot be written, or the pipeline cannot be exported.
    """
    check_empty(out)
    if unknown := [name for name in request.platforms if name not in programs.PLATFORMS] or not request.platforms:
        raise UserError(f"platforms={unknown}: choose of {', '.join(programs.PLATFORMS)}.")
    if request.frames and pipeline.frames is None:
        raise UserError("the model has no frame embeddings; export it without --frames.")
    names, weights, tree = flatten(pipeline.variables)
    card = replace(pipeline.card, facts=without_places({
        name: value for name, value in pipeline.card.facts.items() if name not in _LEFT_OUT}))
    if not request.frames:
        card = replace(card, frames=0)
    facts = json.loads(json.dumps(pipeline.inputs.facts()))
    inputs.from_facts(facts)  # what could not be opened is not written

    def results(given: dict[str, Any], batch: dict[str, Any]) -> dict[str, Any]:
        return pipeline.apply(tree.unflatten([given[name] for name in names]), batch)

    def frames(given: dict[str, Any], batch: dict[str, Any]) -> dict[str, Any]:
        assert pipeline.frames is not None
        return {FRAMES: pipeline.frames(tree.unflatten([given[name] for name in names]), batch)}

    wanted = {bundle.RESULTS: results, **({FRAMES: frames} if request.frames else {})}
    with files.atomic_path(out) as folder:
        (folder / bundle.PROGRAMS).mkdir(parents=True)
        sheet: dict[str, Any] = {
            "card": card.to_json(), "inputs": facts, "batch_size": pipeline.batch_size,
            "platforms": list(request.platforms), "labels": list(card.labels), "programs": {},
            "config": files.digest(card.facts.get("config", {})),
            "made_with": {"sercl_jax": __version__, "jax": jax.__version__, "jaxlib": metadata.version("jaxlib")}}
        todo = [(kind, function, length) for kind, function in wanted.items() for length in pipeline.inputs.lengths]
        for kind, function, length in tqdm(todo, desc=f"Lowering for {', '.join(request.platforms)}",
                                           unit="program", disable=not progress, dynamic_ncols=True):
            shapes = input_shapes(pipeline.inputs, length)
            program, made = programs.lower(function, weights, shapes, request.platforms)
            name = f"{bundle.PROGRAMS}/{kind}-{length}.stablehlo"
            (folder / name).write_bytes(program)
            sheet["programs"].setdefault(kind, {})[str(length)] = {
                "file": name, "inputs": _as_json(shapes), "outputs": _as_json(made)}
        try:
            (folder / bundle.WEIGHTS).write_bytes(safetensors.numpy.save(weights))
        except safetensors.SafetensorError as error:
            raise UserError(f"{out}: the weights cannot be written ({error}).") from error
        files.write_json(folder / bundle.CONFIG, card.facts.get("config", {}))
        files.write_text(folder / bundle.README, model_card.render(card, sheet, out.name))
        if request.extra is not None:
            request.extra(folder)
        bundle.write_sheet(folder, sheet)


def check_empty(out: Path) -> None:
    """Raises UserError if there is anything at a place where a folder is to be written."""
    if out.is_symlink() or (out.exists() and not out.is_dir()) or (out.is_dir() and any(out.iterdir())):
        raise UserError(f"{out}: is there and not an empty folder; choose another --out, or remove it.")


def flatten(variables: Any) -> tuple[list[str], dict[str, np.ndarray], Any]:
    """A tree's names, its arrays by name, in the types that JAX computes with, and its structure.

    Raises:
      ValueError: two leaves have one name.
    """
    leaves, tree = jax.tree.flatten_with_path(variables)
    names = [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves]
    weights = {name: np.ascontiguousarray(leaf, jax.dtypes.canonicalize_dtype(np.asarray(leaf).dtype)).reshape(
        np.shape(leaf)) for name, (_, leaf) in zip(names, leaves, strict=True)}
    if len(weights) < len(names):
        raise ValueError("two of the variables have one name.")
    return names, weights, tree


def input_shapes(kind: Any, length: int) -> programs.Shapes:
    """The arrays of a batch of this length, by name."""
    second = np.zeros(min(SAMPLE_RATE, kind.longest or SAMPLE_RATE), np.int16)
    batch = kind.batch([kind.describe(second)], length)
    return {name: ((programs.BATCH, *array.shape[1:]), array.dtype.name) for name, array in batch.items()}


def without_places(value: Any) -> Any:
    """JSON-like data with the last part only of every absolute path: where files lay is nobody's business."""
    if isinstance(value, Mapping):
        return {name: without_places(part) for name, part in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [without_places(part) for part in value]
    if isinstance(value, str) and "\n" not in value and (
            PurePosixPath(value).is_absolute() or value.startswith("~") or PureWindowsPath(value).is_absolute()):
        return PureWindowsPath(value).name or PurePosixPath(value).name
    return value


def _as_json(shapes: programs.Shapes) -> dict[str, Any]:
    return {name: {"shape": list(shape), "dtype": dtype} for name, (shape, dtype) in shapes.items()}


def told(out: Path) -> str:
    """What is in a bundle and how large, for people."""
    sizes = {path.relative_to(out).as_posix(): path.stat().st_size for path in sorted(out.rglob("*"))
             if path.is_file()}
    groups: dict[str, list[int]] = {}
    for name, size in sizes.items():
        groups.setdefault(name.split("/")[0] + ("/" if "/" in name else ""), []).append(size)
    lines = [f"{out}: {_megabytes(sum(sizes.values()))}"]
    for name, found in groups.items():
        count = f", {len(found)} files" if len(found) > 1 else ""
        lines.append(f"  {name:<20} {_megabytes(sum(found)):>9}{count}")
    return "\n".join(lines)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB"
