"""SERUGCL, Table 6: which graph encoder sees which view.

    python -m sercl_jax.main --config=configs/tables/serugcl_table6.py:corpus=emodb --config.data.manual_dir=DIR

Choices as in configs/serugcl.py. The paper does not say which way round its "GCN-GIN" is: here the original view
goes through the GCN and the augmented ones through the GIN, the reverse of the proposed assignment.
"""

from sercl_jax import config as config_lib
from sercl_jax.config import Variant


def _encoders(original, augmented):
    return {"encoder.original": original, "encoder.fgsm": augmented, "encoder.subgraph": augmented}


def get_config(arg=None):
    """The paper's four rows."""
    return config_lib.table(
        config_lib.base("serugcl", arg), title="Table 6: graph encoders", published="TABLE6", rows=[
            Variant("GIN", _encoders("gin", "gin"), paper="GIN"),
            Variant("GCN", _encoders("gcn", "gcn"), paper="GCN"),
            Variant("GCN-GIN", _encoders("gcn", "gin"), paper="GCN-GIN"),
            Variant("SERUGCL", _encoders("gin", "gcn"), paper="SERUGCL", against=("GIN", "GCN", "GCN-GIN"))])
