"""CPC, Table 2: the four set-ups on MSP-Podcast.

    python -m sercl_jax.main --config=configs/tables/cpc_table2.py
    python -m sercl_jax.main --config=configs/tables/cpc_table2.py:corpus=msp_podcast,runs=5 \\
        --config.data.manual_dir=DIR --config.init_from=runs/cpc --workdir=runs/table2

Choices as in configs/cpc.py; the paper made five runs. The first line runs on the embedded synthetic corpus, with the
paper's values for MSP-Podcast beside it.
"""

from sercl_jax import config as config_lib


def get_config(arg=None):
    """The rows of Table 1, beside Table 2's values."""
    config = config_lib.base("tables/cpc_table1", arg)
    config.table.update(title="Table 2: set-ups", published="CPC_TABLE2")
    return config.lock()
