"""Cross-corpus SupCon, Table 2: against models without pre-training, on IEMOCAP and CASIA.

    python -m sercl_jax.main --config=configs/tables/supcon_table2.py
    python -m sercl_jax.main --config=configs/tables/supcon_table2.py:corpora=iemocap+casia \\
        --config.data.manual_dir=DIR --workdir=runs/supcon-table2

Choices as in configs/supcon.py, weights as in configs/tables/supcon_table1.py. The rows of others are quoted. The
first line runs on two halves of the embedded synthetic corpus with a small random network.
"""

from sercl_jax import config as config_lib
from sercl_jax import published
from sercl_jax.config import Variant

OWN = {"Hubert-base": "hubert-base", "WavLM-base": "wavlm-base-plus"}


def get_config(arg=None):
    """The paper's rows for every corpus."""
    config = config_lib.base("supcon", arg)
    given = config.encoder.kind in ("tiny", "cpc")
    rows = [Variant(name, {"target": target, **({"arm": "quoted"} if name not in OWN else
                                                {} if given else {"encoder.kind": OWN[name]})},
                    paper=name, series=f"target {target}")
            for target in config.corpora for name in published.SUPCON_TABLE2]
    return config_lib.table(config, title="Table 2: against models without pre-training", published="SUPCON_TABLE2",
                            note="supcon_encoders", rows=rows)
