"""A finished workdir: its stored model, and what is to be told of where it comes from."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sercl_jax import checkpoint
from sercl_jax.errors import UserError
from sercl_jax.inference.windows import USUAL
from sercl_jax.types import Variables

CONFIG, RESULTS, RUN = "config.json", "results.json", "run.json"  # of a workdir
MODEL = "model"
_TOLD = ("protocol", "metrics", "per_class", "baselines", "calibration", "protocol_sheet", "warnings", "synthetic",
         "command", "pretraining")


@dataclass(frozen=True)
class Origin:
    """Attributes:
      workdir: of the run.
      config: its config, JSON-like.
      results: of results.json; empty if there are none.
      run: of run.json: versions, devices, revision; empty if there is none.
      variables, arrays, metadata: as `checkpoint.load_model` reads them.
    """

    workdir: Path
    config: Mapping[str, Any]
    results: Mapping[str, Any]
    run: Mapping[str, Any]
    variables: Variables
    arrays: Mapping[str, np.ndarray]
    metadata: Mapping[str, Any]

    @property
    def corpus(self) -> str:
        """What it was trained on."""
        return str(self.results["corpus"] if self.results else self.config["data"]["corpus"])

    @property
    def seconds(self) -> float:
        """How long windows are by default; models of before do not tell."""
        return float(self.metadata.get("seconds", USUAL))

    @property
    def trim(self) -> bool:
        """Whether digital silence at the ends of utterances was left out; models of before knew no such thing."""
        return bool(self.config["data"].get("trim", False))

    def arrays_of(self, prefix: str) -> dict[str, np.ndarray]:
        """The arrays whose names begin so, without it."""
        return {name.removeprefix(prefix): value for name, value in self.arrays.items() if name.startswith(prefix)}

    def too_old(self, what: str) -> UserError:
        """What to say of a model that lacks something."""
        return UserError(f"{self.workdir}: its model holds no {what}: an earlier version wrote it. Remove its "
                         f"{RESULTS} and give the run's command again; nothing is trained anew.")

    def facts(self) -> dict[str, Any]:
        """For a `Card`: config, protocol, metrics, versions and the like."""
        return {"config": dict(self.config), **{name: self.results[name] for name in _TOLD if name in self.results},
                **{name: self.run[name] for name in ("date", "git", "packages") if name in self.run}}

    def notes(self) -> tuple[str, ...]:
        """What whoever uses it should know."""
        synthetic = self.results and self.results.get("synthetic")
        return ("Trained on synthetic speech: it is there to try things out, and knows nothing of real voices.",
                ) if synthetic else ()


def read(workdir: Path, model: str = MODEL) -> Origin:
    """Opens a workdir.

    Args:
      workdir: of a run that has finished.
      model: folder of the model in it.

    Raises:
      UserError: it is no workdir, holds no model, or one that is damaged.
    """
    config = read_config(workdir)
    if not (workdir / model / "model.json").is_file():
        raise UserError(f"{workdir}: holds no model; the run has not finished (give its command again), was made "
                        "with --config.final_model=False, or compares something that is not to be kept.")
    variables, arrays, metadata = checkpoint.load_model(workdir / model)
    return Origin(workdir, config, _json(workdir / RESULTS), _json(workdir / RUN), variables, arrays, metadata)


def read_config(workdir: Path) -> dict[str, Any]:
    """The config of a workdir.

    Raises:
      UserError: it is no workdir of a single run.
    """
    if not workdir.is_dir():
        raise UserError(f"{workdir}: there is no such folder; give the workdir of a finished run, or an exported "
                        "bundle.")
    config = _json(workdir / CONFIG)
    if not config:
        rows = sorted(path.parent for path in workdir.glob(f"rows/*/{CONFIG}"))
        advice = (f"give one of its rows, such as {rows[0]}" if rows else
                  f"give {workdir.parent}" if (workdir / "model.json").is_file() and workdir.name == MODEL else
                  "give the workdir of a finished run, or an exported bundle")
        raise UserError(f"{workdir}: is no workdir of a run ({CONFIG} is missing); {advice}.")
    return config


def _json(path: Path) -> dict[str, Any]:
    """A JSON object; {} if the file is absent.

    Raises:
      UserError: it is damaged.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); restore it, or give the run's command again.") from error
    if not isinstance(found, dict):
        raise UserError(f"{path}: holds no JSON object; restore it, or give the run's command again.")
    return found
