"""From a folder to a `Model`: a finished workdir, or an exported bundle."""

import importlib
from pathlib import Path

from sercl_jax import parallel, resources
from sercl_jax.inference.model import Model
from sercl_jax.inference.pipeline import Pipeline

BUNDLE = "bundle.json"
# By method, or by method and set-up: the module of this package whose `pipeline(workdir, seed)` makes it; "own" for
# methods that are not of this package.
_PIPELINES = {"serugcl": "graph", "cpc:probe": "probe", "cpc:pretrain": "representation", "cpc": "ratings_model",
              "supcon": "speech"}


def load(path: str | Path, *, seed: int = 0) -> Model:
    """Opens what was trained, or exported.

    Compiled programs are kept in the user's cache ($SERCL_CACHE or ~/.cache/sercl_jax), so that only the first use
    of a model compiles anything.

    Args:
      path: the workdir of a finished run, or a bundle of `python -m sercl_jax.export`.
      seed: of the pre-training to take, where a workdir holds several.

    Raises:
      UserError: it is neither, or damaged.
    """
    path = Path(path).expanduser()
    parallel.enable_compilation_cache(resources.cache() / "compiled", least_seconds=0)
    if (path / BUNDLE).is_file():
        bundle = importlib.import_module("sercl_jax.inference.bundle")
        return Model(bundle.open_bundle(path))
    return Model(pipeline_of(path, seed))


def pipeline_of(workdir: Path, seed: int = 0) -> Pipeline:
    """The network of a finished run and all that stands around it.

    Raises:
      UserError: it is no workdir, or holds no model that could be used.
    """
    from sercl_jax.inference import origin  # whoever opens a bundle does not need what reads checkpoints

    config = origin.read_config(workdir)
    name = f"{config['method']}:{config['setup']}" if "setup" in config else config["method"]
    module = _PIPELINES.get(name) or _PIPELINES.get(config["method"], "own")
    made: Pipeline = importlib.import_module(f"sercl_jax.inference.{module}").pipeline(workdir, seed)
    return made
