"""CPC: pre-training on unlabelled speech, then a recognizer of activation, valence and dominance.

    python -m sercl_jax.main --config=configs/cpc.py
    python -m sercl_jax.main --config=configs/cpc.py:setup=pretrain,corpus=librispeech \\
        --config.data.manual_dir=DIR --workdir=runs/cpc
    python -m sercl_jax.main --config=configs/cpc.py:setup=pre,corpus=iemocap \\
        --config.init_from=runs/cpc --config.data.manual_dir=DIR
    python -m sercl_jax.main --config=configs/cpc.py:setup=probe,corpus=emodb,protocol=loso \\
        --config.init_from=runs/cpc --config.data.manual_dir=DIR

The first line trains all four set-ups on the embedded synthetic corpus, some minutes on two CPU cores; the README
lists the scores to expect. Choices, after the colon and separated by commas:

    setup=all        the four set-ups of the paper, one after another, on the same folds (the default):
          sup        recognizer on log mel energies
          joint      CPC and recognizer trained end to end
          mini       CPC pre-trained on the labelled corpus itself, then the recognizer
          pre        CPC pre-trained on pretrain_corpus (or taken from --config.init_from), then the recognizer
          pretrain   the pre-training alone, on corpus
          probe      an SVM on mean and deviation of CPC's context, for corpora with emotion classes
    corpus=demo|librispeech|iemocap|msp_podcast|emodb|manifest     iemocap+msp_podcast: several, each tested by
                               training on the others (--config.eval.tested=iemocap tests that one alone)
    pretrain_corpus=demo_unlabelled|librispeech|...    for setup=pre and all, without init_from
    protocol=auto|session|file|loso|kfold|emobox|...   auto: official partition, sessions or speakers, as there are;
                                                       `python -m sercl_jax.splits` with the same flags shows who is
                                                       tested on what
    runs=5                                             repeats with seeds 0, 1, ...; mean and deviation are reported
    folds=5,fold_seeds=1,normalise=global|speaker      for setup=probe and protocol=kfold
    recipe=small|paper     pre-training that suits an hour of speech and two CPU cores; or as published, for more
    tiny                                               a few steps of a small model, to see that everything works
"""

import ml_collections

from sercl_jax import config as config_lib

SETUPS = ("all", "sup", "joint", "mini", "pre", "pretrain", "probe")
CHOICES = {
    "setup": "all", "corpus": "demo", "pretrain_corpus": "", "protocol": "auto", "runs": 1, "folds": 0,
    "fold_seeds": 1, "normalise": "global", "recipe": "small", "tiny": False,
}


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
    """The paper's method, with every knob present. Lines marked (open) are not stated in the paper."""
    choice = config_lib.choices(arg, CHOICES)
    demo = set(choice["corpus"].split("+")) == {"demo"}
    config = ml_collections.ConfigDict()
    config.method = "cpc"
    config.setup = config_lib.one_of("setup", choice["setup"], SETUPS)
    config.seed = 0  # first seed: initial weights, batches, negatives, validation speakers, bootstrap
    config.seeds = choice["runs"]  # how many: seed, seed + 1, ...
    config.fold_seed = 0  # first seed of the folds
    config.fold_seeds = choice["fold_seeds"]
    config.init_from = ""  # workdir of a finished setup=pretrain, for pre, all and probe

    config.data = _data(choice["corpus"], "all" if config.setup == "pretrain" else "usual")
    config.data.emobox_dir = ""  # clone of github.com/emo-box/EmoBox, for protocol=emobox
    if "+" in choice["corpus"]:  # each has a section for what differs from config.data
        config.corpora = config_lib.sections(config_lib.named(choice["corpus"]), "")
    # What setup=pre pre-trains on, unless init_from is given.
    config.pretrain_data = _data(choice["pretrain_corpus"] or ("demo_unlabelled" if demo else "librispeech"), "all")

    config.cpc = ml_collections.ConfigDict()
    config.cpc.channels = 128
    config.cpc.context = 256
    config.cpc.future = 12  # steps of 10 ms that are predicted
    config.cpc.negatives = 50
    config.cpc.share = 100  # (open) successive predictions that share a draw of negatives; 1: a draw for each
    config.cpc.norm = "channel"  # (open) of each latent over its channels; or none
    config.cpc.temperature = 1.0  # (open)
    config.cpc.over_k = "mean"  # (open) of the losses of the future steps; equation 2 prints their sum
    config.cpc.precision = "float32"  # or bfloat16: compute only, weights stay float32

    config.pretrain = ml_collections.ConfigDict()
    config.pretrain.seconds = 10.0  # longer utterances are cut, shorter ones repeat themselves
    config.pretrain.crop = "random"  # (open) where they are cut: anew each time, or at the start
    config.pretrain.held_out = 0.1  # share of speakers by which the best epoch is chosen, and as many to test it
    config.pretrain.batch_size = 64  # the paper's 8 GPUs x 8
    config.pretrain.epochs = 50
    config.pretrain.optimizer = "adam"
    config.pretrain.learning_rate = 2e-4
    config.pretrain.schedule = "constant"  # (open)
    config.pretrain.warmup_steps = 0  # (open)
    config.pretrain.weight_decay = 1e-5  # L2, added to the gradient
    config.pretrain.clip_norm = 0.0  # 0 is off

    config.recognizer = ml_collections.ConfigDict()
    config.recognizer.heads = 8
    config.recognizer.head_dim = 64  # (open) 8 x 64 = 512, or 512
    config.recognizer.hidden = 128
    config.recognizer.dropout = 0.2
    config.recognizer.projection = 0  # width of a linear map of the input first; 0: none
    config.recognizer.precision = "float32"
    config.recognizer.standardise = True  # (open) input, by the training utterances
    config.recognizer.freeze_cpc = True  # (open) False: mini and pre go on training CPC, on joint.seconds of audio
    config.recognizer.seconds = 10.0  # longer utterances are cut
    config.recognizer.batch_size = 64  # (open)
    config.recognizer.epochs = 50
    config.recognizer.optimizer = "adam"
    config.recognizer.learning_rate = 2e-4
    config.recognizer.schedule = "constant"  # (open)
    config.recognizer.warmup_steps = 0  # (open)
    config.recognizer.weight_decay = 1e-5
    config.recognizer.clip_norm = 0.0

    config.joint = ml_collections.ConfigDict()
    config.joint.cpc_weight = 1.0  # (open) of CPC's loss beside the CCC loss
    config.joint.seconds = 10.0  # as pretrain.seconds

    config.train = ml_collections.ConfigDict()
    config.train.training = "inductive"  # mini: pre-train on each fold's training part; transductive: on everything
    config.train.log_every = 10  # steps
    config.train.checkpoint_every = 0  # steps; 0: with every validation
    config.train.resident = "auto"  # does the corpus lie on the devices? yes, no; auto: on accelerators, if it fits
    config.train.steps_per_dispatch = 0  # at most; 0: many on accelerators with a resident corpus, else 1

    # What the SVM of setup=probe sees.
    config.embedding = "cpc"  # or, to compare: cpc_untrained, logmel_statistics, IS10, ComParE_2016, eGeMAPSv02
    config.normalise = choice["normalise"]
    config.features = "logmel"

    config.eval = ml_collections.ConfigDict()
    config.eval.protocol = choice["protocol"]
    config.eval.folds = choice["folds"] or config_lib.usual_folds(choice["corpus"], 5)  # 0: 10, or as a class has
    config.eval.tested = ""  # of several corpora, which are tested, joined by +; "" is each in turn
    config.eval.linear_c = (0.001, 0.01, 0.1, 1.0)  # probe: kernel and C are chosen inside the training folds;
    config.eval.rbf_c = (1.0, 10.0, 100.0)  # () leaves a kernel out
    config.eval.inner_folds = 5
    config.eval.clip = 0.0  # bound of standardised embeddings in the classifier; 0 is off
    config.eval.baseline = "auto"  # openSMILE eGeMAPS + SVM on the same folds: yes, no, auto (where it is installed)
    config.eval.untrained = True  # the same model before training
    config.eval.probes = True  # probe: speaker identification and label efficiency
    config.eval.report = True
    config.final_model = True  # keep a recognizer fitted on all the data for `predict`; not for probe

    if config_lib.one_of("recipe", choice["recipe"], ("paper", "small")) == "small" or demo:
        # A few hundred steps need larger ones than the 2e-4 of the paper. Tried on RAVDESS only.
        config.pretrain.seconds = 2.56
        config.pretrain.batch_size = 16
        config.pretrain.epochs = 20
        config.pretrain.learning_rate = 1e-3
        config.pretrain.schedule = "cosine"
        config.pretrain.warmup_steps = 100
    if demo:
        config.cpc.channels = 64
        config.cpc.context = 128
        config.pretrain.seconds = config.joint.seconds = 1.6
        config.recognizer.heads = 4
        config.recognizer.head_dim = 32
        config.recognizer.seconds = 4.0
        config.recognizer.batch_size = 32
        config.recognizer.epochs = 20
        config.recognizer.learning_rate = 1e-3
    if choice["tiny"]:
        config.cpc.channels = 16
        config.cpc.context = 16
        config.pretrain.seconds = config.joint.seconds = 1.0
        config.recognizer.seconds = 1.0
        config.pretrain.epochs = config.recognizer.epochs = 1
        config.eval.linear_c = (0.1,)
        config.eval.rbf_c = ()
    return config.lock()


def _data(corpus: str, labels: str) -> ml_collections.ConfigDict:
    return ml_collections.ConfigDict({
        "corpus": corpus,
        "manual_dir": "",  # the corpus' archive, its folder, the unpacked tree; for corpus=folder your recordings
        "manifest": "",  # CSV or JSON lines, for corpus=manifest
        "pattern": "",  # what names of files say, for corpus=folder, such as {speaker}_{label}_*.wav
        "allow_outside": False,  # may a manifest name files outside its folder?
        "subset": "",  # such as train-clean-100 of librispeech; "" is what the distribution holds
        "labels": labels,  # classes, such as angry,happy+excited,sad; all; usual: what is customary for the corpus
        "where": "",  # field=pattern, such as sentence=impro*
        "trim": False,  # leave out digital silence at the ends of utterances?
        "download": True,  # may the corpus be fetched from its site?
        "on_error": "raise",  # or "skip": leave bad audio out, and count it
        "cache_dir": "",  # records and features; "" is $SERCL_CACHE or ~/.cache/sercl_jax (pretrain_data: as data)
        "workers": 0,  # processes for decoding and features; 0 is one per CPU
    })
