"""Adapted speech encoders in use, against what their training computes for the same recordings."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from small_corpus import write

from sercl_jax import calibration, checkpoint, encodings, experiment, files, pretrained, runs
from sercl_jax import config as config_lib
from sercl_jax.encoders import CpcEncoder, TransformerEncoder
from sercl_jax.inference import loading, speech
from sercl_jax.inference.pipeline import EMBEDDING, FRAMES, PROBABILITY
from sercl_jax.methods import supcon
from sercl_jax.models.attentive import AttentivePooling
from sercl_jax.models.cpc import CpcSettings, initializer
from sercl_jax.models.speech_config import NAMED
from sercl_jax.types import Utterance
from sercl_jax.workbench import Workbench

LABELS = ["angry", "neutral", "sad"]
HIDDEN = 16
HUBERT = replace(NAMED["tiny"], model_type="hubert", feat_extract_norm="layer", do_stable_layer_norm=True,
                 conv_bias=True, normalise=True)
CPC = CpcSettings(channels=8, context=12, future=3, negatives=4, norm="channel")


class Recordings:
    """A corpus of noise of several lengths, one of them a single frame of a Transformer."""

    name, key = "noise", "noise"
    lengths = (410, 16_000, 7777, 9000)
    utterances = tuple(Utterance(id=str(n), num_samples=n) for n in lengths)

    def __len__(self):
        return len(self.lengths)

    def waveform(self, u):
        return np.random.default_rng(u).integers(-4000, 4000, self.lengths[u]).astype(np.int16)


def drawn(encoder, seed=0):
    """Parameters of an encoder and its heads."""
    if isinstance(encoder, CpcEncoder):
        params = jax.tree.map(np.asarray, dict(initializer(encoder.settings)(jax.random.key(seed), {})["params"]))
        width = encoder.settings.context
    else:
        params = pretrained.random_encoder(encoder.config, seed)[1]["params"]
        width = encoder.config.hidden_size
    rng = np.random.default_rng(seed)
    dense = {name: {"kernel": rng.normal(size=shape).astype(np.float32), "bias": np.ones(shape[1], np.float32)}
             for name, shape in (("dense", (width, HIDDEN)), ("logits", (HIDDEN, 3)))}
    return params, {"pooling": {"vector": rng.normal(size=width).astype(np.float32)}, "classifier": dense}


def expected(encoder, params, heads, corpus, folder):
    """Logits and frames of the last layer, as an adaptation makes them."""
    frozen, trained = encoder.split(params)
    mixture = encodings.Mixture([encodings.frozen(corpus, encoder, frozen, cache_dir=folder, progress=False)])
    rows = np.arange(len(corpus))
    last = encodings.Mixture([encodings.contextual(mixture, rows, encoder, trained, directory=folder,
                                                   progress=False)])
    return supcon.classify(last, encodings.lengths(encoder), rows, heads, HIDDEN, 3), last


@pytest.fixture(scope="module", params=["wavlm", "hubert", "cpc"])
def stored(request, tmp_path_factory):
    """A workdir with a model of each kind of encoder, and what the training's functions give."""
    encoder = {"wavlm": TransformerEncoder(NAMED["tiny"]), "hubert": TransformerEncoder(HUBERT),
               "cpc": CpcEncoder(CPC)}[request.param]
    params, heads = drawn(encoder)
    workdir = tmp_path_factory.mktemp(request.param)
    config = {"method": "supcon", "target": "noise", "data": {"trim": False}, "encoder": {"kind": request.param}}
    files.write_json(workdir / "config.json", config)
    files.write_json(workdir / "results.json", {"corpus": "noise", "synthetic": True})
    checkpoint.save_model(
        workdir / "model", {"encoder": {"params": params}, "heads": {"params": heads}},
        {"calibration/scale": np.float32(0.5), "calibration/bias": np.array([0.1, 0, -0.1], np.float32)},
        {"config": config, "labels": LABELS, "encoder": encoder.facts(), "hidden": HIDDEN, "seconds": 2.0,
         "calibration": "in these words"})
    return workdir, *expected(encoder, params, heads, Recordings(), workdir / "cache"), heads


def test_probabilities_and_embeddings_are_those_of_the_training_s_functions(stored):
    workdir, logits, last, heads = stored
    model, corpus = loading.load(workdir), Recordings()
    waveforms = [corpus.waveform(u) for u in range(len(corpus))]
    calibrated = calibration.Calibration(0.5, np.array([0.1, 0, -0.1])).apply(logits)
    frames = model.embed(waveforms, level="frame")
    embeddings = model.embed(waveforms)
    for u, prediction in enumerate(model.predict(waveforms)):
        assert tuple(prediction.values) == tuple(LABELS)
        np.testing.assert_allclose(list(prediction.values.values()), calibrated[u], atol=2e-5)
        np.testing.assert_allclose(frames[u], last[u], rtol=1e-4, atol=2e-5)
        pooled = AttentivePooling().apply({"params": heads["pooling"]}, last[u][None],
                                          np.ones((1, len(last[u])), bool))
        np.testing.assert_allclose(embeddings[u], pooled[0], rtol=1e-4, atol=2e-5)


def test_what_is_in_the_padding_and_which_bucket_it_is_changes_nothing(stored):
    pipeline = loading.pipeline_of(stored[0])
    waveform = Recordings().waveform(2)
    names = [PROBABILITY, EMBEDDING]
    plain = pipeline.run(pipeline.inputs.batch([{"waveform": waveform}], 16_000), names)
    longer = pipeline.inputs.batch([{"waveform": waveform}] * 2, 32_000)
    longer["waveform"][:, len(waveform):] = 12_345
    for name, values in pipeline.run(longer, names).items():
        np.testing.assert_allclose(values[1:], plain[name], rtol=1e-4, atol=1e-5)


def test_the_card_tells_frames_calibration_and_what_it_was_trained_on(stored):
    card = loading.load(stored[0]).card
    assert (card.method, card.kind, card.corpus, card.seconds) == ("supcon", "classes", "noise", 2.0)
    assert card.calibration == "in these words"
    assert "synthetic" in card.notes[0]
    assert card.embedding == card.frames == stored[2].parts[0].values.shape[1]
    counts = np.diff(stored[2].parts[0].offsets)
    told = [max(1 + (n - card.frame_reach) // card.frame_hop, 1) for n in Recordings.lengths]
    assert told == counts.tolist()


def test_frames_of_published_networks_are_20_ms_apart():
    assert speech.grid(TransformerEncoder(NAMED["wavlm-base-plus"])) == (320, 400)
    assert speech.grid(CpcEncoder(CPC)) == (160, 160)


def test_programs_are_exported_for_any_number_of_recordings(stored):
    pipeline = loading.pipeline_of(stored[0])
    batch, = jax.export.symbolic_shape("b")
    shapes = {"waveform": jax.ShapeDtypeStruct((batch, 16_000), np.int16),
              "samples": jax.ShapeDtypeStruct((batch,), np.int32)}
    exported = jax.export.export(jax.jit(lambda variables, given: {
        **pipeline.apply(variables, given), FRAMES: pipeline.frames(variables, given)}))(pipeline.variables, shapes)
    made = jax.tree.unflatten(exported.out_tree, exported.out_avals)
    assert {name: str(values.shape[0]) for name, values in made.items()} == {
        PROBABILITY: "b", EMBEDDING: "b", FRAMES: "b"}
    assert [made[name].shape[-1] for name in (PROBABILITY, EMBEDDING, FRAMES)] == [
        3, pipeline.card.embedding, pipeline.card.frames]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of the experiment: a classifier on an encoder as it is."""
    folder = tmp_path_factory.mktemp("speech")
    write(folder / "one")
    write(folder / "two", seed=1)
    config = config_lib.base("supcon", "corpora=manifest+manifest,encoder=tiny,tiny,folds=2,protocol=speakers,"
                                       "target=manifest,arm=frozen")
    config.data.update(cache_dir=str(folder / "cache"), workers=1)
    config.corpora.manifest.manifest = str(folder / "one" / "manifest.csv")
    config.corpora.manifest_2.manifest = str(folder / "two" / "manifest.csv")
    config.classifier.batch_size = 8
    config.eval.update(similarity=False, report=False)
    experiment.run(config.lock(), folder / "run", quiet=True)
    return folder / "run", Workbench(progress=False).target(config)


def test_a_finished_run_classifies_with_probabilities_calibrated_on_its_folds(finished):
    workdir, corpus = finished
    model = loading.load(workdir)
    fitted = calibration.of_runs([runs.load(path) for path in sorted((workdir / "predictions/ours").glob("*.npz"))])
    assert model.card.calibration == fitted.words
    assert model.card.seconds == 2.0
    variables, arrays, facts = checkpoint.load_model(workdir / "model")
    encoder = speech.encoder_of(facts["encoder"])
    rows = np.arange(len(corpus))
    frozen, trained = encoder.split(variables["encoder"]["params"])
    mixture = encodings.Mixture([encodings.frozen(corpus, encoder, frozen, cache_dir=workdir, progress=False)])
    last = encodings.Mixture([encodings.contextual(mixture, rows, encoder, trained, directory=workdir,
                                                   progress=False)])
    logits = supcon.classify(last, encodings.lengths(encoder), rows, variables["heads"]["params"], facts["hidden"], 3)
    np.testing.assert_allclose(arrays["calibration/scale"], fitted.scale, rtol=1e-6)
    made = [prediction.values for prediction in model.predict([corpus.waveform(u) for u in rows])]
    np.testing.assert_allclose([list(values.values()) for values in made], fitted.apply(logits), atol=2e-5)
    assert "random weights" in model.card.notes[-1]
    assert model.card.facts["protocol"]["setup"] == "classifier on the encoder as it is"


def test_a_model_without_a_calibration_says_so(stored, tmp_path):
    workdir, logits, _, _ = stored
    variables, _, facts = checkpoint.load_model(workdir / "model")
    checkpoint.save_model(tmp_path / "model", variables, {}, {**facts, "calibration": ""})
    (tmp_path / "config.json").symlink_to(workdir / "config.json")
    files.write_json(tmp_path / "results.json", {"corpus": "noise", "synthetic": False})
    model = loading.load(tmp_path)
    assert model.card.calibration.startswith("not calibrated")
    powers = np.exp(logits[1] - logits[1].max())
    found = model.predict(Recordings().waveform(1)).values
    np.testing.assert_allclose(list(found.values()), powers / powers.sum(), atol=2e-5)
