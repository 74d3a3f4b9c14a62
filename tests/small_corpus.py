"""A corpus small enough for end-to-end tests: tones whose pitch and loudness tell the emotion, noise the speaker."""

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

SPEAKERS = ("ann", "bob", "cem", "dora")
SENTENCES = ("s1", "s2", "s3")
EMOTIONS = {"angry": (220.0, 0.5), "neutral": (140.0, 0.2), "sad": (100.0, 0.05)}  # Hz, amplitude
RATE = 16_000


def write(folder: Path, seed: int = 0, rated: bool = False) -> Path:
    """Writes 36 WAV files of about half a second and returns the manifest that lists them, perhaps with ratings."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    rows = []
    for s, speaker in enumerate(SPEAKERS):
        for t, sentence in enumerate(SENTENCES):
            for emotion, (hz, amplitude) in EMOTIONS.items():
                time = np.arange(int(RATE * (0.4 + 0.05 * t))) / RATE
                phase = 2 * np.pi * hz * (1 + 0.1 * s + 0.05 * rng.normal()) * time
                voice = sum(np.sin(k * phase) / k for k in range(1, 12))
                noise = rng.normal(size=len(time)) * 0.02 * (1 + s)
                name = f"{speaker}_{sentence}_{emotion}.wav"
                soundfile.write(folder / name, np.clip(amplitude * voice * 0.4 + noise, -1, 1), RATE)
                rows.append({"path": name, "label": emotion, "speaker": speaker, "text": sentence})
                if rated:
                    around = 0.1 * rng.normal(size=3)
                    rows[-1] |= {"session": str(1 + s // 2), "activation": f"{3 + 4 * amplitude + around[0]:.3f}",
                                 "valence": f"{3 - s / 4 + around[1]:.3f}",
                                 "dominance": f"{3 + hz / 200 + around[2]:.3f}"}
    manifest = folder / "manifest.csv"
    with manifest.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    return manifest


def command(manifest: Path, cache: Path, workdir: Path, *flags: str, choices: str = "",
            config: str = "configs/serugcl.py") -> list[str]:
    """A command line that trains on it in seconds."""
    choice = ",".join(filter(None, ["corpus=manifest,tiny,protocol=loso", choices]))
    return [sys.executable, "-m", "sercl_jax.main", f"--config={config}:{choice}",
            f"--config.data.manifest={manifest}", f"--config.data.cache_dir={cache}", "--config.data.workers=1",
            f"--workdir={workdir}", "--config.eval.baseline=no", *flags]


def start(arguments: list[str], log: Path) -> subprocess.Popen:
    """Starts a command in a process group of its own, with one device; its output goes to the log."""
    environment = {**os.environ, "XLA_FLAGS": "", "JAX_PLATFORMS": "cpu"}
    with log.open("w", encoding="utf-8") as file:
        return subprocess.Popen(arguments, stdout=file, stderr=file, start_new_session=True, env=environment)


def finish(process: subprocess.Popen, log: Path) -> None:
    """Waits for its end, which must be a good one."""
    assert process.wait(timeout=600) == 0, log.read_text(encoding="utf-8")


def kill_at(arguments: list[str], log: Path, folder: Path, sign: str) -> None:
    """Starts a command and kills it as soon as a file like `sign` is in the folder."""
    process = start(arguments, log)
    deadline = time.monotonic() + 300
    while not list(folder.glob(sign)) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert list(folder.glob(sign)), f"the run never made {sign}: {log.read_text(encoding='utf-8')}"


def leaves(tree, name: str = "") -> Iterator[tuple[str, np.ndarray]]:
    """Names and arrays of nested dicts, in the order of their names."""
    if isinstance(tree, dict):
        for key in sorted(tree):
            yield from leaves(tree[key], f"{name}/{key}")
    else:
        yield name, np.asarray(tree)
