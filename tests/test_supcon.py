"""The stages of cross-corpus SupCon: batches, losses on any number of devices, what trains and how fast."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from mapped import step

from sercl_jax import config as config_lib
from sercl_jax import encodings, pair_losses, train
from sercl_jax.encoders import CpcEncoder, TransformerEncoder
from sercl_jax.encodings import Mixture
from sercl_jax.errors import UserError
from sercl_jax.methods import supcon, supcon_recipes
from sercl_jax.models.attentive import AttentivePooling, Classifier
from sercl_jax.models.cpc import CpcSettings, initializer
from sercl_jax.models.speech_config import NAMED
from sercl_jax.pretrained import random_encoder
from sercl_jax.types import Frames

pytestmark = pytest.mark.usefixtures("quick_compilation")
TRANSFORMER = TransformerEncoder(NAMED["tiny"])
CPC = CpcEncoder(CpcSettings(channels=6, context=5, future=2, negatives=3))


@pytest.fixture(scope="module")
def params():
    """Trained part of the tiny Transformer, pooling and classifier of 3 classes."""
    _, trained = TRANSFORMER.split(random_encoder(NAMED["tiny"], 0)[1]["params"])
    pooled = np.zeros((1, 32), np.float32)
    return {"encoder": trained,
            "pooling": AttentivePooling().init(jax.random.key(1), pooled[:, None], np.ones((1, 1), bool))["params"],
            "classifier": Classifier(3, 8).init(jax.random.key(2), pooled)["params"]}


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    counts = np.array([7, 5, 7, 3, 6, 7, 2, 7])
    mask = np.arange(7)[None] < counts[:, None]
    x = np.where(mask[..., None], rng.normal(size=(8, 7, 32)), 0).astype(np.float32)
    place = np.arange(8)
    return {"x": x, "mask": mask, "index": np.arange(30, 38, dtype=np.int32), "positive": place < 4,
            "half": ((place >= 2) & (place < 4)).astype(np.int32), "class": rng.integers(0, 3, 8).astype(np.int32),
            "valid": place != 5}


@pytest.mark.parametrize(("loss", "heads"), [
    (supcon.contrastive_loss(TRANSFORMER, supcon_recipes.Contrast()), ["pooling"]),
    (supcon.finetune_loss(TRANSFORMER, 8, 3), ["pooling", "classifier"])], ids=["contrastive", "finetune"])
def test_any_number_of_devices_gives_one_loss_and_gradient(params, batch, loss, heads):
    params = {name: params[name] for name in ["encoder", *heads]}
    one, four = (step(loss, params, batch, n) for n in (1, 4))
    assert max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(one[2]["encoder"])) > 0
    jax.tree.map(lambda u, v: np.testing.assert_allclose(u, v, rtol=2e-3, atol=2e-5), (four[0], four[2]),
                 (one[0], one[2]))


def test_the_contrastive_loss_is_that_of_the_pooled_vectors(params, batch):
    calm = TransformerEncoder(replace(
        NAMED["tiny"], hidden_dropout=0.0, activation_dropout=0.0, attention_dropout=0.0, feat_proj_dropout=0.0,
        layerdrop=0.0, apply_spec_augment=False))
    contrast = supcon_recipes.Contrast(contrast_weight=0.3, margin_weight=2.0, pairing="all", margin=0.1)
    found = step(supcon.contrastive_loss(calm, contrast), params, batch, 2)
    h = calm.layers(params["encoder"], batch["x"], batch["mask"])[-1]
    pooled = AttentivePooling().apply({"params": params["pooling"]}, h, batch["mask"])
    expected = (0.3 * pair_losses.contrastive(pooled, batch["positive"])[0]
                + 2 * pair_losses.cosine_margin(pooled, batch["positive"], batch["half"], margin=0.1,
                                                pairing="all")[0])
    assert float(found[0]) == pytest.approx(float(expected), rel=1e-4)


def test_cross_entropy_is_over_the_valid_utterances_of_all_devices(params, batch):
    found = step(supcon.classifier_loss(8, 3), {k: params[k] for k in ("pooling", "classifier")}, batch, 4)
    pooled = AttentivePooling().apply({"params": params["pooling"]}, batch["x"], batch["mask"])
    logits = np.asarray(Classifier(3, 8).apply({"params": params["classifier"]}, pooled), np.float64)
    each = [-np.log(np.exp(row[k]) / np.exp(row).sum()) for row, k, valid in
            zip(logits, batch["class"], batch["valid"], strict=True) if valid]
    assert float(found[0]) == pytest.approx(np.mean(each), rel=1e-5)
    right = sum(int(row.argmax() == k) for row, k, valid in zip(logits, batch["class"], batch["valid"], strict=True)
                if valid)
    assert [float(x) for x in found[1]["accuracy"]] == [right, 7]


def test_more_padding_changes_no_loss(params, batch):
    padded = {**batch, "x": np.pad(batch["x"], ((0, 0), (0, 4), (0, 0)), constant_values=3.0),
              "mask": np.pad(batch["mask"], ((0, 0), (0, 4)))}
    loss, parts = supcon.classifier_loss(8, 3), {name: params[name] for name in ("pooling", "classifier")}
    assert float(step(loss, parts, padded, 1)[0]) == pytest.approx(float(step(loss, parts, batch, 1)[0]), rel=1e-5)


# Stages on two small corpora of frames.

def _frames(seed, counts, width=6):
    rng = np.random.default_rng(seed)
    return Frames(values=rng.normal(size=(sum(counts), width)).astype(np.float32),
                  offsets=np.concatenate([[0], np.cumsum(counts)]), names=(), hop=0.01, key=f"{seed}")


LABELS = [np.array(["angry", "sad", "angry", "sad", "happy", "angry"] * 2), np.array(["sad", "angry", "bored"] * 4)]
TRAIN = [np.array([0, 1, 2, 3, 4, 8]), np.array([1, 2, 3, 4, 9, 11])]


@pytest.fixture(scope="module")
def mixture():
    return Mixture([_frames(1, list(range(90, 330, 20))), _frames(2, list(range(30, 150, 10)))])


def _recipe(**knobs):
    config = config_lib.base("supcon", "corpora=emodb+ravdess,encoder=cpc")
    for stage in (config.contrastive, config.finetune, config.classifier):
        stage.update(batch_size=8, epochs=4, fall_first=2, fall_every=1)
    config.update_from_flattened_dict(knobs)
    return supcon_recipes.read(config)


def _start():
    return CPC.split(initializer(CPC.settings)(jax.random.key(0), {})["params"])[1]


def test_frames_of_several_corpora_stand_one_after_another(mixture):
    assert len(mixture) == 24
    for u in (0, 11, 12, 23):
        part, row = divmod(u, 12)
        np.testing.assert_array_equal(mixture[u], mixture.parts[part][row])
    cut = mixture.padded(np.array([11, 12]), 50, places=np.array([1.0, 0.7]))
    np.testing.assert_array_equal(cut["x"][0], mixture[11][-50:])
    np.testing.assert_array_equal(cut["x"][1, :30], mixture[12])
    assert cut["mask"].sum(1).tolist() == [50, 30]
    assert not cut["x"][1, 30:].any()


def test_contrastive_batches_hold_training_utterances_of_one_emotion_and_others(mixture):
    stage = supcon.contrastive_stage(_recipe(), 1e-3, CPC, _start(), mixture, TRAIN, LABELS, 0, {})
    everything = np.concatenate(LABELS)
    allowed = set(TRAIN[0].tolist()) | {12 + row for row in TRAIN[1].tolist()}
    assert (stage.steps_per_epoch, stage.steps) == (1, 4)
    emotions = set()
    for number in range(30):
        made = stage.batch(number)
        assert set(made["index"].tolist()) <= allowed
        positive = everything[made["index"][made["positive"]]]
        assert len(set(positive)) == 1
        assert positive[0] not in everything[made["index"][~made["positive"]]]
        emotions.add(str(positive[0]))
        again = stage.batch(number)
        assert all(np.array_equal(made[name], again[name]) for name in made)
    assert emotions == {"angry", "sad", "happy", "bored"}


def test_batches_have_few_lengths_and_no_more_than_the_cut(mixture):
    recipe = _recipe(**{"finetune.seconds": 2.5})
    stage = supcon.finetune_stage(recipe, 1e-3, CPC, _start(), mixture, np.arange(24),
                                  np.zeros(24, int), 2, 0, {})
    lengths = {stage.batch(number)["x"].shape[1] for number in range(30)}
    assert lengths <= {100, 200, 250}
    assert 250 in lengths


def test_every_training_utterance_is_seen_once_an_epoch(mixture):
    rows = np.arange(3, 24)
    stage = supcon.finetune_stage(_recipe(), 1e-3, CPC, _start(), mixture, rows, np.zeros(24, int), 2, 0, {})
    assert stage.steps_per_epoch == 3
    seen = [made["index"][made["valid"]] for made in map(stage.batch, range(3))]
    assert sorted(np.concatenate(seen).tolist()) == rows.tolist()


def test_the_first_step_moves_the_encoder_at_its_share_of_the_rate(mixture):
    stage = supcon.contrastive_stage(_recipe(), 0.01, CPC, _start(), mixture, TRAIN, LABELS, 0, {})
    one = supcon.contrastive_stage(_recipe(**{"contrastive.epochs": 1, "contrastive.fall_first": 1}), 0.01, CPC,
                                   _start(), mixture, TRAIN, LABELS, 0, {})
    before = stage.init(train.init_key(0), stage.batch(0))["params"]
    after = train.run(one, workdir=None, seed=0, progress=False, devices=jax.devices()[:1]).variables["params"]
    moved = jax.tree.map(lambda a, b: np.abs(np.asarray(a) - b).max(), after, before)
    # Adam's first step is the rate, whatever the gradient.
    assert float(moved["encoder"]["gru"]["input_kernel"]) == pytest.approx(0.004, rel=1e-2)
    assert float(moved["pooling"]["vector"]) == pytest.approx(0.01, rel=1e-2)


def test_an_encoder_rate_of_zero_leaves_it_bit_for_bit(mixture):
    recipe = _recipe(**{"contrastive.encoder_rate": 0.0})
    stage = supcon.contrastive_stage(recipe, 0.01, CPC, _start(), mixture, TRAIN, LABELS, 0, {})
    after = train.run(stage, workdir=None, seed=0, progress=False, devices=jax.devices()[:1]).variables["params"]
    jax.tree.map(np.testing.assert_array_equal, after["encoder"], jax.tree.map(np.asarray, _start()))


def test_training_tells_emotions_apart_that_are_easy(tmp_path):
    """Corpora whose frames are their emotion's: positives end up alike, negatives do not, and a classifier knows."""
    rng = np.random.default_rng(0)
    centres = {label: rng.normal(size=6) for label in ("angry", "sad", "happy", "bored")}
    parts = []
    for seed, labels in enumerate(LABELS):
        rows = [centres[label] + 0.3 * rng.normal(size=(20, 6)) for label in labels]
        parts.append(Frames(values=np.concatenate(rows).astype(np.float32), offsets=np.arange(13) * 20, names=(),
                            hop=0.01, key=str(seed)))
    mixture = Mixture(parts)
    recipe = _recipe(**{"contrastive.epochs": 60, "contrastive.fall_first": 40, "classifier.epochs": 40,
                        "classifier.fall_first": 30, "classifier.learning_rate": 0.02})
    stage = supcon.contrastive_stage(recipe, 0.02, CPC, _start(), mixture, TRAIN, LABELS, 0, {})
    history = train.run(stage, workdir=tmp_path, seed=0, progress=False, log_every=10).history
    assert history[-1]["positive_similarity"] > history[-1]["negative_similarity"] + 0.5
    params = train.run(stage, workdir=tmp_path, seed=0, progress=False).variables["params"]
    frames = Mixture([encodings.contextual(mixture, np.arange(12), CPC, params["encoder"], directory=tmp_path / "s",
                                           progress=False)])
    numbers = np.unique(LABELS[0], return_inverse=True)[1]
    lengths = encodings.lengths(CPC)
    stage = supcon.classifier_stage(recipe.classifier, recipe.hidden, frames, lengths, TRAIN[0], numbers, 3,
                                    params["pooling"], 0, {})
    heads = train.run(stage, workdir=None, seed=0, progress=False).variables["params"]
    logits = supcon.classify(frames, lengths, np.arange(12), heads, recipe.hidden, 3)
    assert (logits.argmax(1) == numbers).mean() > 0.9


@pytest.mark.parametrize(("knob", "value", "words"), [
    ("contrastive.batch_size", 10, "quarters"), ("contrastive.temperature", 0.0, "above 0"),
    ("contrastive.pairing", "every", "unknown"), ("finetune.rates", (), "at least one learning rate"),
    ("contrastive.margin_weight", -1.0, "must not be negative"), ("classifier.hidden", 0, "at least 1"),
    ("finetune.fall_first", 0, "at least 1 epoch"), ("classifier.epochs", 0, "at least 1"),
    ("finetune.accumulate", 0, "at least 1")])
def test_knobs_out_of_range_are_named(knob, value, words):
    with pytest.raises(UserError, match=words) as error:
        _recipe(**{knob: value})
    assert knob.split(".")[0] in str(error.value)
