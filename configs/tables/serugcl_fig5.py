"""SERUGCL, Fig. 5: the confusion matrix of the proposed model, in the row's own report.

    python -m sercl_jax.main --config=configs/tables/serugcl_fig5.py:corpus=emodb --config.data.manual_dir=DIR

Choices as in configs/serugcl.py. The paper's matrices are pictures, so that only UA and WA can be compared.
"""

from sercl_jax import config as config_lib
from sercl_jax.config import Variant


def get_config(arg=None):
    """One row: SERUGCL."""
    return config_lib.table(config_lib.base("serugcl", arg), title="Fig. 5: confusion matrix", published="TABLE6",
                            note="fig5", rows=[Variant("SERUGCL", paper="SERUGCL")])
