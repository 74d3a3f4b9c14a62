"""The predict command on a trained model: real files, pipes and processes."""

import csv
import doctest
import io
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import small_corpus
import soundfile

import sercl_jax
from sercl_jax import config as config_lib
from sercl_jax import experiment, export, predict, predicting
from sercl_jax.inference.card import Card
from sercl_jax.inference.inputs import WaveformInputs
from sercl_jax.inference.model import Model

LABELS = ("angry", "neutral", "sad")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with runs/mine, a tiny SERUGCL, and recordings/ of half a second and one of six, in stereo."""
    folder = tmp_path_factory.mktemp("predict")
    manifest = small_corpus.write(folder / "corpus")
    config = config_lib.base("serugcl", "corpus=manifest,tiny,protocol=kfold,folds=2")
    config.data.manifest, config.data.cache_dir, config.data.workers = str(manifest), str(folder / "cache"), 1
    config.eval.baseline, config.eval.report = "no", False
    experiment.run(config.lock(), folder / "runs" / "mine", quiet=True)
    recordings = folder / "recordings"
    recordings.mkdir()
    (folder / "corpus" / "ann_s1_angry.wav").rename(recordings / "hello.wav")
    (folder / "corpus" / "bob_s3_sad.wav").rename(recordings / "bye.wav")
    rng = np.random.default_rng(0)
    voice = 0.3 * np.sin(2 * np.pi * 150 * np.arange(6 * 44_100) / 44_100)
    soundfile.write(recordings / "long.flac", voice[:, None] + 0.02 * rng.normal(size=(len(voice), 2)), 44_100)
    return folder


@pytest.fixture
def here(place, monkeypatch):
    monkeypatch.chdir(place)
    return place


@pytest.fixture(scope="module")
def model(place):
    """Loaded and compiled once for all calls in this process; other tests start processes, which load it."""
    return sercl_jax.load(place / "runs" / "mine")


@pytest.fixture
def call(here, capsys, monkeypatch, model):
    """The command in this process, without its program's name; gives status, standard output and standard error."""
    monkeypatch.setattr(sercl_jax, "load", lambda path, seed: model)

    def called(*arguments):
        status = predict.main(["--workdir=runs/mine", *arguments])
        told = capsys.readouterr()
        return status, told.out, told.err

    return called


def _process(place, *arguments, **options):
    environment = {**os.environ, "XLA_FLAGS": "", "JAX_PLATFORMS": "cpu", "SERCL_CACHE": str(place / "cache")}
    return subprocess.Popen([sys.executable, "-m", "sercl_jax.predict", "--workdir=runs/mine", *arguments],
                            cwd=place, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def test_every_format_tells_the_same(call):
    status, table, told = call("recordings")
    assert status == 0
    assert "model: serugcl" in told
    assert "probabilities: " in told
    head, *lines = table.splitlines()
    assert head.split() == ["file", "seconds", "label", "probability"]
    found = json.loads(call("recordings", "--format=json")[1])
    assert [one["path"] for one in found] == [f"recordings/{name}" for name in ("bye.wav", "hello.wav", "long.flac")]
    assert found == [json.loads(line) for line in call("recordings", "--format=jsonl")[1].splitlines()]
    rows = list(csv.DictReader(io.StringIO(call("recordings", "--format=csv")[1])))
    for one, row in zip(found, rows, strict=True):
        assert one["path"] == row["path"]
        assert one["seconds"] == float(row["seconds"])
        assert one["label"] == row["label"] == max(one["probabilities"], key=one["probabilities"].get)
        assert one["probabilities"] == {label: float(row[label]) for label in LABELS}
        assert one["probability"] == float(row["probability"]) == one["probabilities"][one["label"]]
        assert sum(one["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        line = next(line for line in lines if line.startswith(one["path"]))
        assert line.split()[1:4] == [f"{one['seconds']:.2f}", one["label"], f"{100 * one['probability']:.0f}"]


def test_a_long_recording_is_told_by_windows(call):
    flags = ("recordings/long.flac", "--window=2", "--overlap=0.5")
    found, = json.loads(call(*flags, "--format=json")[1])
    assert [(one["start"], one["end"]) for one in found["windows"]] == [(0, 2), (1, 3), (2, 4), (3, 5), (4, 6)]
    mean = np.mean([[one["probabilities"][label] for label in LABELS] for one in found["windows"]], axis=0)
    np.testing.assert_allclose([found["probabilities"][label] for label in LABELS], mean, atol=2e-6)
    rows = list(csv.DictReader(io.StringIO(call(*flags, "--format=csv", "--windows")[1])))
    assert [(float(row["start"]), row["label"]) for row in rows] == [
        (one["start"], one["label"]) for one in found["windows"]]
    lines = call(*flags)[1].splitlines()
    assert [line.split()[0] for line in lines[2:]] == ["0:00.0", "0:01.0", "0:02.0", "0:03.0", "0:04.0"]
    assert len(call(*flags, "--no-windows")[1].splitlines()) == 2


def test_labels_restrict_and_renormalise(call):
    whole, = json.loads(call("recordings/hello.wav", "--format=json")[1])
    part, = json.loads(call("recordings/hello.wav", "--format=json", "--labels=sad,neutral")[1])
    kept = {label: whole["probabilities"][label] for label in ("neutral", "sad")}
    assert part["probabilities"] == pytest.approx({k: p / sum(kept.values()) for k, p in kept.items()}, abs=1e-3)
    assert sum(part["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert part["label"] == max(kept, key=kept.get)
    top, = json.loads(call("recordings/hello.wav", "--format=json", "--top=1")[1])
    assert top["probabilities"] == {whole["label"]: whole["probability"]}


def test_patterns_folders_and_files_that_are_bad(call, here):
    (here / "bad").mkdir()
    (here / "bad" / "broken.wav").write_bytes(b"RIFF")
    (here / "bad" / "empty.flac").write_bytes(b"")
    soundfile.write(here / "bad" / "silent.wav", np.zeros(8000), 16_000)
    arguments = ["bad", "record*/h*.wav", "absent.wav", "recordings/bye.wav"]
    status, out, err = call(*arguments, "--format=jsonl", "--out=new/found.csv")
    assert status == 1
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["path"] for line in lines] == [
        "bad/broken.wav", "bad/empty.flac", "bad/silent.wav", "recordings/hello.wav", "absent.wav",
        "recordings/bye.wav"]
    assert ["error" in line for line in lines] == [True, True, True, False, True, False]
    assert all(f"error: {line['path']}: " in err for line in lines if "error" in line)
    with (here / "new" / "found.csv").open(newline="", encoding="utf-8") as file:
        assert [row["path"] for row in csv.DictReader(file)] == ["recordings/hello.wav", "recordings/bye.wav"]
    status, out, err = call("bad", "--format=json", "--out=new/none.json")
    assert status == 2
    assert [set(one) for one in json.loads(out)] == [{"path", "error"}] * 3
    assert "nothing was predicted" in err
    assert sorted(path.name for path in (here / "new").iterdir()) == ["found.csv"]


@pytest.mark.parametrize(("arguments", "reason"), [
    (["absent.wav"], "absent.wav: there is no such file"), (["corpus/manifest.csv"], "manifest.csv: is not audio"),
    (["recordings", "--labels=angri"], "Did you mean 'angry'?"), (["recordings", "--window=0.01"], "window=0.01"),
    (["recordings", "--window=nan"], "--window=nan"), (["recordings", "--overlap=1"], "--overlap=1"),
    (["recordings", "--top=-1"], "--top=-1"), (["recordings", "--together"], "normalised by speaker"),
    (["recordings", "--out=recordings/bye.wav/x.csv"], "bye.wav: the folder cannot be made"),
    (["recordings", "--device=tpu"], "--device=tpu")])
def test_what_cannot_be_done_says_why(call, arguments, reason):
    status, out, err = call(*arguments)
    assert status == 2
    assert not out
    assert reason in err


@pytest.mark.parametrize("flag", ["--workdir=empty", "--bundle=empty", "--workdir=absent"])
def test_what_is_no_model(here, capsys, flag):
    (here / "empty").mkdir(exist_ok=True)
    assert predict.main([flag, "recordings"]) == 2
    told = capsys.readouterr()
    assert flag.partition("=")[2] in told.err
    assert not told.out


def test_a_run_that_has_not_finished(here, capsys):
    """Its config is there, its model is not."""
    (here / "half").mkdir(exist_ok=True)
    (here / "half" / "config.json").write_bytes((here / "runs" / "mine" / "config.json").read_bytes())
    assert predict.main(["--workdir=half", "recordings"]) == 2
    assert "half: holds no model" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["--workdir=a", "--bundle=b", "x.wav"], ["x.wav"], ["--workdir=a"],
                                       ["--workdir=a", "x.wav", "--format=xml"]])
def test_wrong_usage(arguments):
    with pytest.raises(SystemExit) as ended:
        predict.main(arguments)
    assert ended.value.code == 2


class _Loudness:
    """A runner of another kind: loudness and its negative as ratings, or embeddings."""

    inputs, batch_size = WaveformInputs(), 4

    def __init__(self, kind):
        self.card = Card("cpc", kind, ("activation", "valence") if kind == "ratings" else (), "demo", 2, 3.0)

    def run(self, batch, names):
        loud = np.abs(batch["waveform"].astype(np.float32)).max(1) / 32768
        return {name: np.stack([loud, -loud], 1) for name in names}


def test_ratings(call, monkeypatch):
    monkeypatch.setattr(sercl_jax, "load", lambda path, seed: Model(_Loudness("ratings")))
    status, out, err = call("recordings/long.flac", "--format=json")
    assert status == 0
    found, = json.loads(out)
    assert found["ratings"]["activation"] == pytest.approx(0.38, abs=0.05)
    assert found["ratings"]["valence"] == -found["ratings"]["activation"]
    assert "probabilities" not in err
    assert list(json.loads(call("recordings/bye.wav", "--format=jsonl", "--labels=valence")[1])["ratings"]) == [
        "valence"]
    assert call("recordings", "--top=1")[0] == 2


def test_a_model_of_embeddings_only_names_the_other_command(call, monkeypatch):
    monkeypatch.setattr(sercl_jax, "load", lambda path, seed: Model(_Loudness("representation")))
    status, out, err = call("recordings")
    assert (status, out) == (2, "")
    assert "python -m sercl_jax.embed" in err


def test_standard_input_and_nothing_but_results_on_standard_output(here, call):
    content = (here / "recordings" / "hello.wav").read_bytes()
    expected, = json.loads(call("recordings/hello.wav", "--format=json")[1])
    with _process(here, "-", "--format=jsonl", stdin=subprocess.PIPE) as process:
        out, err = process.communicate(content, timeout=300)
    assert process.returncode == 0, err
    found = json.loads(out)
    assert found.pop("path") == "-"
    expected.pop("path")
    assert found == expected


def test_a_bundle_tells_the_same(here, capsys):
    export.export("runs/mine", "bundle", platforms=["cpu"])
    told = []
    for flag in ("--bundle=bundle", "--workdir=runs/mine"):
        assert predict.main([flag, "recordings", "--format=json"]) == 0
        told.append([[one["path"], *one["probabilities"].values()] for one in json.loads(capsys.readouterr().out)])
    for bundle, run in zip(*told, strict=True):
        assert bundle == [run[0], *(pytest.approx(value, abs=2e-5) for value in run[1:])]


def test_what_has_no_header_is_refused_with_advice(here):
    with _process(here, "-", stdin=subprocess.PIPE) as process:
        out, err = process.communicate(np.arange(-4000, 4000, dtype=np.int16).tobytes(), timeout=300)
    assert (process.returncode, out) == (2, b"")
    assert b"standard input: is not audio" in err
    assert b"sox -t raw" in err
    assert b"Traceback" not in err


def test_ctrl_c_ends_it_at_once_and_writes_no_file(here):
    """While it waits for the end of a recording that does not come."""
    with _process(here, "-", "--out=stopped.json", stdin=subprocess.PIPE) as process:
        for line in process.stderr:
            if line.startswith(b"probabilities"):
                break
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=300)
    assert process.returncode == 130
    assert b"Stopped." in err
    assert b"Traceback" not in err
    assert not list(here.glob("*stopped*"))


def test_a_reader_that_has_seen_enough(here):
    process = _process(here, "recordings", "--out=unseen.csv")
    process.stdout.close()
    err = process.stderr.read()
    assert process.wait(timeout=300) == 1
    process.stderr.close()
    assert b"error: " not in err
    assert b"Traceback" not in err
    assert not list(here.glob("*unseen*"))


def test_examples_of_the_python_interface(here):
    found = doctest.testmod(predicting, optionflags=doctest.ELLIPSIS)
    assert found.attempted > 15
    assert found.failed == 0
