"""Where embeddings come from: a trained model, or one of the things it is compared with."""

from pathlib import Path

from ml_collections import ConfigDict

from sercl_jax import config as config_lib
from sercl_jax.evaluate import GROUPS
from sercl_jax.methods.own import OWN, UNTRAINED
from sercl_jax.sources import fixed, own
from sercl_jax.sources.cpc import CpcSource
from sercl_jax.sources.fixed import FUNCTIONALS
from sercl_jax.sources.graph import GraphSource
from sercl_jax.sources.source import Final, Source
from sercl_jax.workbench import Workbench

__all__ = ["BASELINES", "CONTROLS", "FUNCTIONALS", "KINDS", "CpcSource", "Final", "GraphSource", "Source", "make"]

KINDS = ("trained", "untrained", "lld_statistics", "cpc", "cpc_untrained", OWN, UNTRAINED, "frame_statistics",
         *FUNCTIONALS)
# What each is set beside: the same network untrained, and simpler things made of the same audio.
CONTROLS = {"trained": ("untrained",), "cpc": ("cpc_untrained", "frame_statistics"),
            OWN: (UNTRAINED, "frame_statistics")}
BASELINES = {"cpc": "eGeMAPSv02"}  # openSMILE's set; IS10 for the others


def make(config: ConfigDict, bench: Workbench, store: Path, progress: bool = True) -> Source:
    """The source that `config.embedding` names; OWN and UNTRAINED are of the method in `config.method_file`.

    Raises:
      UserError: an unknown name.
    """
    config_lib.one_of("config.embedding", config.embedding, KINDS)
    config_lib.one_of("normalise", config.normalise, ("global", *GROUPS))
    if config.embedding == "lld_statistics":
        return fixed.lld_statistics(config, bench)
    if config.embedding == "frame_statistics":
        return fixed.frame_statistics(config, bench)
    if config.embedding in ("cpc", "cpc_untrained"):
        return CpcSource(config, bench, progress)
    if config.embedding in (OWN, UNTRAINED):
        return own.make(config, bench, store, progress)
    if config.embedding in FUNCTIONALS:
        return fixed.functionals(config, bench, config.embedding)
    return GraphSource(config, bench, store, progress)
