"""Models of finished runs on recordings: they say what training computed, whatever they are computed beside."""

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from inference_runs import config_of, embeddings, run
from small_corpus import write

import sercl_jax
from sercl_jax import calibration, checkpoint, classify, resources
from sercl_jax.errors import UserError
from sercl_jax.inference import flow, graph, loading
from sercl_jax.inference.inputs import NodeInputs
from sercl_jax.inference.model import Model
from sercl_jax.inference.origin import Origin
from sercl_jax.inference.recording import Recording

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inference")
    write(folder / "corpus")
    return folder


@pytest.fixture(scope="module")
def trained(place):
    """Host features, functionals beside two encoders, and the usual protocol."""
    config = config_of(place / "corpus", "protocol=loso",
                       **{"encoder.input_block": "functionals", "encoder.ensemble": 2, "train.epochs": 1,
                          "eval.rbf_c": (10.0,), "eval.linear_c": ()})
    return config, run(config, place / "trained")


@pytest.fixture(scope="module")
def model(trained):
    return sercl_jax.load(trained[1])


@pytest.fixture(scope="module")
def paths(place):
    """The files that it was trained on."""
    return sorted(map(str, (place / "corpus").glob("*.wav")))


@pytest.fixture(scope="module")
def pretrained(place):
    return run(config_of(place / "corpus", "setup=pretrain", "cpc", **{"pretrain.epochs": 1}), place / "cpc")


def decisions_of(workdir, x):
    """What the stored classifier decides, in NumPy and double precision, and the probabilities of that."""
    _, arrays, _ = checkpoint.load_model(workdir / "model")
    stored = {part: {name.removeprefix(f"{part}/"): value for name, value in arrays.items()
                     if name.startswith(f"{part}/")} for part in ("svm", "calibration")}
    decided = classify.FittedSvm.from_arrays(stored["svm"]).decision(x)
    scale, bias = (stored["calibration"][name] for name in ("scale", "bias"))
    return calibration.Calibration(float(scale), bias).apply(decided)


def test_a_model_says_what_training_computed(trained, model):
    config, workdir = trained
    paths, expected = embeddings(config, workdir)
    np.testing.assert_allclose(model.embed(paths), expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
    predictions = model.predict(paths)
    values = np.array([[p.values[label] for label in model.labels] for p in predictions])
    np.testing.assert_allclose(values, decisions_of(workdir, expected), atol=2e-3)
    np.testing.assert_allclose(values.sum(1), 1, atol=1e-5)
    assert [p.source for p in predictions] == paths
    assert all(len(p.windows) == 1 for p in predictions)
    assert [p.seconds for p in predictions] == [soundfile.info(path).duration for path in paths]


def test_the_card_tells_what_the_model_is(trained, model):
    card = model.card
    assert (card.method, card.kind, card.labels) == ("serugcl", "classes", ("angry", "neutral", "sad"))
    assert card.seconds == 2
    assert card.calibration.startswith("multinomial logistic regression on decisions for 36 held-out utterances")
    found = json.loads((trained[1] / "results.json").read_text(encoding="utf-8"))
    assert card.facts["metrics"] == found["metrics"]
    assert found["calibration"]["utterances"] == 36
    assert type(card).from_json(json.loads(json.dumps(card.to_json()))) == card


def _long(paths, seconds=9.0):
    """Different voices, one after another."""
    whole = np.concatenate([soundfile.read(path, dtype="int16")[0] for path in paths])
    return np.resize(whole, round(seconds * 16000))


def test_a_recording_says_the_same_alone_and_among_others(paths, model):
    waveforms = [_long(paths[:7], 4.0), *(soundfile.read(path, dtype="int16")[0] for path in paths[5:14]),
                 _long(paths, 3.2)]
    among = model.predict(waveforms)
    for number in (0, 4, 10):
        alone = model.predict(waveforms[number])
        assert [w.start for w in alone.windows] == [w.start for w in among[number].windows]
        for mine, theirs in zip(alone.windows, among[number].windows, strict=True):
            assert mine.values == pytest.approx(theirs.values, abs=1e-4)


def test_a_recording_is_the_mean_of_its_windows(model, paths):
    prediction = model.predict(_long(paths), window=2.0, overlap=0.25)
    assert [(w.start, w.end) for w in prediction.windows] == [
        (0, 2), (1.5, 3.5), (3, 5), (4.5, 6.5), (6, 8), (7, 9)]
    for label in model.labels:
        assert prediction.values[label] == pytest.approx(np.mean([w.values[label] for w in prediction.windows]))
    parts = [model.embed(_long(paths)[round(16000 * w.start):round(16000 * w.end)]) for w in prediction.windows]
    np.testing.assert_allclose(model.embed(_long(paths), window=2.0, overlap=0.25), np.mean(parts, 0), rtol=1e-3,
                               atol=1e-3)


def test_windows_of_digital_silence_say_nothing(model, paths):
    voice = _long(paths, 2.0)
    quiet = np.concatenate([voice, np.zeros(6 * 16000, np.int16)])
    assert [(w.start, w.end) for w in model.predict(quiet, window=2.0, overlap=0.0).windows] == [(0, 2)]
    steps = np.repeat(np.array([5, -5], np.int16), 2 * 16000)  # nothing but silence: all windows are heard
    assert len(model.predict(steps, window=2.0, overlap=0.0).windows) == 2


def test_trimmed_recordings_keep_their_time(model, paths):
    voice, still = _long(paths, 2.0), np.zeros(16000, np.int16)
    voice[[0, -1]] = 1
    settings = flow.Settings(2.0, 0.5, trim=True)
    recordings = [Recording("r", np.concatenate([still, voice, still]))]
    found, = flow.results(model._runner, recordings, "embedding", settings)
    assert [tuple(span) for span in found.spans] == [(16000, 48000)]
    assert found.samples == 64000
    np.testing.assert_allclose(found.values[0], model.embed(voice), rtol=1e-4, atol=1e-4)


def test_programs_go_on_after_a_bad_recording(model, paths):
    good = [Recording(f"r{n}", soundfile.read(path, dtype="int16")[0]) for n, path in enumerate(paths[:3])]
    bad = UserError("a.wav: is damaged")
    found = list(model.predict_each(iter([good[0], bad, *good[1:]])))
    assert found[1] is bad
    assert [found[k].source for k in (0, 2, 3)] == ["r0", "r1", "r2"]
    embedded = list(model.embed_each([bad, good[0]]))
    assert embedded[0] is bad
    assert embedded[1].shape == (model.card.embedding,)


def test_only_so_many_recordings_are_in_memory(model, paths, monkeypatch):
    """The first prediction comes before the stream has ended."""
    monkeypatch.setattr(flow, "BATCHES", 1)
    waveform = soundfile.read(paths[0], dtype="int16")[0]
    taken = []

    def stream():
        for number in range(48):
            taken.append(number)
            yield Recording(str(number), waveform)

    made = model.predict_each(stream(), workers=0)
    next(made)
    assert len(taken) <= 2 * model._runner.batch_size
    assert len(list(made)) == 47


@pytest.mark.parametrize(("seconds", "wanted", "expected"), [(5, None, 0), (60, None, 3), (5, 2, 2), (60, 0, 0)])
def test_worker_processes_are_for_much_audio(monkeypatch, seconds, wanted, expected):
    monkeypatch.setattr(flow, "WORTH_WORKERS", 30)
    monkeypatch.setattr(flow.workers, "cpu_count", lambda: 3)
    settings = flow.Settings(2.0, 0.0, workers=wanted)
    items = [Recording(str(n), np.ones(16000, np.int16)) for n in range(seconds)]
    node_inputs = NodeInputs("is10_librosa", 40)
    count, parts = flow._processes(node_inputs, flow.parts(items, settings, None), wanted)
    assert count == expected
    assert [part.name for part in parts] == [item.name for item in items]


SCRIPT = """
import sys
import sercl_jax
assert "jax" not in sys.modules
model = sercl_jax.load(sys.argv[1])
print([name for name in ("sklearn", "matplotlib", "grain", "tensorflow_datasets", "optax", "librosa", "tensorboardX",
                         "ml_collections", "pandas") if name in sys.modules])
print([p.values for p in model.predict(sys.argv[2:], workers=2)])
"""


def test_a_plain_script_starts_quickly_and_may_use_worker_processes(trained, model, paths, tmp_path):
    """Nothing is imported that only training needs; and workers do not run the script again, though it has no
    `if __name__ == "__main__"`.
    """
    (tmp_path / "script.py").write_text(SCRIPT, encoding="utf-8")
    done = subprocess.run([sys.executable, str(tmp_path / "script.py"), str(trained[1]), *paths[:2]],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    imported, predicted = map(ast.literal_eval, done.stdout.splitlines())
    assert imported == []
    for there, here in zip(predicted, model.predict(paths[:2]), strict=True):
        assert there == pytest.approx(here.values, abs=1e-4)


@pytest.mark.parametrize(("arguments", "named"), [
    ({"window": 0.05}, "window=0.05"), ({"overlap": 1.0}, "overlap=1"), ({"overlap": -0.1}, "overlap=-0.1"),
    ({"together": True}, "normalised by speaker")])
def test_a_setting_that_does_not_fit_is_named(model, arguments, named):
    with pytest.raises(UserError, match=named):
        model.predict([np.sin(np.arange(16000))], **arguments)


def test_frames_of_a_model_without_are_refused(model):
    with pytest.raises(UserError, match="no frame embeddings"):
        model.embed(np.zeros(16000), level="frame")
    with pytest.raises(UserError, match="level=word"):
        model.embed(np.zeros(16000), level="word")


def test_one_speakers_recordings_are_normalised_together(place):
    config = config_of(place / "corpus", "normalise=speaker,protocol=loso",
                       **{"embedding": "untrained", "eval.speaker_embeddings": True})
    workdir = run(config, place / "speaker")
    model = sercl_jax.load(workdir)
    assert "together" in model.card.notes[0]
    paths, expected = embeddings(config, workdir)
    for speaker in ("ann", "dora"):
        rows = [n for n, path in enumerate(paths) if speaker in path]
        own = [paths[n] for n in rows]
        np.testing.assert_allclose(model.embed(own, together=True), expected[rows], atol=0.02)
        told = np.array([list(p.values.values()) for p in model.predict(own, together=True)])
        np.testing.assert_allclose(told, decisions_of(workdir, expected[rows]), atol=0.02)
    apart = model.embed(own)
    assert np.abs(apart - expected[rows]).mean() > 0.1  # the corpus stands in, and is not the speaker


def test_features_of_the_device_are_part_of_the_program(place, pretrained):
    own = place / "mine"
    shutil.copytree(pretrained, own)
    config = config_of(place / "corpus", "features=is10_jax+logmel+cpc,protocol=loso",
                       embedding="untrained", init_from=str(own))
    workdir = run(config, place / "device")
    paths, expected = embeddings(config, workdir)
    shutil.rmtree(own)  # the model holds all that it needs
    made = sercl_jax.load(workdir).embed(paths[:4])
    np.testing.assert_allclose(made, expected[:4], rtol=2e-3, atol=2e-3 * np.abs(expected).max())


def _origin(features, variables=()):
    return Origin(Path("run"), {"features": features}, {}, {}, dict.fromkeys(variables), {}, {})


@pytest.mark.parametrize(("features", "functionals", "wanted", "notes"), [
    ("is10_librosa", False, "is10_librosa", 0), ("is10_jax", False, "is10_jax", 0), ("logmel", True, "logmel", 0),
    ("is10_jax", True, "is10_librosa", 1), ("is10_librosa+cpc", False, "is10_jax+cpc", 1),
    ("is10+is10_jax", False, "is10+is10_librosa", 1), ("logmel+cpc", False, "logmel+cpc", 0)])
def test_features_are_computed_in_one_place(features, functionals, wanted, notes):
    found, told = graph.described_by(_origin(features), functionals)
    assert (found, len(told)) == (wanted, notes)


def test_features_of_both_places_are_refused():
    for features, functionals in (("is10+cpc", False), ("logmel+cpc", True)):
        with pytest.raises(UserError, match="cannot be joined"):
            graph.described_by(_origin(features), functionals)


def test_a_method_of_ones_own_predicts_where_its_code_is_trusted(place, monkeypatch):
    config = config_of(place / "corpus", "features=logmel", str(resources.folder("configs") / "examples" / "vicreg"),
                       **{"embedding": "own_untrained", "normalise": "speaker", "eval.speaker_embeddings": True})
    workdir = run(config, place / "own")
    with pytest.raises(UserError, match="SERCL_OWN_CODE=1"):
        sercl_jax.load(workdir)
    monkeypatch.setenv("SERCL_OWN_CODE", "1")
    model = sercl_jax.load(workdir)
    assert model.card.method == "vicreg"
    paths, expected = embeddings(config, workdir)
    own = [n for n, path in enumerate(paths) if "cem" in path]
    np.testing.assert_allclose(model.embed([paths[n] for n in own], together=True), expected[own], atol=0.02)


def test_a_probe_of_cpc_predicts_from_waveforms(place, pretrained):
    config = config_of(place / "corpus", "setup=probe,protocol=loso", "cpc",
                       init_from=str(pretrained), normalise="speaker")
    workdir = run(config, place / "probe")
    model = sercl_jax.load(workdir)
    paths, expected = embeddings(config, workdir)
    rows = [n for n, path in enumerate(paths) if "bob" in path]
    own = [paths[n] for n in rows]
    np.testing.assert_allclose(model.embed(own, together=True), expected[rows], atol=5e-3)
    told = np.array([list(p.values.values()) for p in model.predict(own, together=True)])
    np.testing.assert_allclose(told, decisions_of(workdir, expected[rows]), atol=5e-3)
    taken = model._runner.inputs
    short, long = (model._runner.run(taken.batch([taken.describe(_long(paths, 0.9))], length), ["embedding"])
                   for length in (16000, 48000))
    np.testing.assert_allclose(short["embedding"], long["embedding"], atol=1e-4)
    whole = _long(paths, 5.0)
    frames = model.embed(whole, level="frame", window=2.0)
    assert frames.shape == (500, model.card.frames)
    # CPC looks back only: the first window's frames are those of the recording as a whole.
    np.testing.assert_allclose(frames[:150], model.embed(whole, level="frame", window=5.0)[:150], atol=1e-4)


def test_models_of_before_are_calibrated_by_their_predictions(trained, model, tmp_path):
    shutil.copytree(trained[1], tmp_path / "old", ignore=shutil.ignore_patterns("train"))
    variables, arrays, metadata = checkpoint.load_model(tmp_path / "old" / "model")
    metadata = {name: metadata[name] for name in ("config", "labels", "normalise", "features")}
    checkpoint.save_model(tmp_path / "old" / "model", variables,
                          {name: value for name, value in arrays.items() if name.startswith(("svm/", "features/"))},
                          metadata)
    old = loading.pipeline_of(tmp_path / "old")
    assert old.card.calibration == model.card.calibration
    assert old.card.seconds == 4
    np.testing.assert_array_equal(old.variables["calibration"]["bias"], arrays["calibration/bias"])
    shutil.rmtree(tmp_path / "old" / "predictions")
    assert loading.pipeline_of(tmp_path / "old").card.calibration.startswith("not calibrated")
    assert isinstance(Model(old).predict(np.sin(np.arange(16000.0))).label, str)


def test_what_is_no_finished_run_is_named(trained, tmp_path):
    with pytest.raises(UserError, match="there is no such folder"):
        sercl_jax.load(tmp_path / "nowhere")
    with pytest.raises(UserError, match="is no workdir"):
        sercl_jax.load(tmp_path)
    with pytest.raises(UserError, match=f"give {trained[1]}$|give {trained[1]}\\."):
        sercl_jax.load(trained[1] / "model")
    shutil.copy(trained[1] / "config.json", tmp_path)
    with pytest.raises(UserError, match="holds no model"):
        sercl_jax.load(tmp_path)
    shutil.copytree(trained[1] / "model", tmp_path / "model")
    content = bytearray((tmp_path / "model" / "arrays.npz").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "model" / "arrays.npz").write_bytes(content)
    with pytest.raises(UserError, match=r"altered|damaged"):
        sercl_jax.load(tmp_path)
    (tmp_path / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match=r"config\.json"):
        sercl_jax.load(tmp_path)
