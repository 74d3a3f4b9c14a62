"""SERUGCL, Fig. 7 and Table 7: the weights A to G of max, mean and soft pooling.

    python -m sercl_jax.main --config=configs/tables/serugcl_fig7.py:corpus=emodb --config.data.manual_dir=DIR

Choices as in configs/serugcl.py. The paper's scores are a picture, so that their values cannot stand beside ours.
"""

from sercl_jax import config as config_lib
from sercl_jax.config import Variant


def get_config(arg=None):
    """Seven rows."""
    return config_lib.table(config_lib.base("serugcl", arg), title="Fig. 7: pooling weights", note="fig7",
                            rows=[Variant(name, {"encoder.pooling": name}) for name in "ABCDEFG"])
