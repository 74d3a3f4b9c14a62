"""CPC, Table 1: the four set-ups on IEMOCAP.

    python -m sercl_jax.main --config=configs/tables/cpc_table1.py
    python -m sercl_jax.main --config=configs/tables/cpc_table1.py:corpus=iemocap,runs=5 \\
        --config.data.manual_dir=DIR --config.init_from=runs/cpc --workdir=runs/table1

Choices as in configs/cpc.py; the paper made five runs. The first line runs on the embedded synthetic corpus, with the
paper's values for IEMOCAP beside it. Beyond the paper: a recognizer that first maps the log mel energies to the width
of CPC's context, as Sup's attention is narrower otherwise.
"""

from sercl_jax import config as config_lib
from sercl_jax.config import Variant


def get_config(arg=None):
    """The paper's four rows and a control."""
    config = config_lib.base("cpc", f"recipe=paper,{arg or ''}")
    width = config.cpc.context
    projected = f"Sup, projected to {width}"
    return config_lib.table(config, title="Table 1: set-ups", published="CPC_TABLE1", note="cpc_average", rows=[
        Variant("Sup", {"setup": "sup"}, paper="Sup"),
        Variant(projected, {"setup": "sup", "recognizer.projection": width}),
        Variant("jointCPC", {"setup": "joint"}, paper="jointCPC"),
        Variant("miniCPC", {"setup": "mini"}, paper="miniCPC"),
        Variant("preCPC", {"setup": "pre"}, paper="preCPC", against=("Sup", projected, "jointCPC", "miniCPC"))])
