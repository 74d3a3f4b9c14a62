"""A method of one's own (`sercl_jax.methods.own`) for use: its embedding of nodes, SVM, probabilities."""

import os
from pathlib import Path

from sercl_jax.errors import UserError
from sercl_jax.inference import graph, origin
from sercl_jax.inference.pipeline import Pipeline

TRUST = "SERCL_OWN_CODE"  # of the environment


def pipeline(workdir: Path, seed: int = 0) -> Pipeline:
    """The final model of a run of such a method, whose code is part of the model.

    Raises:
      UserError: there is none; it offers a source instead of a method; or nobody said that its code may run.
    """
    del seed  # there is one model
    found = origin.read(workdir)
    if "method_file" not in found.metadata:
        raise UserError(f"{workdir}: the model of method={found.config['method']} does not tell how it embeds new "
                        "recordings.")
    name, text = (found.metadata["method_file"][part] for part in ("name", "text"))
    if os.environ.get(TRUST) != "1":
        raise UserError(f"{workdir}: its method is the code of {name}, which lies in its model. Set {TRUST}=1 to run "
                        "it, if you trust whoever made this folder; or use a bundle of it (python -m "
                        "sercl_jax.export), which holds no code.")
    from ml_collections import ConfigDict  # other models need neither

    from sercl_jax.methods import own

    config = ConfigDict({**found.config, "method_file": name})
    embed = own.of(own.module(text, name), config).embed
    return graph.of_nodes(found, found.config["nodes"], {"own": found.variables["own"]},
                          lambda variables, batch: embed(variables["own"], batch))
