"""Cross-corpus SupCon, Fig. 4: similarity of positive and negative pairs in each layer, before and after.

    python -m sercl_jax.main --config=configs/tables/supcon_fig4.py
    python -m sercl_jax.main --config=configs/tables/supcon_fig4.py:corpora=iemocap+casia,encoder=wavlm-base-plus \\
        --config.data.manual_dir=DIR --config.encoder.path=FOLDER_OR_HUB_ID --workdir=runs/supcon-fig4

Choices as in configs/supcon.py. Cosines of time-averaged layers, over all pairs of utterances that a fold tests, and
over pairs of different corpora, in the report of each row. The paper's figure is a picture without values; what it
claims stands in the note.
"""

from sercl_jax import config as config_lib
from sercl_jax.config import Variant


def get_config(arg=None):
    """SupCon and, as a control that moves the same layers, cross entropy on the same corpora."""
    config = config_lib.base("supcon", arg)
    config.final_model = False
    rows = [Variant("SupCon", {"arm": "supcon"}), Variant("cross entropy on all corpora", {"arm": "ce"})]
    return config_lib.table(config, title="Fig. 4: similarity in each layer", note="supcon_fig4", complete=True,
                            rows=rows)
