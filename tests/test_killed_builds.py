"""A build that is killed at any moment leaves nothing that a later run trusts; nor do full and read-only disks."""

import json
import os
import random
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from builds import Build, Starter

from sercl_jax import corpora

UTTERANCES = 8
KILLS = 24
Calm = tuple[dict[str, bytes], str, int, int]


@pytest.fixture(scope="module")
def manifest(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    lines = ["path,label,speaker"]
    for number in range(UTTERANCES):
        soundfile.write(folder / f"{number}.wav", rng.integers(-9000, 9000, 4000).astype(np.int16), 16_000)
        lines.append(f"{number}.wav,{'sad' if number % 2 else 'happy'},{number % 3}")
    (folder / "m.csv").write_text("\n".join(lines), encoding="utf-8")
    return folder / "m.csv"


@pytest.fixture(scope="module")
def starters(tmp_path_factory) -> Iterator[tuple[Starter, Starter]]:
    folder = tmp_path_factory.mktemp("logs")
    both = Starter(folder / "one"), Starter(folder / "two")
    yield both
    for starter in both:
        starter.close()


@pytest.fixture
def starter(starters) -> Starter:
    return starters[0]


@pytest.fixture(scope="module")
def calm(manifest, starters, tmp_path_factory) -> Calm:
    """What an undisturbed build leaves, its key, and its numbers of calls and of operations on files."""
    cache = tmp_path_factory.mktemp("calm")
    build = starters[0].build(manifest, cache, then="count")
    _, count, key, calls, operations = build.wait_for("done")
    build.wait_for("ended")
    assert int(count) == UTTERANCES
    return contents(cache), key, int(calls), int(operations)


def contents(cache: Path) -> dict[str, bytes]:
    """Every file below the cache, and what is in it."""
    return {str(path.relative_to(cache)): path.read_bytes() for path in cache.rglob("*") if path.is_file()}


def utterances(content: dict[str, bytes]) -> list[dict[str, object]]:
    """Every utterance: its row in the records, all that is known of it, and a digest of its samples."""
    (index,) = (data for name, data in content.items() if name.endswith("utterances.json"))
    return json.loads(index)["utterances"]


def check_next_run(starter: Starter, manifest: Path, cache: Path, calm: Calm) -> None:
    """A later run finds or builds exactly what an undisturbed one makes, and nothing else is left."""
    expected, key, _, _ = calm
    again = starter.build(manifest, cache)
    assert again.wait_for("done")[1:3] == [str(UTTERANCES), key], starter.log.read_text(encoding="utf-8")
    again.wait_for("ended")
    found = contents(cache)
    assert set(found) == set(expected)
    assert not [path for path in cache.rglob("*") if path.is_dir() and not any(path.iterdir())]
    assert utterances(found) == utterances(expected)
    corpus = corpora.load("manifest", cache_dir=cache, manifest=manifest, workers=0, progress=False)
    for u, utterance in enumerate(corpus.utterances):
        np.testing.assert_array_equal(
            corpus.waveform(u), soundfile.read(manifest.parent / utterance.id, dtype="int16")[0])


def finished(build: Build) -> bool:
    """Whether it came to its end before it was killed."""
    return any(line.startswith("done") for line in build.said)


def test_kill_9_at_random_moments(starter, manifest, calm, tmp_path):
    """One moment drawn from each of 24 equal parts of the build; another process kills it."""
    rng = random.Random(0)
    _, _, calls, _ = calm
    killed = 0
    for part in range(KILLS):
        cache = tmp_path / str(part)
        moment = 1 + int((part + rng.random()) * calls / KILLS * 0.99)
        build = starter.build(manifest, cache, moment=moment, then="tell")
        assert build.wait_for("now"), build.said
        build.kill()
        build.wait_for("ended")
        assert build.status == -signal.SIGKILL or finished(build)
        killed += not finished(build)
        check_next_run(starter, manifest, cache, calm)
    assert killed >= 20


def test_kill_9_before_operations_on_files(starter, manifest, calm, tmp_path):
    """Each state of the disk between the first folder and the end may be the last."""
    _, _, _, operations = calm
    rng = random.Random(1)
    states = set()
    for moment in sorted({operations, *rng.sample(range(operations // 2, operations), 23)}):
        cache = tmp_path / str(moment)
        build = starter.build(manifest, cache, moment=moment, then="die")
        build.wait_for("ended")
        assert build.status == -signal.SIGKILL
        states.add(frozenset(contents(cache)))
        check_next_run(starter, manifest, cache, calm)
    assert len(states) > 5


@pytest.mark.parametrize("whole_group", [True, False])
def test_kill_9_while_workers_decode(starter, manifest, calm, tmp_path, whole_group):
    """Workers whose parent alone is killed end by themselves: `ended` comes when there is none."""
    _, _, calls, _ = calm
    for part in (0.4, 0.6, 0.8):
        cache = tmp_path / str(part)
        build = starter.build(manifest, cache, workers=2, moment=int(part * calls), then="stop")
        assert build.wait_for("now"), build.said
        build.kill(whole_group)
        build.wait_for("ended")
        assert build.status == -signal.SIGKILL
        check_next_run(starter, manifest, cache, calm)


def test_of_two_builds_one_waits_and_says_so(starters, manifest, calm, tmp_path):
    first, second = starters
    _, key, calls, _ = calm
    holder = first.build(manifest, tmp_path, moment=calls // 2, then="stop")
    holder.wait_for("now")
    waiting = second.build(manifest, tmp_path)
    said = second.log.read_text(encoding="utf-8")
    while "waiting for it" not in said:
        said = second.log.read_text(encoding="utf-8")
    assert "Another process is making the records of manifest; waiting for it" in said
    os.kill(holder.pid, signal.SIGCONT)
    for build in (holder, waiting):
        assert build.wait_for("done")[1:3] == [str(UTTERANCES), key]
        build.wait_for("ended")
    check_next_run(first, manifest, tmp_path, calm)


def test_who_waits_builds_when_the_other_is_killed(starters, manifest, calm, tmp_path):
    first, second = starters
    _, key, calls, _ = calm
    holder = first.build(manifest, tmp_path, moment=calls * 2 // 3, then="stop")
    holder.wait_for("now")
    before = second.log.stat().st_size
    waiting = second.build(manifest, tmp_path)
    while second.log.stat().st_size == before:  # until it says that it waits
        assert holder.status is None
    holder.kill()
    holder.wait_for("ended")
    assert waiting.wait_for("done")[1:3] == [str(UTTERANCES), key]
    waiting.wait_for("ended")
    check_next_run(first, manifest, tmp_path, calm)


def test_disks_of_every_size_below_what_is_needed(starter, manifest, calm, tmp_path):
    """From one that has no room for a record up to one that lacks only the index' last page."""
    outcomes = []
    for pages in (0, 1, 4, 15, 17, 18, 19, 20, 24, 64):
        cache = tmp_path / str(pages)
        build = starter.build(manifest, cache, disk=max(pages, 1) * 4096)
        build.wait_for("ended")
        told = build.said[-1]
        outcomes.append(told.split()[0])
        if told.startswith("error"):
            message, _, left = told.partition(" LEFT ")
            assert str(cache) in message
            assert any(word in message for word in ("No space left on device", "File too large")), message
            assert "Free some space" in message or "choose another place" in message or "writable" in message
            assert all(name.endswith(".lock") or "." not in Path(name).name for name in left.split()), left
    assert outcomes[0] == "error"
    assert outcomes == sorted(outcomes, reverse=True)


def test_a_read_only_folder(starter, manifest, calm, tmp_path):
    build = starter.build(manifest, tmp_path / "new", disk="read-only")
    build.wait_for("ended")
    (told,) = [line for line in build.said if line.startswith("error")]
    assert "cannot be made" in told
    assert "choose another place" in told
    # Records that are whole are read from such a folder like from any other.
    starter.build(manifest, tmp_path / "old").wait_for("ended")
    before = contents(tmp_path / "old")
    build = starter.build(manifest, tmp_path / "old", disk="read-only")
    build.wait_for("ended")
    if "disk mounted" in build.said:
        assert build.said[-1].split()[:3] == ["done", str(UTTERANCES), calm[1]]
    assert contents(tmp_path / "old") == before


def test_damaged_records_in_a_read_only_folder(starter, manifest, tmp_path):
    starter.build(manifest, tmp_path).wait_for("ended")
    (shard,) = tmp_path.rglob("*.array_record*")
    os.truncate(shard, 1000)
    before = contents(tmp_path)
    build = starter.build(manifest, tmp_path, disk="read-only")
    build.wait_for("ended")
    assert build.said[-1].startswith("error")
    assert "writable" in build.said[-1] or "another" in build.said[-1]
    assert contents(tmp_path) == before
    shutil.rmtree(tmp_path)
