"""Our IS10 descriptors beside openSMILE's: agreement, and time on the same files in the same run.

    python -m benchmarks.features --corpus_zip FILE [--files N] [--repeats N] [--workers N] [--json FILE]

The zip holds 16 kHz mono wav files (EMO-DB's `download.zip`, say); without it, the embedded demo corpus is used.
Needs the extra `opensmile`. `agreement` is Pearson's r of each descriptor over all frames of the sampled files;
`ratio` is openSMILE's time over ours, one thread each, the median over files and repeats. openSMILE's Python
interface makes one pass for the descriptors and one for their deltas; `ratio_one_pass` counts the first only.
`extract` is a whole corpus through `features.extract`, in parallel, without a cache.
"""

import os

# One thread for both sides; the environment is read when NumPy is imported.
os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

import argparse
import io
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from sercl_jax import features, files, workers
from sercl_jax.errors import UserError
from sercl_jax.features import frames, opensmile
from sercl_jax.types import SAMPLE_RATE, Utterance

OURS, PEER = "is10_librosa", "is10"
ONE_PASS = "is10, descriptors only"


class ZipCorpus:
    """The wav files of a zip, held in memory."""

    def __init__(self, path: Path):
        self.name, self.key = path.stem, "benchmark"
        self._waveforms = []
        utterances = []
        try:
            with zipfile.ZipFile(path) as archive:
                for member in sorted(name for name in archive.namelist() if name.lower().endswith(".wav")):
                    waveform, rate = soundfile.read(io.BytesIO(archive.read(member)), dtype="int16")
                    if rate != SAMPLE_RATE or waveform.ndim != 1:
                        raise UserError(f"{path}: {member} is not 16 kHz mono.")
                    self._waveforms.append(waveform)
                    utterances.append(Utterance(id=member, num_samples=len(waveform)))
        except (OSError, zipfile.BadZipFile) as error:
            raise UserError(f"{path}: not a readable zip ({error}).") from error
        if not utterances:
            raise UserError(f"{path}: holds no wav files.")
        self.utterances = tuple(utterances)

    def __len__(self) -> int:
        return len(self.utterances)

    def waveform(self, u: int) -> np.ndarray:
        return self._waveforms[u]


def load_corpus(corpus_zip: Path | None) -> features.Corpus:
    """The zip's files, or the demo corpus, whose records are built if missing."""
    if corpus_zip is not None:
        return ZipCorpus(corpus_zip)
    from sercl_jax import corpora

    cache = Path(os.environ.get("SERCL_CACHE") or "~/.cache/sercl_jax").expanduser().resolve()
    return corpora.load("demo", cache_dir=cache)


def describe(waveform: np.ndarray, name: str) -> np.ndarray:
    """[T, 76] descriptors, or [T, 38] for ONE_PASS."""
    if name != ONE_PASS:
        return features.describe(waveform, name)
    return opensmile.one_pass(frames.to_float(waveform), "LowLevelDescriptors")


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's r; 1 for equal constants, 0 if only one is constant."""
    if a.std() == 0 or b.std() == 0:
        return float(np.array_equal(a, b))
    return float(np.corrcoef(a.astype(np.float64), b.astype(np.float64))[0, 1])


def compare(corpus: features.Corpus, count: int, repeats: int) -> dict[str, Any]:
    """Agreement and interleaved times on files drawn with seed 0."""
    chosen = np.random.default_rng(0).choice(len(corpus), min(count, len(corpus)), replace=False)
    sides = [OURS, PEER, ONE_PASS]
    for name in sides:  # warm up: tables, openSMILE's configuration
        describe(corpus.waveform(int(chosen[0])), name)
    values: dict[str, list[np.ndarray]] = {name: [] for name in sides}
    seconds = {name: np.zeros((repeats, len(chosen))) for name in sides}
    for repeat in range(repeats):
        for position, u in enumerate(chosen):
            waveform = corpus.waveform(int(u))
            for name in np.roll(sides, repeat).tolist():
                start = time.perf_counter()
                described = describe(waveform, name)
                seconds[name][repeat, position] = time.perf_counter() - start
                if repeat == 0:
                    values[name].append(described)
    ours, peer = np.concatenate(values[OURS]), np.concatenate(values[PEER])
    return {
        "files": len(chosen), "repeats": repeats, "frames": len(ours),
        "seconds_per_file": {name: {"median": float(np.median(seconds[name]))} for name in sides},
        "ratio": {"median": float(np.median(seconds[PEER] / seconds[OURS]))},
        "ratio_one_pass": {"median": float(np.median(seconds[ONE_PASS] / seconds[OURS]))},
        "agreement": {name: correlation(ours[:, k], peer[:, k])
                      for k, name in enumerate(features.feature_names(PEER))},
    }


def extract(corpus: features.Corpus, processes: int) -> dict[str, Any]:
    """A whole corpus, as a first run extracts it."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        features.extract(corpus, OURS, cache_dir=Path(folder), workers=processes, progress=sys.stderr.isatty())
        seconds = time.perf_counter() - start
    return {"utterances": len(corpus), "audio_minutes": sum(u.seconds for u in corpus.utterances) / 60,
            "workers": processes, "seconds": seconds}


def print_table(result: dict[str, Any]) -> None:
    print(f"| descriptor | r, {result['files']} files, {result['frames']} frames | r of its delta |\n|---|---|---|")
    agreement = result["agreement"]
    for name in features.feature_names(OURS)[:38]:
        print(f"| {name} | {agreement[name]:.6f} | {agreement[f'{name}_de']:.6f} |")
    seconds, whole = result["seconds_per_file"], result["extract"]
    print(f"\nSeconds per file, one thread: ours {seconds[OURS]['median']:.4f}, openSMILE "
          f"{seconds[PEER]['median']:.4f}; openSMILE's over ours {result['ratio']['median']:.2f} "
          f"({result['ratio_one_pass']['median']:.2f} for its pass without deltas)")
    print(f"Whole corpus: {whole['utterances']} utterances, {whole['audio_minutes']:.1f} minutes of audio in "
          f"{whole['seconds']:.1f} s on {whole['workers']} processes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus_zip", type=Path, help="zip of 16 kHz mono wav files; the demo corpus without it")
    parser.add_argument("--files", type=int, default=60, help="how many files to compare on")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--workers", type=int, default=workers.cpu_count(), help="processes for the whole corpus")
    parser.add_argument("--json", type=Path, help="where to write every figure")
    arguments = parser.parse_args()
    try:
        corpus = load_corpus(arguments.corpus_zip)
        result = {"benchmark": "features", "corpus": corpus.name,
                  **compare(corpus, arguments.files, arguments.repeats),
                  "extract": extract(corpus, arguments.workers)}
        print_table(result)
        if arguments.json:
            files.write_json(arguments.json, result)
    except UserError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
