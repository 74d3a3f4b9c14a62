"""Cross-corpus SupCon, Table 1: ways to fine-tune speech encoders, on IEMOCAP.

    python -m sercl_jax.main --config=configs/tables/supcon_table1.py
    python -m sercl_jax.main --config=configs/tables/supcon_table1.py:corpora=iemocap+casia \\
        --config.data.manual_dir=DIR --workdir=runs/supcon-table1

Choices as in configs/supcon.py; the corpus that is tested is the first one. HuBERT and WavLM are fetched from the
hub, or lie in --config.encoder.path/hubert-base and --config.encoder.path/wavlm-base-plus. The rows of others are
quoted. Without weights, as in the first line, all rows have the same small random network: a trial of the machinery.
"""

from sercl_jax import config as config_lib
from sercl_jax import published
from sercl_jax.config import Variant

OWN = {"Hubert-base(FT)": ("hubert-base", "ft"), "WavLM-base(FT)": ("wavlm-base-plus", "ft"),
       "Hubert-base*": ("hubert-base", "supcon"), "WavLM-base*": ("wavlm-base-plus", "supcon")}


def get_config(arg=None):
    """The paper's nine rows, four of which are its own."""
    config = config_lib.base("supcon", arg)
    given = config.encoder.kind in ("tiny", "cpc")
    rows = []
    for name in published.SUPCON_TABLE1:
        if name not in OWN:
            rows.append(Variant(name, {"arm": "quoted"}, paper=name))
            continue
        kind, arm = OWN[name]
        other = {"supcon": name.replace("*", "(FT)")}.get(arm)
        rows.append(Variant(name, {"arm": arm, **({} if given else {"encoder.kind": kind})}, paper=name,
                            against=(other,) if other else ()))
    return config_lib.table(config, title="Table 1: fine-tuned speech encoders", published="SUPCON_TABLE1",
                            note="supcon_encoders", rows=rows)
