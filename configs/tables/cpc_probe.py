"""CPC's representation of emotion classes: an SVM on it, beside the same untrained and other features.

    python -m sercl_jax.main --config=configs/tables/cpc_probe.py:corpus=emodb,protocol=loso,runs=3 \\
        --config.data.manual_dir=DIR --config.init_from=runs/cpc --workdir=runs/cpc-probe

Choices as in configs/cpc.py; runs=3 takes the pre-trainings with seeds 0 to 2 of init_from, each beside the
parameters that it started from. The openSMILE row needs the extra: pip install 'sercl_jax[opensmile]'.
"""

from sercl_jax import config as config_lib
from sercl_jax.config import Variant


def get_config(arg=None):
    """Pre-trained, untrained, log mel energies and eGeMAPS, on the same folds."""
    config = config_lib.base("cpc", f"setup=probe,{arg or ''}")
    fixed = {"eval.linear_c": (0.01,), "eval.rbf_c": ()}  # nothing tuned
    return config_lib.table(config, title="CPC's context, mean and deviation + SVM", rows=[
        Variant("untrained", {"embedding": "cpc_untrained"}),
        Variant("log mel, mean + std", {"embedding": "frame_statistics"}),
        Variant("openSMILE eGeMAPS (C = 0.01)", {"embedding": "eGeMAPSv02", **fixed}),
        Variant("pre-trained", {"embedding": "cpc"},
                against=("untrained", "log mel, mean + std", "openSMILE eGeMAPS (C = 0.01)"))])
