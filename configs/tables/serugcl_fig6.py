"""SERUGCL, Fig. 6: the strength of FGSM, and the shares of the subgraph and edge view.

    python -m sercl_jax.main --config=configs/tables/serugcl_fig6.py:corpus=emodb --config.data.manual_dir=DIR

Choices as in configs/serugcl.py. The paper's curves are pictures, so that their values cannot stand beside ours.
"""

from sercl_jax import config as config_lib
from sercl_jax.config import Variant

EPS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
SHARES = (0.1, 0.2, 0.3, 0.5, 0.8)


def get_config(arg=None):
    """One line for FGSM's eps, one for the nodes kept, one for the edges perturbed."""
    rows = [Variant(f"FGSM eps {x:g}", {"views.fgsm_eps": x}, x=x, series="FGSM eps") for x in EPS]
    rows += [Variant(f"{x:.0%} of nodes kept", {"views.node_ratio": x}, x=x, series="share of nodes kept")
             for x in SHARES]
    rows += [Variant(f"{x:.0%} of edges perturbed", {"views.edge_ratio": x}, x=x, series="share of edges perturbed")
             for x in SHARES]
    return config_lib.table(config_lib.base("serugcl", arg), title="Fig. 6: strength of the augmentations",
                            x_label="FGSM eps, or share", note="fig6", rows=rows)
