"""SERUGCL, Table 1: augmentations and pooling. Model 4 is run; models 1 to 3 are not described and only quoted.

    python -m sercl_jax.main --config=configs/tables/serugcl_table1.py:corpus=emodb --config.data.manual_dir=DIR

Choices as in configs/serugcl.py.
"""

from sercl_jax import config as config_lib
from sercl_jax.config import Variant


def get_config(arg=None):
    """Model 4 (sum pooling, as its figures are those of Table 5's sum) and SERUGCL."""
    return config_lib.table(
        config_lib.base("serugcl", arg), title="Table 1: augmentation strategies and pooling", published="TABLE1",
        note="table1", rows=[
            Variant("model 1", {"embedding": "quoted"}, paper="model 1"),
            Variant("model 2", {"embedding": "quoted"}, paper="model 2"),
            Variant("model 3", {"embedding": "quoted"}, paper="model 3"),
            Variant("model 4 (sum pooling)", {"encoder.pooling": "sum"}, paper="model 4"),
            Variant("SERUGCL", paper="SERUGCL", against=("model 4 (sum pooling)",))])
