"""SERUGCL on CPC's context as node features, alone and beside the low-level descriptors.

    python -m sercl_jax.main --config=configs/tables/serugcl_cpc.py:corpus=emodb,protocol=loso,seeds=3 \\
        --config.data.manual_dir=DIR --config.init_from=runs/cpc --workdir=runs/serugcl-cpc

Choices as in configs/serugcl.py.
"""

from sercl_jax import config as config_lib
from sercl_jax.config import Variant

LLD = "LLDs"


def get_config(arg=None):
    """Three kinds of nodes, each trained and untrained."""
    rows = []
    for name, features in ((LLD, "is10_librosa"), ("CPC", "cpc"), ("LLDs and CPC", "is10_librosa+cpc")):
        rows.append(Variant(f"{name}, untrained", {"features": features, "embedding": "untrained"}))
        rows.append(Variant(name, {"features": features},
                            against=(f"{name}, untrained",) if name == LLD else (f"{name}, untrained", LLD)))
    return config_lib.table(config_lib.base("serugcl", arg), title="SERUGCL on CPC's context", rows=rows)
