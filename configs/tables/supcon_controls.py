"""Cross-corpus SupCon beside its controls, for every corpus, on the same folds.

    python -m sercl_jax.main --config=configs/tables/supcon_controls.py
    python -m sercl_jax.main \\
        --config=configs/tables/supcon_controls.py:corpora=emodb+ravdess,encoder=cpc,protocol=speakers \\
        --config.data.manual_dir=DIR --config.encoder.path=runs/cpc --workdir=runs/supcon-controls

Choices as in configs/supcon.py. SupCon and FT choose their learning rates from one grid, inside the training folds;
the controls have the grid's middle one. Choices of its own:

    rates=3e-4+1e-3+3e-3    the grid
    epochs=10,seconds=1.5    of the trainings of the encoder, and how much of an utterance they see at a time
"""

from sercl_jax import config as config_lib
from sercl_jax.config import Variant

CHOICES = {"rates": "3e-4+1e-3+3e-3", "epochs": 10, "seconds": 1.5}


def get_config(arg=None):
    """A block of rows for each corpus."""
    choice, rest = config_lib.split_choices(arg, CHOICES)
    config = config_lib.base("supcon", rest)
    rates = tuple(float(rate) for rate in choice["rates"].split("+"))
    middle = {f"{stage}.rates": (rates[len(rates) // 2],) for stage in ("contrastive", "finetune")}
    grid = {f"{stage}.rates": rates for stage in ("contrastive", "finetune")}
    for stage in () if "tiny" in rest.split(",") else (config.contrastive, config.finetune):
        stage.epochs, stage.seconds = choice["epochs"], choice["seconds"]
        stage.fall_first, stage.fall_every = -(-choice["epochs"] // 2), max(choice["epochs"] // 5, 1)
    kinds = {
        "encoder as it is": {"arm": "frozen"},
        "FT": {"arm": "ft", **grid},
        "cross entropy on all corpora": {"arm": "ce", **middle},
        "SupCon on this corpus alone": {"arm": "supcon", "learn_from": "target", **middle},
        "L_c only": {"arm": "supcon", "contrastive.margin_weight": 0.0, **middle},
        "L_m only": {"arm": "supcon", "contrastive.contrast_weight": 0.0, **middle},
        "SupCon": {"arm": "supcon", **grid}}
    followed = ("SupCon", "cross entropy on all corpora")  # layer by layer
    rows = [Variant(name, {"target": target, "eval.similarity": name in followed, **changes},
                    series=f"target {target}",
                    against=tuple(other for other in kinds if other != name) if name == "SupCon" else ())
            for target in config.corpora for name, changes in kinds.items()]
    return config_lib.table(config, title="Cross-corpus SupCon and its controls", rows=rows, note="supcon_analogue")
