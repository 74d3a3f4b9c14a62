"""SERUGCL, Table 4: which augmented views train it (FGSM, subgraph with edge perturbation, both).

    python -m sercl_jax.main --config=configs/tables/serugcl_table4.py:corpus=emodb --config.data.manual_dir=DIR

Choices as in configs/serugcl.py. Beyond the paper: random signs in place of FGSM's, and no training at all.
"""

from sercl_jax import config as config_lib
from sercl_jax.config import Variant


def get_config(arg=None):
    """The paper's three rows and two controls."""
    return config_lib.table(
        config_lib.base("serugcl", arg), title="Table 4: augmented views", published="TABLE4", rows=[
            Variant("S-F", {"views.use": "fgsm"}, paper="S-F"),
            Variant("S-SE", {"views.use": "subgraph"}, paper="S-SE"),
            Variant("random signs for FGSM", {"views.fgsm_sign": "random"}),
            Variant("untrained", {"embedding": "untrained"}),
            Variant("SERUGCL", paper="SERUGCL",
                    against=("S-F", "S-SE", "random signs for FGSM", "untrained"))])
