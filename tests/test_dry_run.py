"""What a dry run tells is what a run does; it builds, trains and writes nothing."""

import json
import re
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from small_corpus import write

from sercl_jax import config as config_lib
from sercl_jax import dry_run, experiment, resources, sweep, train
from sercl_jax.errors import UserError
from sercl_jax.forecast import costs
from sercl_jax.workbench import Workbench

pytestmark = pytest.mark.usefixtures("quick_compilation")
CONFIGS = sorted(path.relative_to(resources.folder("configs")).with_suffix("").as_posix()
                 for path in resources.folder("configs").rglob("*.py"))


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """36 recordings with labels and ratings."""
    folder = tmp_path_factory.mktemp("dry")
    write(folder / "corpus", rated=True)
    return folder


def config_of(place: Path, name: str, choices: str = "", **knobs):
    corpus = "corpora=manifest+manifest" if name == "supcon" else "corpus=manifest"
    config = config_lib.base(name, ",".join(filter(None, [corpus, "tiny", choices])))
    manifest = {"manifest": str(place / "corpus" / "manifest.csv")}
    config.data.update(cache_dir=str(place / "cache"), workers=1, **({} if name == "supcon" else manifest))
    for section, where in zip(config.get("corpora", {}).values(), ("sentence=s[12]", "sentence=s3"), strict=False):
        section.update(where=where, **manifest)
    if name == "cpc":
        config.pretrain_data.update(corpus="manifest", **manifest)
    config.unlock().update_from_flattened_dict(knobs)
    return config.lock()


RUNS = {
    "SERUGCL inductive": ("serugcl", "protocol=kfold,folds=2,training=inductive,seeds=2",
                          {"eval.baseline": "no", "eval.probes": False}),
    "an ensemble": ("serugcl_plus", "protocol=loso", {"eval.baseline": "no", "eval.probes": False}),
    "CPC": ("cpc", "setup=all,protocol=session", {}),
    "CPC inductive": ("cpc", "setup=mini,protocol=session", {"train.training": "inductive"}),
    "pre-training": ("cpc", "setup=pretrain", {}),
    "SupCon": ("supcon", "target=manifest,folds=2,encoder=tiny", {"eval.similarity": False}),
    "FT, two rates": ("supcon", "target=manifest,arm=ft,protocol=loso,encoder=tiny", {"finetune.rates": (0.1, 0.01)}),
    "a method of one's own": ("examples/vicreg", "protocol=loso", {"eval.baseline": "no", "eval.probes": False}),
}


@pytest.mark.parametrize("run", RUNS)
def test_trainings_are_those_of_the_run(run, place, tmp_path, monkeypatch):
    """A run whose trainings end as they begin says which it makes."""
    name, choices, changes = RUNS[run]
    config = config_of(place, name, choices, **changes, **{"eval.report": False})
    told = dry_run.plan(config)
    made = {}

    def untrained(stage, *, workdir, seed, **_):
        start = stage.init(train.init_key(seed), stage.batch(0))
        numbers = sum(np.size(leaf) for leaf in jax.tree.leaves(start["params"]))
        made[workdir] = (stage.steps, numbers)
        return train.TrainResult(jax.tree.map(np.asarray, start), stage.steps, 0.0, [], 1)

    monkeypatch.setattr(train, "run", untrained)
    experiment.run(config, tmp_path / "run", bench=Workbench(progress=False), quiet=True)
    assert sum(one["count"] for one in told["trainings"]) == len(made)
    assert sum(one["total_steps"] for one in told["trainings"]) == sum(steps for steps, _ in made.values())
    assert {one["parameters"] for one in told["trainings"]} == {numbers for _, numbers in made.values()}


@pytest.mark.parametrize("name", CONFIGS)
def test_every_config_has_a_tiny_overlay(name):
    """Its stages take seconds: few steps of small networks on the embedded corpus, or what stands for others."""
    tiny = config_lib.base(name, "setup=pretrain,tiny" if name == "cpc" else "tiny")
    rows = [sweep.variant(tiny, row) for row in tiny.rows.values()] if "rows" in tiny else [tiny]
    steps = 0
    for row in rows:
        sections = [section for section in row.values() if hasattr(section, "keys") and "epochs" in section]
        assert sections
        assert all(section.epochs <= 2 for section in sections)
        steps += sum(section.epochs for section in sections)
    assert steps <= 4 * len(rows)
    assert tiny.to_json_best_effort() != config_lib.base(name, "setup=pretrain" if name == "cpc" else None
                                                         ).to_json_best_effort()


@pytest.mark.parametrize("name", ["serugcl", "tables/serugcl_table4", "supcon"])
def test_tiny_runs_on_the_embedded_corpus_are_foretold(name, tmp_path):
    config = config_lib.base(name, "tiny")
    config.data.cache_dir = str(tmp_path)
    told = dry_run.plan(config)
    assert told["trainings"]
    assert told["unknown"] == []
    assert not told["corpora"][0]["built"]
    assert all(one["steps"][1] <= 100 for one in told["trainings"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", ["text", "json"])
def test_the_command_tells_everything_and_writes_nothing(form, place, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "sercl_jax.main", "--config=configs/serugcl.py:corpus=manifest,tiny,protocol=loso",
         f"--config.data.manifest={place / 'corpus' / 'manifest.csv'}", f"--config.data.cache_dir={tmp_path}",
         "--config.graph.k=7", "--dry_run" if form == "text" else "--dry_run=json"],
        capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []
    if form == "json":
        told = json.loads(done.stdout)
        assert told["config"]["graph"]["k"] == 7
        assert [one["count"] for one in told["trainings"]] == [1]
        return
    for words in ("graph.k = 7", "36 utterances", "angry 12, neutral 12, sad 12", "protocol=loso: 4 folds",
                  "speaker ann: 9 utterances of ann", "1 x contrastive: 2 steps of 64", "parameters", "Estimated"):
        assert words in done.stdout


def test_records_that_are_there_are_read(place):
    config = config_of(place, "serugcl", "protocol=loso")
    Workbench(progress=False).corpus(config)
    (told,) = dry_run.plan(config)["corpora"]
    assert told["built"]
    assert 10 < told["seconds"] < 30  # of 36 recordings of half a second


def test_without_the_corpus_it_says_what_cannot_be_known():
    config = config_lib.base("serugcl", "corpus=ravdess,protocol=loso")
    config.data.manual_dir = "NOWHERE"
    text = dry_run.text(dry_run.plan(config))
    assert "corpus ravdess is not here: there is no NOWHERE" in text
    assert re.search(r"contrastive: batches of 64, [0-9]{3},[0-9]{3} parameters", text)


@pytest.mark.parametrize(("changes", "complaint"), [
    ("protocol=loos", "did you mean loso"), ("protocol=kfold,folds=13", "fewer utterances"),
    ("features=mfcc", "mfcc"), ("normalise=speakr", "speaker")])
def test_what_a_run_would_refuse_is_refused(changes, complaint, place):
    with pytest.raises(UserError, match=complaint):
        dry_run.plan(config_of(place, "serugcl", changes))


def test_arithmetic_of_known_programs():
    def product(a, b):
        return jax.lax.scan(lambda c, _: (c @ b, None), a, None, length=5)[0]

    a, b = np.zeros((3, 4), np.float32), np.zeros((4, 4), np.float32)
    products, _ = costs._counted(jax.make_jaxpr(product)(a, b).jaxpr)
    assert products == 5 * 2 * 3 * 4 * 4
    x, kernel = np.zeros((2, 50, 3), np.float32), np.zeros((7, 3, 6), np.float32)
    convolved = jax.make_jaxpr(lambda x, k: jax.lax.conv_general_dilated(
        x, k, (2,), "VALID", dimension_numbers=("NWC", "WIO", "NWC")))(x, kernel)
    assert costs._counted(convolved.jaxpr)[0] == 2 * (2 * 22 * 6) * (7 * 3)
    _, values = costs._counted(jax.make_jaxpr(lambda x: jax.numpy.tanh(x) + 1)(a).jaxpr)
    assert values == 2 * 12
