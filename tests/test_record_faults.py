"""A record build that is killed, starved of disk, or run twice at once ends as one that was left in peace."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sercl_jax import corpora
from sercl_jax.errors import UserError

# Runs a build that dies by SIGKILL when it reaches `moment`, or under a limit on the size of files.
SCRIPT = """
import os, resource, signal, sys
from pathlib import Path

from sercl_jax import corpora
from sercl_jax.errors import UserError


def dying(function, call):
    count = 0

    def wrapper(*arguments, **options):
        nonlocal count
        count += 1
        if count == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)

    return wrapper


def arrange(moment):
    from sercl_jax import audio
    from sercl_jax.corpora import index
    if moment == "first":
        audio.decode = dying(audio.decode, 1)
    elif moment == "middle":
        audio.decode = dying(audio.decode, 4)
    elif moment == "shards written":
        index.write = dying(index.write, 1)
    elif moment == "moving":
        Path.rename = dying(Path.rename, 2)
    elif moment == "replacing":
        Path.replace = dying(Path.replace, 2)  # the first puts the index in its place
    elif moment == "full":
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))


if __name__ == "__main__":
    cache, manifest, moment, workers = sys.argv[1:]
    arrange(moment)
    try:
        corpus = corpora.load("manifest", cache_dir=Path(cache), manifest=Path(manifest), workers=int(workers))
    except UserError as error:
        sys.exit(f"UserError: {error}")
    print(len(corpus), corpus.key)
"""


@pytest.fixture(scope="module")
def manifest(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    random = np.random.default_rng(0)
    for number in range(8):
        soundfile.write(folder / f"{number}.wav", random.integers(-9000, 9000, 16_000).astype(np.int16), 16_000)
    path = folder / "m.csv"
    path.write_text("path,label,speaker\n" + "".join(f"{number}.wav,sad,1\n" for number in range(8)),
                    encoding="utf-8")
    (folder / "build.py").write_text(SCRIPT, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def key(manifest, tmp_path_factory) -> str:
    """The key of an undisturbed build."""
    return corpora.load("manifest", cache_dir=tmp_path_factory.mktemp("calm"), manifest=manifest, workers=0,
                        progress=False).key


def start(manifest: Path, cache: Path, moment: str = "never", workers: int = 0) -> subprocess.Popen:
    command = [sys.executable, str(manifest.parent / "build.py"), str(cache), str(manifest), moment, str(workers)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            start_new_session=True)


def left_in(cache: Path) -> set[str]:
    """Names of everything in the records' folder."""
    (folder,) = (cache / "records" / "manifest").iterdir()
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("moment", ["first", "middle", "shards written", "moving", "replacing"])
def test_a_killed_build_leaves_nothing_that_is_trusted(manifest, key, tmp_path, moment):
    killed = start(manifest, tmp_path, moment)
    killed.communicate(timeout=120)
    assert killed.returncode == -signal.SIGKILL
    assert "1.0.0" not in left_in(tmp_path)
    assert len(left_in(tmp_path)) == 2  # the lock and the unfinished folder
    corpus = corpora.load("manifest", cache_dir=tmp_path, manifest=manifest, workers=0, progress=False)
    assert corpus.key == key
    assert left_in(tmp_path) == {"1.0.0", "1.0.0.lock"}


def test_a_whole_process_group_is_killed_while_workers_decode(manifest, key, tmp_path):
    build = start(manifest, tmp_path, workers=2)
    # The unfinished folder appears before the workers start; that is when the group dies.
    while not list(tmp_path.glob("records/manifest/*/.1.0.0.*.tmp")):
        assert build.poll() is None
    os.killpg(build.pid, signal.SIGKILL)
    build.communicate(timeout=120)
    assert build.returncode == -signal.SIGKILL
    assert "1.0.0" not in left_in(tmp_path)
    again = start(manifest, tmp_path, workers=2)
    output, _ = again.communicate(timeout=120)
    assert output.split() == ["8", key]
    assert left_in(tmp_path) == {"1.0.0", "1.0.0.lock"}


def test_two_builds_at_once(manifest, key, tmp_path):
    builds = [start(manifest, tmp_path) for _ in range(2)]
    outputs = [build.communicate(timeout=120) for build in builds]
    assert [output.split() for output, _ in outputs] == [["8", key]] * 2
    # Only one of them decoded: the other waited, or came when all was done.
    assert sum("records of manifest: 100%" in errors for _, errors in outputs) == 1
    assert left_in(tmp_path) == {"1.0.0", "1.0.0.lock"}


def test_a_full_disk(manifest, key, tmp_path):
    build = start(manifest, tmp_path, "full")
    output, errors = build.communicate(timeout=120)
    assert build.returncode == 1
    assert output == ""
    message = re.sub(r"\s+", " ", errors)
    assert "UserError" in message
    assert "File too large" in message
    assert "nothing was changed. Free some space" in message
    assert left_in(tmp_path) == {"1.0.0.lock"}
    corpus = corpora.load("manifest", cache_dir=tmp_path, manifest=manifest, workers=0, progress=False)
    assert corpus.key == key


def test_a_cache_that_cannot_be_made(manifest, tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(UserError, match="choose another"):
        corpora.load("manifest", cache_dir=tmp_path / "file", manifest=manifest, workers=0, progress=False)
