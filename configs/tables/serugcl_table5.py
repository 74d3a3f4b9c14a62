"""SERUGCL, Table 5: a single pooling (mean, max, sum) in place of the weighted one.

    python -m sercl_jax.main --config=configs/tables/serugcl_table5.py:corpus=emodb --config.data.manual_dir=DIR

Choices as in configs/serugcl.py.
"""

from sercl_jax import config as config_lib
from sercl_jax.config import Variant


def get_config(arg=None):
    """The paper's four rows, and soft pooling alone."""
    single = [Variant(name, {"encoder.pooling": name}, paper=name) for name in ("mean", "max", "sum")]
    return config_lib.table(
        config_lib.base("serugcl", arg), title="Table 5: pooling", published="TABLE5", rows=[
            *single, Variant("soft", {"encoder.pooling": "soft"}),
            Variant("SERUGCL", paper="SERUGCL", against=("mean", "max", "sum", "soft"))])
