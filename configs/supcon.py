"""Cross-corpus SupCon: a speech encoder fine-tuned by contrast on several corpora, then a classifier for each.

    python -m sercl_jax.main --config=configs/supcon.py
    python -m sercl_jax.main --config=configs/supcon.py:corpora=iemocap+casia,encoder=wavlm-base-plus \\
        --config.data.manual_dir=DIR --config.encoder.path=FOLDER_OR_HUB_ID --workdir=runs/supcon
    python -m sercl_jax.main --config=configs/supcon.py:corpora=emodb+ravdess,encoder=cpc,protocol=speakers \\
        --config.data.manual_dir=DIR --config.encoder.path=runs/cpc --workdir=runs/supcon-cpc

The first line trains a small random network on two halves of the embedded synthetic corpus, some minutes on two CPU
cores, to show how it goes. Every corpus gets a table: direct fine-tuning on it (FT) beside SupCon on all of them.
Choices, after the colon and separated by commas:

    corpora=emodb+ravdess      any number; demo stands for two halves of the embedded corpus, by speaker
    target=emodb               one run for this corpus alone, in place of the table, with
        arm=supcon             contrast on all corpora, then a classifier on the frozen encoder
            ce                 cross entropy on all corpora, then the same
            ft                 cross entropy on the target alone
            frozen             a classifier on the encoder as it is
    encoder=wavlm-base-plus|hubert-base|wavlm-large|...|cpc|tiny
                               published weights from --config.encoder.path (a folder or a hub id), the CPC of a
                               workdir of configs/cpc.py:setup=pretrain, or a small random network
    protocol=kfold|speakers|loso|session|...    how each corpus is divided: at random, or by speakers
    folds=5,seeds=1,fold_seeds=1
    recipe=paper|small         as published, or what suits a small encoder (the default for cpc and tiny)
    tiny                       a few steps, to see that everything works
"""

import ml_collections

from sercl_jax import config as config_lib
from sercl_jax import published
from sercl_jax.config import Variant

CHOICES = {
    "corpora": "demo", "target": "", "arm": "supcon", "encoder": "", "protocol": "kfold", "folds": 5, "seeds": 1,
    "fold_seeds": 1, "recipe": "", "tiny": False,
}
# Four speakers each; the first half lacks three emotions, as IEMOCAP lacks two of CASIA's.
HALVES = {"demo_a": {"where": "speaker=s0[1-4]", "labels": "angry,happy,neutral,sad"},
          "demo_b": {"where": "speaker=s0[5-8]", "labels": "all"}}


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
    """The paper's method, with every knob present. Lines marked (open) are not stated in the paper."""
    choice = config_lib.choices(arg, CHOICES)
    config = single(choice)
    if choice["target"]:
        return config.lock()
    paper = published.SUPCON_ENCODERS.get(config.encoder.kind, "")
    rows = []
    for target in config.corpora:
        series = f"target {target}"
        rows += [Variant("FT", {"target": target, "arm": "ft", "final_model": False}, series=series,
                         paper=paper and f"{paper}(FT)"),
                 Variant("SupCon", {"target": target, "arm": "supcon"}, series=series, paper=paper, against=("FT",))]
    return config_lib.table(config, title="Cross-corpus SupCon", published="SUPCON" if paper else "", rows=rows,
                            complete=True)


def single(choice: dict) -> ml_collections.ConfigDict:
    """The config of one run, unlocked."""
    demo = choice["corpora"] == "demo"
    kind = choice["encoder"] or ("tiny" if demo else "wavlm-base-plus")
    config = ml_collections.ConfigDict()
    config.method = "supcon"
    config.arm = choice["arm"]  # see above
    config.seed = 0  # first seed: initial weights, batches, dropout, bootstrap
    config.seeds = choice["seeds"]  # how many: seed, seed + 1, ...
    config.fold_seed = 0  # first seed of the folds
    config.fold_seeds = choice["fold_seeds"]

    halves = {name: {"corpus": "demo", **changes} for name, changes in HALVES.items()}
    config.corpora = config_lib.sections(halves if demo else config_lib.named(choice["corpora"]), "usual")
    config.target = choice["target"] or next(iter(config.corpora))  # the one that is tested
    config.learn_from = "all"  # or target: the encoder learns from that corpus alone

    config.data = ml_collections.ConfigDict()  # what all corpora share
    config.data.manual_dir = ""  # folder with the corpora's archives or unpacked trees
    config.data.allow_outside = False  # may a manifest name files outside its folder?
    config.data.trim = False  # leave out digital silence at the ends of utterances?
    config.data.emobox_dir = ""  # clone of github.com/emo-box/EmoBox, for protocol=emobox
    config.data.download = True  # may a corpus be fetched from its site?
    config.data.on_error = "raise"  # or "skip": leave bad audio out, and count it
    config.data.cache_dir = ""  # records and encodings; "" is $SERCL_CACHE or ~/.cache/sercl_jax
    config.data.workers = 0  # processes for decoding; 0 is one per CPU

    config.encoder = ml_collections.ConfigDict()
    config.encoder.kind = kind
    config.encoder.path = ""  # folder or hub id of weights, or workdir of a CPC; "": the hub id it is published under
    config.encoder.precision = "float32"  # or bfloat16: compute only, weights stay float32
    config.encoder.remat = False  # compute a Transformer's layers anew in the backward pass, to save memory

    config.contrastive = _schedule(epochs=50, fall_first=25, fall_every=5, fall_factor=0.5)
    config.contrastive.rates = (1e-4,)  # learning rates; of several, each training part chooses one inside itself
    config.contrastive.encoder_rate = 0.4  # of the encoder, times the learning rate
    config.contrastive.seconds = 10.0  # (open) longer utterances are cut, at a place drawn anew each time
    config.contrastive.accumulate = 1  # batches, each with pairs of its own, whose gradients make a step
    config.contrastive.temperature = 0.07
    config.contrastive.alpha = 0.5  # weight of the similarity of positives in the margin loss
    config.contrastive.margin = 0.4  # cosine of positive and negative that costs nothing
    config.contrastive.pairing = "elementwise"  # (open) or all: which positives and negatives the margin loss pairs
    config.contrastive.halves = "corpus"  # (open) or random: how it splits the positives
    config.contrastive.contrast_weight = 1.0  # of the contrastive loss
    config.contrastive.margin_weight = 1.0  # of the margin loss

    config.finetune = _schedule(epochs=50, fall_first=20, fall_every=20, fall_factor=0.2)  # FT, and cross entropy
    config.finetune.rates = (1e-3,)
    config.finetune.encoder_rate = 0.4
    config.finetune.seconds = 10.0
    config.finetune.accumulate = 1

    config.classifier = _schedule(epochs=10, fall_first=5, fall_every=5, fall_factor=0.1)  # the second stage
    config.classifier.learning_rate = 5e-4
    config.classifier.hidden = 256

    config.train = ml_collections.ConfigDict()
    config.train.log_every = 10  # steps
    config.train.checkpoint_every = 0  # steps; 0: at the end
    config.train.resident = "auto"  # does the corpus lie on the devices? yes, no; auto: on accelerators, if it fits
    config.train.steps_per_dispatch = 0  # at most; 0: many on accelerators with a resident corpus, else 1

    config.eval = ml_collections.ConfigDict()
    config.eval.protocol = choice["protocol"]  # (open) random folds
    config.eval.folds = choice["folds"]
    config.eval.similarity = True  # layers before and after, on what the folds test (Fig. 4)
    config.eval.report = True
    config.final_model = True  # keep a model fitted on all the data for `predict`

    if (choice["recipe"] or ("small" if kind in ("cpc", "tiny") else "paper")) == "small":
        for stage in (config.contrastive, config.finetune):
            stage.epochs, stage.fall_first, stage.fall_every, stage.fall_factor = 10, 5, 2, 0.5
            stage.rates = (1e-3,)
            stage.seconds = 3.0
    else:
        config_lib.one_of("recipe", choice["recipe"] or "paper", ("paper", "small"))
    if kind == "tiny":  # a few hundred utterances need smaller batches and larger steps
        for stage in (config.contrastive, config.finetune, config.classifier):
            stage.batch_size, stage.epochs, stage.fall_first, stage.fall_every, stage.fall_factor = 16, 20, 10, 4, 0.5
        config.contrastive.rates = config.finetune.rates = (3e-3,)
        config.classifier.learning_rate = 3e-3
    if choice["tiny"]:
        for stage in (config.contrastive, config.finetune, config.classifier):
            stage.epochs = 1
        config.contrastive.seconds = config.finetune.seconds = 1.0
    return config


def _schedule(**stairs: float) -> ml_collections.ConfigDict:
    """A stage's section; its learning rate falls by `fall_factor` at `fall_first`, then every `fall_every` epochs."""
    return ml_collections.ConfigDict({
        "batch_size": 32, "optimizer": "adam", "weight_decay": 0.0, "clip_norm": 0.0, "warmup_steps": 0, **stairs})
