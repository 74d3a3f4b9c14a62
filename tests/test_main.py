"""The command line, as processes: what a new user types, rightly and wrongly."""

import subprocess
import sys

import pytest
from small_corpus import command, write


def _run(*arguments, cwd=None):
    return subprocess.run([sys.executable, "-m", "sercl_jax.main", *arguments], capture_output=True, text=True,
                          check=False, cwd=cwd)


def test_help_teaches_every_config_and_needs_no_jax(tmp_path):
    code = "import sys; from sercl_jax import main; print(main.help_text()); sys.exit('jax' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for words in ("configs/serugcl.py", "configs/tables/serugcl_table5.py", "--workdir", "corpus=emodb"):
        assert words in done.stdout


@pytest.mark.parametrize(("arguments", "words"), [
    (["--config=configs/serugcl.py:corpsu=demo"], "Did you mean 'corpus'"),
    (["--config=configs/serugcl.py", "--config.train.epoch=3"], '"epochs"'),
    (["--config=configs/serugcl.py", "--config.train.epochs=many"], "many"),
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


def test_dry_run_prints_every_knob_and_writes_nothing(tmp_path):
    done = _run("--config=configs/serugcl.py:tiny", "--config.graph.k=7", "--dry_run", cwd=tmp_path)
    assert done.returncode == 0
    assert '"k": 7' in done.stdout
    assert list(tmp_path.iterdir()) == []


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
