"""SERUGCL: unsupervised graph contrastive learning, then an SVM on the embeddings.

    python -m sercl_jax.main --config=configs/serugcl.py
    python -m sercl_jax.main --config=configs/serugcl.py:corpus=emodb,protocol=loso --config.data.manual_dir=DIR
    python -m sercl_jax.main --config=configs/serugcl.py:corpus=folder --config.data.manual_dir=DIR

The first line trains on the embedded synthetic corpus, about three minutes on two CPU cores; the README
lists the scores to expect. Choices, after the colon and separated by commas:

    corpus=demo|emodb|iemocap|folder|...       which utterances; emodb+ravdess: several, each tested by training on
                                               the others (--config.eval.tested=ravdess tests that one alone)
    protocol=kfold|loso|speakers|session|sentence|disjoint|graphcl|file|emobox|corpus|auto    who is tested on what;
                                               `python -m sercl_jax.splits` with the same flags shows it
    folds=10                                   for kfold, graphcl and disjoint; for corpus=folder, whose protocol is
                                               auto unless you choose one, no more than the smallest class has
    training=transductive|inductive            encoder trained on all utterances, or on each fold's training part
    normalise=global|speaker|corpus            statistics of the training utterances, of each speaker or corpus
    features=is10_librosa|is10_jax|is10|logmel|cpc   low-level descriptors (_jax: on the device), or CPC's context;
                                               joined by +, side by side
    seeds=3,fold_seeds=5                       repeats, all pairs of them
    pooling=A..G|max|mean|sum|soft             Table 7 and Table 5 of the paper
    tiny                                       a few steps of a small model, to see that everything works
"""

import ml_collections

from sercl_jax import config as config_lib

CHOICES = {
    "corpus": "demo", "protocol": "", "folds": 0, "training": "transductive", "normalise": "global",
    "features": "is10_librosa", "seeds": 1, "fold_seeds": 1, "pooling": "B", "tiny": False,
}


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
    """The paper's method, with every knob present. Lines marked (open) are not stated in the paper."""
    choice = config_lib.choices(arg, CHOICES)
    config = ml_collections.ConfigDict()
    config.method = "serugcl"
    config.seed = 0  # first model seed: initial weights, views, batches, bootstrap
    config.seeds = choice["seeds"]  # how many model seeds: seed, seed + 1, ...
    config.fold_seed = 0  # first seed of the folds
    config.fold_seeds = choice["fold_seeds"]

    config.data = ml_collections.ConfigDict()
    config.data.corpus = choice["corpus"]
    config.data.manual_dir = ""  # corpus' archive, its folder, the unpacked tree; for corpus=folder your recordings
    config.data.manifest = ""  # CSV or JSON lines, for corpus=manifest
    config.data.pattern = ""  # what names of files say, for corpus=folder, such as {speaker}_{label}_*.wav
    config.data.allow_outside = False  # may a manifest name files outside its folder?
    config.data.subset = ""  # part of a distribution that has parts
    config.data.labels = "usual"  # classes, such as angry,happy+excited,sad; all; usual: customary for the corpus
    config.data.where = ""  # field=pattern, such as sentence=impro*
    config.data.trim = False  # leave out digital silence at the ends of utterances?
    config.data.emobox_dir = ""  # clone of github.com/emo-box/EmoBox, for protocol=emobox
    config.data.download = True  # may the corpus be fetched from its site?
    config.data.on_error = "raise"  # or "skip": leave bad audio out, and count it
    config.data.cache_dir = ""  # records and features; "" is $SERCL_CACHE or ~/.cache/sercl_jax
    config.data.workers = 0  # processes for decoding and features; 0 is one per CPU

    if "+" in choice["corpus"]:  # each has a section for what differs from config.data
        config.corpora = config_lib.sections(config_lib.named(choice["corpus"]), "")

    config.features = choice["features"]
    config.init_from = ""  # workdir of configs/cpc.py:setup=pretrain, for features=cpc
    config.normalise = choice["normalise"]
    config.embedding = "trained"  # or untrained, lld_statistics, IS10, ComParE_2016, eGeMAPSv02: for comparison

    config.graph = ml_collections.ConfigDict()
    config.graph.nodes = 120  # (open) longer utterances are averaged over adjacent frames
    config.graph.readout_nodes = 0  # nodes of the graph that is read out after training; 0: as many
    config.graph.edges = "knn"  # (open) or threshold; controls: none, line, random
    config.graph.k = 10  # (open) neighbours per node, before the graph is made undirected
    config.graph.threshold = 0.9  # cosine similarity, for edges=threshold

    config.views = ml_collections.ConfigDict()
    config.views.use = "fgsm+subgraph"  # or fgsm (S-F), subgraph (S-SE): Table 4
    config.views.fgsm_eps = 0.5  # (open) in standard deviations of the features
    config.views.fgsm_sign = "gradient"  # or random: the control
    config.views.node_ratio = 0.8  # (open) share of nodes that a random walk keeps
    config.views.edge_ratio = 0.2  # (open) share of edges dropped, and of random ones added

    config.encoder = ml_collections.ConfigDict()
    config.encoder.original = "gin"  # (open) kind of encoder for each view: gin or gcn; equal kinds share weights
    config.encoder.fgsm = "gcn"
    config.encoder.subgraph = "gcn"
    config.encoder.hidden = 128  # (open)
    config.encoder.layers = 3  # (open) their outputs are concatenated
    config.encoder.norm = "layer"  # (open) or none
    config.encoder.pooling = choice["pooling"]  # (open) which set of Table 7
    config.encoder.readout = "both"  # (open) embeddings from both kinds of encoder, or original
    config.encoder.input_block = "none"  # or functionals: of the frames, as a block beside the encoders' embeddings
    config.encoder.ensemble = 1  # encoders trained with different seeds, side by side
    config.encoder.projection = 128  # (open) width of the projection head
    config.encoder.aggregate = "dense"  # or segment: the same sums by another route
    config.encoder.precision = "float32"  # or bfloat16: compute only, weights stay float32

    config.loss = ml_collections.ConfigDict()
    config.loss.temperature = 0.2  # (open)
    config.loss.form = "symmetric"  # (open) or graphcl: one direction, the positive not in the denominator
    config.loss.negatives = "all"  # or within_group: only utterances of the same speaker

    config.train = ml_collections.ConfigDict()
    config.train.training = choice["training"]
    config.train.batch_size = 64  # (open) utterances, over all devices
    config.train.epochs = 60  # (open)
    config.train.optimizer = "adam"  # (open)
    config.train.learning_rate = 1e-3  # (open)
    config.train.schedule = "constant"  # (open) or cosine
    config.train.weight_decay = 0.0
    config.train.clip_norm = 0.0  # 0 is off
    config.train.log_every = 10  # steps
    config.train.checkpoint_every = 0  # steps; 0: about ten times in a training
    config.train.resident = "auto"  # does the corpus lie on the devices? yes, no; auto: on accelerators, if it fits
    config.train.steps_per_dispatch = 0  # at most; 0: many on accelerators with a resident corpus, else 1

    config.eval = ml_collections.ConfigDict()
    config.eval.protocol = choice["protocol"] or config_lib.usual_protocol(choice["corpus"], "kfold")  # see above
    config.eval.folds = choice["folds"] or config_lib.usual_folds(choice["corpus"], 10)  # 0: 10, or as a class has
    config.eval.tested = ""  # of several corpora, which are tested, joined by +; "" is each in turn
    config.eval.linear_c = (0.001, 0.01, 0.1, 1.0)  # kernel and C are chosen inside the training folds;
    config.eval.rbf_c = (1.0, 10.0, 100.0)  # () leaves a kernel out
    config.eval.inner_folds = 5
    config.eval.clip = 0.0  # bound of standardised embeddings in the classifier; 0 is off
    config.eval.speaker_embeddings = False  # with normalise=speaker: standardise each speaker's embeddings, too
    config.eval.baseline = "auto"  # openSMILE IS10 + SVM on the same folds: yes, no, auto (where it is installed)
    config.eval.untrained = True  # the same model before training, as a second baseline
    config.eval.probes = True  # speaker identification and label efficiency
    config.eval.report = True
    config.final_model = True  # fit encoder and classifier on all the data, for `predict`

    if choice["tiny"]:
        config.graph.nodes = 40
        config.encoder.hidden = 16
        config.encoder.projection = 16
        config.train.epochs = 2
        config.train.log_every = 1
        config.eval.linear_c = (0.1,)
        config.eval.rbf_c = ()
    return config.lock()
