"""What data_builders/README.md shows works: its files are written into a copy of the checkout, its commands run."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.named_corpora import write_tree, write_zip

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "data_builders" / "README.md").read_text(encoding="utf-8")
NAMED = re.compile(r"`([\w./]+)`:\n\n```\w+\n(.*?)```", re.DOTALL)  # a file's name, then its content
SHELL = re.compile(r"```sh\n(.*?)```", re.DOTALL)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """A copy with the files of the page, and the audio they speak of."""
    folder = tmp_path_factory.mktemp("checkout")
    ignored = shutil.ignore_patterns("__pycache__", ".*")
    for name in ("sercl_jax", "data_builders", "configs"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in ("pyproject.toml", "tests/conftest.py", "tests/named_corpora.py"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    for name, content in NAMED.findall(PAGE):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    (folder / "data_builders" / "mine" / "__init__.py").touch()
    write_tree(folder, re.findall(r"^(audio/\w+[.]wav),", PAGE, re.MULTILINE))
    write_tree(folder / "recordings", [f"{speaker}/{emotion} {take}.wav" for emotion in ("angry", "sad")
                                       for speaker, take in zip(["anna", "anna", "ben", "ben"], "1234", strict=True)])
    write_zip(folder / "mine.zip", [f"mine/{speaker}_{emotion}_{sentence}.wav" for speaker in ("f1", "m1")
                                    for emotion in ("ang", "neu") for sentence in "123"])
    return folder


def run(command: str, checkout: Path) -> str:
    programs = str(Path(sys.executable).parent)  # `python` and `tfds` are those of this environment
    done = subprocess.run(command, shell=True, cwd=checkout, capture_output=True, text=True, check=False, env={
        **os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": str(checkout),
        "PYTHONDONTWRITEBYTECODE": "1", "SERCL_CACHE": str(checkout / "cache")})
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_page_is_complete():
    assert [name for name, _ in NAMED.findall(PAGE)] == [
        "my.csv", "data_builders/mine/mine_dataset_builder.py", "tests/test_builders_mine.py"]
    assert len(PAGE.split("```")) == 2 * (len(NAMED.findall(PAGE)) + len(SHELL.findall(PAGE))) + 1
    rows = re.findall(r"^\| (`.*?`) \|", PAGE, re.MULTILINE)
    builders = {path.name for path in (ROOT / "data_builders").iterdir() if (path / "__init__.py").exists()}
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == builders - {
        "demo", "demo_unlabelled", "folder", "manifest"}


@pytest.mark.parametrize(("command", "said"), [
    ("corpora check --corpus=folder", "by the first level of folders: anna, ben"),
    ("splits --config=configs/serugcl.py:corpus=folder", "speaker anna"),
    ("corpora check --corpus=manifest", "fine"), ("splits --config=configs/serugcl.py:corpus=manifest", "anna"),
    ("main", ""), ("pytest", "3 passed"), ("corpora check --corpus=mine", "fine"),
    ("splits --config=configs/serugcl.py:corpus=mine", "f1"), ("tfds build", "")])
def test_its_commands(checkout, command, said):
    (line,) = [line for block in SHELL.findall(PAGE) for line in block.splitlines() if command in line]
    output = run(line + (" --dry_run" if command == "main" else ""), checkout)
    assert said in output
    if command == "tfds build":
        assert list((checkout / "records").rglob("mine-train.array_record*"))
