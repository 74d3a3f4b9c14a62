"""The command line, as processes: what a new user types, rightly and wrongly."""

import re
import subprocess
import sys

import pytest
from small_corpus import command, write

from sercl_jax import config as config_lib
from sercl_jax import corpora, knobs, resources, splits
from sercl_jax import help as help_lib


def _run(*arguments, cwd=None):
    return subprocess.run([sys.executable, "-m", "sercl_jax.main", *arguments], capture_output=True, text=True,
                          check=False, cwd=cwd)


def test_help_teaches_every_config_and_needs_no_jax(tmp_path):
    code = "import sys; from sercl_jax import main; main.main(['main', '--help']); sys.exit('jax' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    configs = resources.folder("configs")
    known = [f"configs/{path.relative_to(configs).as_posix()}" for path in configs.rglob("*.py")]
    listed = set(re.findall(r"^  (\S+)", done.stdout, re.MULTILINE))
    for words in (*known, *corpora.NAMES, *splits.PROTOCOLS, "--workdir=DIR"):
        assert words in listed, words
    for words in ("joint", "mini", "pretrain", "frozen", "corpus=emodb", "sercl_jax.corpora", "sercl_jax.splits"):
        assert words in done.stdout
    assert [line for line in done.stdout.splitlines() if len(line) > 100 and "python -m" not in line] == []


def test_every_other_program_is_in_the_help_and_has_one_of_its_own():
    names = [name for name, _ in help_lib.commands()]
    assert {"sercl_jax.corpora", "sercl_jax.embed", "sercl_jax.predict", "sercl_jax.splits"} <= set(names)
    assert len(names) == len(set(names))


def test_help_of_a_config_explains_its_choices_and_every_knob():
    done = _run("--config=configs/serugcl.py:tiny", "--config.graph.k=7", "--help")
    assert done.returncode == 0, done.stderr
    config = config_lib.base("serugcl", "tiny")
    for name in knobs.leaves(config):
        assert f"  {name} = " in done.stdout
    for words in ("pooling=A..G", "graph.k = 7", "neighbours per node", "train.epochs = 2"):
        assert words in done.stdout
    only = _run("--config=configs/cpc.py", "--help=temperature").stdout.splitlines()
    assert [line.split()[0] for line in only] == ["cpc.temperature"]
    anywhere = _run("--help=fgsm_eps").stdout
    assert anywhere.splitlines()[0] == "configs/serugcl.py"
    assert "in standard deviations of the features" in anywhere


def test_help_of_a_table_lists_its_rows():
    done = _run("--config=configs/tables/serugcl_table5.py", "--help")
    assert re.search(r"^  mean +encoder.pooling=mean$", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("name", ["serugcl", "serugcl_plus", "cpc", "supcon"])
def test_comments_of_configs_are_found(name):
    config = config_lib.base(name, None)
    told = knobs.comments(knobs.sources(config, resources.folder("configs") / f"{name}.py"))
    commented = [knob for knob in knobs.leaves(config) if told.get(knob) or told.get(knob.rpartition(".")[2])]
    assert len(commented) > 0.5 * len(knobs.leaves(config))
    assert any("archive" in told.get(knob, "") for knob in ("data.manual_dir", "manual_dir"))


@pytest.mark.parametrize(("name", "meant"), [
    ("optim.lrr", ["train.learning_rate"]), ("train.lr", ["train.learning_rate"]), ("train.epoch", ["train.epochs"]),
    ("views.temperature", ["loss.temperature"]), ("grph.k", ["graph.k"]), ("eval.folsd", ["eval.folds"]),
    ("seads", ["seeds"]), ("corpus", ["data.corpus"]), ("zzz", [])])
def test_the_nearest_knob(name, meant):
    found = knobs.nearest(name, knobs.leaves(config_lib.base("serugcl", None)))
    assert found[:1] == meant


@pytest.mark.parametrize(("arguments", "words"), [
    (["--config=configs/serugcl.py:corpsu=demo"], "Did you mean 'corpus'"),
    (["--config=configs/serugcl.py", "--config.train.epoch=3"], "did you mean config.train.epochs?"),
    (["--config=configs/serugcl.py", "--config.optim.lrr=3"], "config.optim.lrr: unknown; did you mean config."),
    (["--config=configs/cpc.py", "--config.optim.lr=3"],
     "did you mean config.pretrain.learning_rate or config.recognizer.learning_rate?"),
    (["--config=configs/serugcl.py", "--config.train=3"], "config.train is a section; its knobs are train."),
    (["--config=configs/serugcl.py", "--config.eval.probes=perhaps"], "expected true or false"),
    (["--config=configs/serugcl.py", "--config.eval.linear_c=x"], "expected numbers in brackets"),
    (["--config=configs/serugcl.py", "--config.train.epochs=many"], "epochs=many: expected a whole number"),
    (["--config=configs/serugl.py"], "configs/serugcl.py"),
    (["--config=configs/serugcl.py", "--wokdir=x"], "workdir"),
    (["--config=configs/serugcl.py", "extra"], "'extra'"),
    ([], "--config is missing"),
    (["--config=configs/serugcl.py:corpus=manifest", "--workdir={tmp}/run"], "config.data.manifest"),
    (["--config=configs/serugcl.py:corpus=emdb", "--workdir={tmp}/run"], "emodb"),
])
def test_mistakes_are_answered_in_one_line(arguments, words, tmp_path):
    done = _run(*(a.format(tmp=tmp_path) for a in arguments), cwd=tmp_path)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_workdir_of_another_config_is_refused_and_left_alone(tmp_path):
    manifest = write(tmp_path / "corpus")
    workdir = tmp_path / "run"
    first = subprocess.run(command(manifest, tmp_path / "cache", workdir, "--config.eval.report=False"),
                           capture_output=True, text=True, check=False)
    assert first.returncode == 0, first.stderr
    before = (workdir / "results.json").read_bytes()
    other = subprocess.run(command(manifest, tmp_path / "cache", workdir, "--config.train.epochs=3"),
                           capture_output=True, text=True, check=False)
    assert other.returncode == 2
    assert "train.epochs" in other.stderr
    again = subprocess.run(command(manifest, tmp_path / "cache", workdir), capture_output=True, text=True,
                           check=False)
    assert again.returncode == 0
    assert "finished" in again.stdout
    assert (workdir / "results.json").read_bytes() == before


def test_training_imports_neither_tensorflow_nor_torch(tmp_path):
    manifest = write(tmp_path / "corpus")
    arguments = command(manifest, tmp_path / "cache", tmp_path / "run")[3:]
    code = ("import sys; from sercl_jax import main; status = main.main(['main', *sys.argv[1:]]); "
            "loaded = {'tensorflow', 'torch'} & set(sys.modules); print(loaded); sys.exit(status or bool(loaded))")
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "run" / "report.html").stat().st_size > 10_000
