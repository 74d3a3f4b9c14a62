"""CPC and its recognizers in use, against what their training computes for the same recordings."""

import json
import shutil

import jax
import numpy as np
import pytest
from small_corpus import write

from sercl_jax import checkpoint, experiment, files, pretraining, representations, workdirs
from sercl_jax import config as config_lib
from sercl_jax.errors import UserError
from sercl_jax.inference import contexts, loading, ratings_model
from sercl_jax.inference.model import Model
from sercl_jax.inference.pipeline import EMBEDDING, FRAMES, RATING
from sercl_jax.methods import cpc, cpc_recipes
from sercl_jax.ratings import DIMENSIONS
from sercl_jax.recognition import Recognition
from sercl_jax.workbench import Workbench


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ratings")
    write(folder / "corpus", rated=True)
    return folder


def config_of(place, setup, **knobs):
    config = config_lib.base("cpc", f"corpus=manifest,tiny,setup={setup}")
    for section in (config.data, config.pretrain_data):
        section.update(corpus="manifest", manifest=str(place / "corpus" / "manifest.csv"),
                       cache_dir=str(place / "cache"), workers=1)
    config.pretrain.update(seconds=0.4, held_out=0.25, batch_size=8)
    config.joint.seconds = 0.6
    config.recognizer.update(batch_size=8, heads=2, head_dim=8, hidden=16, learning_rate=3e-3)
    config.eval.report = False
    if setup == "pre":
        config.init_from = str(place / "pretrain")
    config.update_from_flattened_dict(knobs)
    return config.lock()


@pytest.fixture(scope="module")
def runs(place):
    """A model of each set-up: two finished runs, and final models without the folds before."""
    for setup in ("pretrain", "pre"):
        experiment.run(config_of(place, setup), place / setup, quiet=True)
    for setup in ("sup", "joint"):
        config = config_of(place, setup)
        workdirs.claim(config, place / setup)
        store = place / setup / "train"
        Recognition(config, place / setup, Workbench(progress=False), store, True)._final_model(setup)
    return place


@pytest.fixture(scope="module")
def corpus(place):
    return Workbench(progress=False).corpus(config_of(place, "sup"))


def waveforms(corpus):
    return [corpus.waveform(u) for u in range(len(corpus))]


def recognized(place, setup, corpus):
    """[U, 3] by the functions of the training."""
    config = config_of(place, setup)
    variables, arrays, _ = checkpoint.load_model(place / setup / "model")
    targets = cpc.Targets(np.zeros((36, 3), np.float32), arrays["targets/mean"], arrays["targets/scale"])
    rows = np.arange(len(corpus))
    if setup == "joint":
        params = {name: variables[name]["params"] for name in ("cpc", "recognizer")}
        return cpc.recognize_jointly(cpc_recipes.joint(config), cpc_recipes.pretraining(config).settings,
                                     {"params": params}, corpus, targets, rows)
    frames = (Workbench(progress=False).frames(config) if setup == "sup" else representations.contexts(
        corpus, *pretraining.load(place / "pretrain", 0), cache_dir=place / "cache", progress=False))
    return cpc.recognize(cpc_recipes.recognition(config), variables["recognizer"], frames, targets, rows)


@pytest.mark.parametrize("setup", ["sup", "joint", "pre"])
def test_ratings_are_those_of_the_training_s_functions(runs, corpus, setup):
    """sup's log mel energies are computed on the device in single precision."""
    model = loading.load(runs / setup)
    made = model.predict(waveforms(corpus))
    expected = recognized(runs, setup, corpus)
    assert np.ptp(expected, 0).min() > 1e-3
    for prediction, row in zip(made, expected, strict=True):
        assert prediction.kind == "ratings"
        assert tuple(prediction.values) == DIMENSIONS
        np.testing.assert_allclose(list(prediction.values.values()), row, atol=2e-4)


@pytest.mark.parametrize("setup", ["sup", "pre"])
def test_company_and_padding_change_nothing(runs, corpus, setup):
    model = loading.load(runs / setup)
    rng = np.random.default_rng(0)
    some = [rng.integers(-3000, 3000, n).astype(np.int16) for n in (400, 9000, 9600, 5555)]
    together = model.embed([*some, *waveforms(corpus)[:4]])
    for waveform, embedding in zip(some, together, strict=False):
        assert embedding.shape == (model.card.embedding,)
        assert np.isfinite(embedding).all()
        np.testing.assert_allclose(model.embed(waveform), embedding, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("setup", ["sup", "joint", "pretrain"])
def test_what_is_in_the_padding_and_which_bucket_it_is_changes_nothing(runs, setup):
    pipeline = loading.pipeline_of(runs / setup)
    names = [EMBEDDING] if setup == "pretrain" else [EMBEDDING, RATING]
    waveform = np.random.default_rng(1).integers(-3000, 3000, 6000).astype(np.int16)
    plain = pipeline.run(pipeline.inputs.batch([{"waveform": waveform}], 9600), names)
    longer = pipeline.inputs.batch([{"waveform": waveform}], 16_000)
    longer["waveform"][:, 6000:] = 12_345
    for name, values in pipeline.run(longer, names).items():
        np.testing.assert_allclose(values, plain[name], rtol=1e-5, atol=1e-5)


def test_a_pre_training_s_embeddings_are_those_that_are_stored(runs, corpus):
    model = loading.load(runs / "pretrain")
    assert model.card.kind == "representation"
    with np.load(runs / "pre" / "embeddings.npz") as stored:
        np.testing.assert_allclose(np.stack(model.embed(waveforms(corpus))), stored["embeddings"], atol=1e-5)
    with pytest.raises(UserError, match="use embed"):
        model.predict(corpus.waveform(0))


@pytest.mark.parametrize("setup", ["pre", "pretrain"])
def test_frames_are_cpc_s_context(runs, corpus, setup):
    expected = representations.contexts(corpus, *pretraining.load(runs / "pretrain", 0), cache_dir=runs / "cache",
                                        progress=False)
    made = loading.load(runs / setup).embed(waveforms(corpus), level="frame")
    for u, frames in enumerate(made):
        np.testing.assert_allclose(frames, expected[u], atol=1e-5)


def test_log_mel_energies_are_no_embedding_of_frames(runs, corpus):
    model = loading.load(runs / "sup")
    assert model.card.frames == 0
    with pytest.raises(UserError, match="no frame embeddings"):
        model.embed(corpus.waveform(0), level="frame")


def test_a_recognizer_s_embedding_is_what_it_pools(runs, corpus):
    """Its dense layers make the ratings of it."""
    model, variables = loading.load(runs / "pre"), checkpoint.load_model(runs / "pre" / "model")
    x = np.stack(model.embed(waveforms(corpus)))
    assert x.shape == (36, 2 * 16)
    params, arrays = variables[0]["recognizer"]["params"], variables[1]
    for name in ("dense_1", "dense_2", "ratings"):
        x = x @ params[name]["kernel"] + params[name]["bias"]
        x = x if name == "ratings" else np.maximum(x, 0)
    expected = [list(prediction.values.values()) for prediction in model.predict(waveforms(corpus))]
    np.testing.assert_allclose(x * arrays["targets/scale"] + arrays["targets/mean"], expected, atol=1e-4)


def test_windows_are_no_longer_than_what_the_training_saw(runs, corpus):
    model = loading.load(runs / "joint")
    assert model.card.seconds == 0.6
    long = np.concatenate(waveforms(corpus)[:6])
    made = model.predict(long)
    assert len(made.windows) > 3
    assert max(window.end - window.start for window in made.windows) <= 0.6 + 1e-9
    with pytest.raises(UserError, match=r"at most 0\.6 s"):
        model.predict(long, window=2.0)


def test_the_card_tells_the_scale_and_what_is_used_is_small(runs):
    card = loading.load(runs / "pre").card
    assert (card.method, card.kind, card.labels) == ("cpc", "ratings", DIMENSIONS)
    assert (card.embedding, card.frames, card.frame_hop) == (32, 16, 160)
    assert "activation goes from" in card.notes[-1]
    assert card.facts["protocol"]["setup"] == "pre"
    _, _, stored = checkpoint.load_model(runs / "pre" / "model")
    assert stored["seconds"] == 2.0  # half a second, but no window is shorter than that


def test_features_that_only_the_host_has_are_read_frame_by_frame(runs, corpus, monkeypatch):
    on_device = loading.load(runs / "sup").predict(waveforms(corpus)[:5])
    monkeypatch.setattr(ratings_model, "ON_DEVICE", {})
    model = loading.load(runs / "sup")
    assert model._runner.inputs.facts() == {"kind": "frames", "features": "logmel", "lengths": (100,)}
    for ours, theirs in zip(model.predict(waveforms(corpus)[:5]), on_device, strict=True):
        np.testing.assert_allclose(list(ours.values.values()), list(theirs.values.values()), atol=2e-4)


@pytest.mark.parametrize("features", sorted(ratings_model.ON_DEVICE))
def test_lengths_of_waveforms_are_those_of_whole_frames(features):
    """A window may have as many frames as the training cut utterances to."""
    function, rest = ratings_model.ON_DEVICE[features]
    for frames in (40, 100):
        x, mask = jax.eval_shape(function, jax.ShapeDtypeStruct((2, frames * 160 + rest), np.int16),
                                 jax.ShapeDtypeStruct((2,), np.int32))
        assert x.shape[:2] == mask.shape == (2, frames)


def test_a_cpc_that_is_not_stored_is_told(place, runs, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "model").symlink_to(runs / "sup" / "model")
    text = (runs / "sup" / "config.json").read_text(encoding="utf-8")
    (folder / "config.json").write_text(text.replace('"features": "logmel"', '"features": "logmel+cpc"'))
    with pytest.raises(UserError, match="whose CPC is not part of its model"):
        loading.load(folder)


@pytest.mark.parametrize("setup", ["sup", "pre"])
def test_programs_are_exported_for_any_number_of_recordings(runs, setup):
    pipeline = loading.pipeline_of(runs / setup)
    batch, = jax.export.symbolic_shape("b")
    shapes = {"waveform": jax.ShapeDtypeStruct((batch, 16_000), np.int16),
              "samples": jax.ShapeDtypeStruct((batch,), np.int32)}
    exported = jax.export.export(jax.jit(pipeline.apply))(pipeline.variables, shapes)
    waveform = np.random.default_rng(1).integers(-3000, 3000, (3, 16_000)).astype(np.int16)
    given = {"waveform": waveform, "samples": np.array([16_000, 9000, 300], np.int32)}
    made = exported.call(pipeline.variables, given)
    for name, values in pipeline.run(given, list(made)).items():
        np.testing.assert_allclose(made[name], values, rtol=1e-4, atol=1e-5)
    if pipeline.frames is not None:
        frames = jax.export.export(jax.jit(pipeline.frames))(pipeline.variables, shapes)
        np.testing.assert_allclose(frames.call(pipeline.variables, given), pipeline.run(given, [FRAMES])[FRAMES],
                                   rtol=1e-4, atol=1e-5)


def test_what_the_corpus_does_not_rate_is_not_told(runs, corpus, tmp_path):
    shutil.copytree(runs / "sup", tmp_path / "run", ignore=shutil.ignore_patterns("train"))
    sheet = json.loads((tmp_path / "run/model/model.json").read_text(encoding="utf-8"))
    del sheet["metadata"]["range"]["valence"]
    files.write_json(tmp_path / "run/model/model.json", sheet)
    made = loading.load(tmp_path / "run").predict(corpus.waveform(0)).values
    whole = loading.load(runs / "sup").predict(corpus.waveform(0)).values
    assert made == {name: whole[name] for name in ("activation", "dominance")}


def test_another_seed_s_pre_training_must_be_there(runs):
    assert isinstance(loading.load(runs / "pretrain", seed=0), Model)
    with pytest.raises(UserError, match="no pre-training with seed 7; it has 0"):
        loading.load(runs / "pretrain", seed=7)


def test_statistics_over_time_ignore_the_padding():
    x = np.random.default_rng(0).normal(size=(1, 9, 2)).astype(np.float32)
    mask = np.arange(9)[None] < 5
    np.testing.assert_allclose(contexts.mean_and_deviation(x, mask)[0], representations.statistics(x[0, :5]),
                               rtol=1e-5)
