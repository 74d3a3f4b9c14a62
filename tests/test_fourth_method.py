"""A method in a file of its own: the example of the README as a user runs it, and what such a file must hold."""

import json
import shutil
import subprocess
from pathlib import Path

import jax
import numpy as np
import pytest
from small_corpus import command, leaves, write

from sercl_jax import config as config_lib
from sercl_jax import experiment, resources, sources, train, workdirs
from sercl_jax.errors import UserError
from sercl_jax.workbench import Workbench

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = resources.folder("configs") / "examples" / "vicreg.py"
HEAD = '''
import numpy as np
from sercl_jax.methods import own


def get_config(arg=None):
    return own.config(__file__, arg, features="logmel").lock()
'''


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fourth")
    write(folder / "corpus")
    return folder


def _config(place: Path, file: Path = EXAMPLE, choices: str = "", **knobs):
    """The config of a method's file on the small corpus."""
    argument = ",".join(filter(None, ["corpus=manifest,tiny,protocol=loso", choices]))
    config = config_lib.base(str(file.with_suffix("")), argument)
    config.data.update(manifest=str(place / "corpus" / "manifest.csv"), cache_dir=str(place / "cache"), workers=1)
    config.eval.update(baseline="no", report=False, probes=False)
    config.train.batch_size = 8
    config.update_from_flattened_dict(knobs)
    return config.lock()


def _source(config, store: Path, bench: Workbench | None = None):
    return sources.make(config, bench or Workbench(progress=False), store, progress=False)


def _written(folder: Path, text: str) -> Path:
    path = folder / "mine.py"
    path.write_text(HEAD + text, encoding="utf-8")
    return path


def test_the_readme_shows_the_whole_example_in_under_60_lines():
    text = EXAMPLE.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 60
    assert f"```python\n{text}```" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_it_runs_from_any_folder_beside_its_controls_and_says_when_its_file_has_changed(tmp_path):
    manifest = write(tmp_path / "corpus")
    mine = shutil.copy(EXAMPLE, tmp_path / "mine.py")
    arguments = command(manifest, tmp_path / "cache", tmp_path / "run", config="mine.py")

    def run() -> subprocess.CompletedProcess:
        return subprocess.run(arguments, capture_output=True, text=True, check=False, cwd=tmp_path)

    done = run()
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "run" / "results.json").read_text(encoding="utf-8"))
    assert found["method"] == found["protocol"]["embedding"] == "mine"
    assert [b["name"] for b in found["baselines"]] == ["mine untrained", "mean + std of is10_librosa + SVM"]
    assert set(found["probes"]) == {"label_efficiency", "speaker"}
    assert (tmp_path / "run" / "report.html").stat().st_size > 10_000
    assert "method_file" not in (tmp_path / "run" / "config.json").read_text(encoding="utf-8")
    assert "is finished" in run().stdout
    with Path(mine).open("a", encoding="utf-8") as file:
        file.write("# another method now\n")
    done = run()
    assert done.returncode == 2
    assert "mine.py has changed since" in done.stderr


@pytest.fixture(scope="module")
def trained(place):
    """The same training on one device and on four. By plain gradients: Adam makes steps of what rounding leaves."""
    source = _source(_config(place, **{"train.epochs": 4, "train.learning_rate": 1e-2, "train.optimizer": "sgd"}),
                     place / "train")
    rows = np.arange(36)
    stage = source.stage(source.arrays(rows), rows, 0, {})
    return source, [train.run(stage, workdir=None, seed=0, log_every=1, progress=False, devices=jax.devices()[:count])
                    for count in (1, 4)]


def test_four_devices_train_what_one_does(trained):
    _, (one, four) = trained
    np.testing.assert_allclose([line["loss"] for line in four.history], [line["loss"] for line in one.history],
                               rtol=1e-4)
    for (name, a), (_, b) in zip(leaves(one.variables), leaves(four.variables), strict=True):
        np.testing.assert_allclose(b, a, atol=1e-4, err_msg=name)


def test_training_lowers_its_loss(trained):
    _, (result, _) = trained
    losses = [line["loss"] for line in result.history]
    assert np.mean(losses[-4:]) < np.mean(losses[:4]) - 0.3


def test_more_padding_changes_no_embedding(trained):
    source, (result, _) = trained
    arrays = source.arrays(np.arange(36))
    x, mask = arrays["x"][:5], arrays["mask"][:5]
    assert not mask.all()
    longer = {"x": np.pad(x, ((0, 0), (0, 9), (0, 0))), "mask": np.pad(mask, ((0, 0), (0, 9)))}
    embed = jax.jit(source._method.embed)
    np.testing.assert_allclose(embed(result.variables, longer), embed(result.variables, {"x": x, "mask": mask}),
                               atol=1e-5)


def test_inductive_training_never_sees_its_test_fold(place, tmp_path):
    config = _config(place, choices="training=inductive")
    bench = Workbench(progress=False)
    speakers = bench.speakers(config)
    rows = np.flatnonzero(speakers != "bob")
    before = _source(config, tmp_path / "a", bench).embed(rows, 0)
    made = bench.nodes(config, config.nodes)
    made.x[speakers == "bob"] += 5
    after = _source(config, tmp_path / "b", bench).embed(rows, 0)
    np.testing.assert_array_equal(before[rows], after[rows])
    assert not np.allclose(before[speakers == "bob"], after[speakers == "bob"])


SUPERVISED = '''
def method(config):
    def init(key, batch):
        return {"params": {"w": np.zeros((batch["x"].shape[-1], 3), np.float32)}}

    def loss(variables, batch, key):
        raise NotImplementedError

    return own.Method(init, loss, lambda variables, batch: batch["x"].mean(1), labels=True)
'''


def test_labels_are_those_of_the_training_part_alone(place, tmp_path):
    mine = _written(tmp_path, SUPERVISED)
    with pytest.raises(UserError, match="choose training=inductive"):
        _source(_config(place, mine), tmp_path)
    source = _source(_config(place, mine, "training=inductive"), tmp_path)
    rows = np.arange(9, 36)
    labels = source.arrays(rows)["label"]
    assert set(labels[:9]) == {-1}
    wanted = np.unique([u.label for u in source._utterances], return_inverse=True)[1]
    np.testing.assert_array_equal(labels[rows], wanted[rows])
    assert "label efficiency" in source.warnings[0]


def test_a_file_may_offer_a_source_of_its_own(place, tmp_path):
    mine = _written(tmp_path, '''
from sercl_jax.representations import mean_and_deviation
from sercl_jax.sources.fixed import Fixed


def source(config, bench, store, progress):
    x = mean_and_deviation(bench.frames(config))
    if config.embedding == own.UNTRAINED:
        x = x[:, :1]
    return Fixed(config.embedding, x, config, bench)
''')
    found = experiment.run(_config(place, mine), tmp_path / "run", quiet=True)
    assert found["protocol"]["embedding"] == "own"
    ours, same = found["metrics"]["UA"], found["baselines"][1]["metrics"]["UA"]
    assert found["baselines"][1]["name"] == "mean + std of logmel + SVM"
    assert ours == same
    assert found["baselines"][0]["metrics"]["UA"]["mean"] < ours["mean"]


BAD = {
    "": "no function method",
    "def method(config):\n    return 3\n": r"returns a int",
    SUPERVISED.replace("params", "weights"): "init must return a dict with \"params\"",
    SUPERVISED.replace(".mean(1)", ""): r"embed must return \[B, D\]",
}


@pytest.mark.parametrize("text", BAD)
def test_what_a_file_lacks_is_said(place, tmp_path, text):
    config = _config(place, _written(tmp_path, text), "training=inductive", embedding="own_untrained")
    with pytest.raises(UserError, match=BAD[text]) as caught:
        _source(config, tmp_path).embed(np.arange(36), 0)
    assert "mine.py" in str(caught.value)


def test_a_file_that_is_gone_and_an_embedding_without_a_file_are_errors(place, tmp_path):
    mine = _written(tmp_path, SUPERVISED)
    config = _config(place, mine)
    mine.unlink()
    with pytest.raises(UserError, match=r"mine\.py: the method's file cannot be read"):
        _source(config, tmp_path)
    config = config_lib.base("serugcl", "tiny")
    config.embedding = "own"
    with pytest.raises(UserError, match="a method in a file of its own"):
        _source(config, tmp_path)
    with pytest.raises(UserError, match="'pooling' is SERUGCL's"):
        _config(place, choices="pooling=A")


def test_a_place_is_no_part_of_what_a_config_is(place, tmp_path):
    here, there = _config(place), _config(place)
    there.unlock().method_file = str(tmp_path / "elsewhere.py")
    assert workdirs.identity(here) == workdirs.identity(there)
