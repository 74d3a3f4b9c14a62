"""What the README tells its readers to type works, and what it promises exists."""

import importlib.util
import os
import re
import shlex
import subprocess
import sys
import tomllib
from functools import cache

import pytest
from readme_commands import ELSEWHERE, FENCED, README, ROOT, RUN, TINY, Command, commands
from small_corpus import write

from sercl_jax import config as config_lib
from sercl_jax import knobs, resources, sweep

COMMANDS = commands()


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A folder from which commands are given: no checkout, but a corpus."""
    folder = tmp_path_factory.mktemp("desk")
    write(folder).rename(folder / "my.csv")
    return folder


def _run(arguments, desk) -> str:
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False, cwd=desk,
                          env={**os.environ, "SERCL_CACHE": str(desk / "cache")})
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_readme_has_commands():
    assert len(COMMANDS) > 20
    assert [command for command in COMMANDS if command.needs]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.text[:100])
def test_every_command_is_run_by_a_test_or_marked(command):
    """Marked: a comment such as `# needs EMO-DB` stands behind it. The tables are in readme_commands.py."""
    where = command.found_in(ELSEWHERE)
    assert command.needs or command.found_in(RUN) or where, f"{command.text}: in neither table, and not marked"
    if where:
        file, _, test = ELSEWHERE[where].partition("::")
        text = (ROOT / file).read_text(encoding="utf-8")
        assert f"def {test}(" in text or not test
        assert file == "tests/test_readme.py" or command.words[:2] == ["tfds", "build"] or _subject(command) in text


def _subject(command: Command) -> str:
    """What a test that runs it must speak of."""
    if command.words[0] != "python" or "--coordinator" in command.text:
        return command.words[1] if command.words[0] != "python" else "--coordinator"
    config = [word for word in command.words if word.startswith("--config=")]
    return re.split(r"[/.:]", config[0].partition("configs/")[2])[0] if config else command.words[2].split(".")[-1]


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.found_in(RUN)], ids=lambda command: command.text[:100])
def test_it_runs(command, desk):
    replaced, added = RUN[command.found_in(RUN)]
    text = command.text
    for old, new in replaced.items():
        assert old in text
        text = text.replace(old, new)
    _run([*shlex.split(text)[1:], *added.split()], desk)


def test_make_demo(desk):
    """Its recipe, with a small corpus and a small model."""
    told = subprocess.run(["make", "--dry-run", "demo"], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    (line,) = [line for line in told.splitlines() if "sercl_jax.main" in line]
    text = line.replace("serugcl.py", "serugcl.py:tiny,corpus=manifest") + f" {TINY} --config.data.manifest=my.csv"
    assert "report.html" in _run(shlex.split(text)[1:], desk)
    assert (desk / "runs" / "demo" / "report.html").stat().st_size > 10_000


@pytest.mark.parametrize("command", [c for c in COMMANDS if "--config=" in c.text and "--config=..." not in c.text],
                         ids=lambda command: command.text[:100])
def test_every_knob_and_choice_exists(command):
    """Of tables in every row."""
    flag = next(word for word in command.words if word.startswith("--config="))
    config = config_lib.of_file(*resources.config_file(flag.partition("=")[2]).partition(":")[::2])
    knobs.check([word for word in command.words if word.startswith("--config.")], config)
    for row in config.rows.values() if "rows" in config else ():
        sweep.variant(config, row)


@cache
def _help(program: tuple[str, ...]) -> str:
    return subprocess.run([sys.executable, *program, "--help"], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.words[:2] == ["python", "-m"]
                                     and not c.words[2].startswith("sercl_jax.main")],
                         ids=lambda command: command.text[:100])
def test_every_flag_exists(command):
    words = command.words[1:]
    assert importlib.util.find_spec(words[1])
    end = next((i for i, word in enumerate(words) if word.startswith("--")), 2)
    program = words[:3] if words[1] == "sercl_jax.corpora" else words[:2]
    for word in words[end:]:
        if word.startswith("--") and not word.startswith("--config."):
            assert word.partition("=")[0] in _help(tuple(program))


@pytest.mark.parametrize("target", sorted({c.words[1] for c in COMMANDS if c.words[0] == "make"}))
def test_every_make_target_exists(target):
    done = subprocess.run(["make", "--dry-run", target], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_make_lint_is_part_of_make_test():
    lint, test = (subprocess.run(["make", "--dry-run", target], capture_output=True, text=True, check=True,
                                 cwd=ROOT).stdout.splitlines() for target in ("lint", "test"))
    assert lint
    assert set(lint) <= set(test)


def test_every_extra_exists():
    known = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    named = {name for names in re.findall(r"(?:sercl_jax|[.])\[([\w,]+)\]", README) for name in names.split(",")}
    assert named
    assert named <= set(known)


def test_what_no_cluster_has_seen_is_said():
    assert "not been tried on a cluster" in " ".join(README.split())


def test_python_is_that_of_a_shipped_file_or_runs(desk):
    """Runs where my.csv is and, after `test_make_demo`, the workdir runs/demo; or is marked as a command may be."""
    shipped = {path.read_text(encoding="utf-8") for path in resources.folder("configs").rglob("*.py")}
    for language, text in FENCED.findall(README):
        if language == "python":
            compile(text, "README.md", "exec")
            if text not in shipped and "# needs " not in text:
                _run(["-c", text], desk)


def test_every_choice_of_the_config_is_explained():
    base = config_lib.base("serugcl", None)
    assert base.method == "serugcl"
    table = README.partition("## Choices")[2].partition("\n## ")[0]
    for name in ("corpus", "protocol", "folds", "training", "normalise", "features", "seeds", "fold_seeds", "pooling",
                 "tiny"):
        assert f"`{name}`" in table


def test_files_and_folders_named_in_the_readme_exist():
    for name in set(re.findall(r"`((?:configs|benchmarks|data_builders)/[\w/.]+)`", README)):
        assert (ROOT / name).exists(), name
