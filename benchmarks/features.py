"""Our IS10 descriptors beside openSMILE's: agreement, and time on the same files in the same run.

    python -m benchmarks.features --corpus_zip FILE [--files N] [--repeats N] [--workers N] [--json FILE]
    python -m benchmarks.features --corpus_zip FILE --agreement

The zip holds 16 kHz mono wav files (EMO-DB's `download.zip`, say); without it, the embedded demo corpus is used.
Needs the extra `opensmile`. `agreement` is Pearson's r of each descriptor over all frames of the files. Every side
extracts the files as a first run does, without a cache, one side after another in every repeat: `is10_librosa` and
openSMILE in WORKERS processes, `is10_jax` on the device, or on as many CPUs. What is done once whatever the number of
files is told apart as `start`: processes and imports, JAX's compilation. `ratio` is openSMILE's time over that of
`is10_jax`, both without their start, median over repeats; openSMILE's Python interface makes one pass for the
descriptors and one for their deltas, and `one_pass` is the time of the first only.
"""

import os

# One thread per process; the environment is read when NumPy is imported. JAX goes by the CPUs it may use.
os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import timing
from benchmarks.zip_corpus import Part, load_corpus
from sercl_jax import features, files, workers
from sercl_jax.errors import UserError
from sercl_jax.features import frames, opensmile

OURS, PEER, ONE_PASS = ("is10_jax", "is10_librosa"), "is10", "one_pass"


def one_pass(waveform: np.ndarray) -> np.ndarray:
    """[T, 38] descriptors by openSMILE."""
    return opensmile.one_pass(frames.to_float(waveform), "LowLevelDescriptors")


def extract(corpus: features.Corpus, kind: str, processes: int) -> tuple[float, np.ndarray]:
    """Seconds that a first extraction takes, and all frames."""
    with tempfile.TemporaryDirectory() as folder:
        progress = sys.stderr.isatty()
        start = time.perf_counter()
        if kind == ONE_PASS:
            made = workers.parallel_map(one_pass, [corpus.waveform(u) for u in range(len(corpus))], workers=processes,
                                        description=kind, unit="utterance", progress=progress)
            values = np.concatenate(list(made))
            return time.perf_counter() - start, values
        found = features.extract(corpus, kind, cache_dir=Path(folder), workers=processes, progress=progress)
        return time.perf_counter() - start, np.array(found.values)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's r; 1 for equal constants, 0 if only one is constant."""
    if a.std() == 0 or b.std() == 0:
        return float(np.array_equal(a, b))
    return float(np.corrcoef(a.astype(np.float64), b.astype(np.float64))[0, 1])


def agreement(values: dict[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """Pearson's r of each descriptor with openSMILE's, by side."""
    return {kind: {name: correlation(values[kind][:, k], values[PEER][:, k])
                   for k, name in enumerate(features.feature_names(PEER))} for kind in OURS}


def measure(corpus: features.Corpus, processes: int, repeats: int) -> dict[str, Any]:
    """Agreement, and interleaved times of all sides."""
    sides = [*OURS, PEER, ONE_PASS]
    few = Part(corpus, np.argsort([u.num_samples for u in corpus.utterances])[:processes].tolist())
    first, values = extract(corpus, OURS[0], processes)  # compiles
    frames_of = {OURS[0]: values}
    start = {kind: extract(few, kind, processes)[0] for kind in sides[1:]}
    seconds: dict[str, list[float]] = {kind: [] for kind in sides}
    for repeat in range(repeats):
        for kind in np.roll(sides, repeat).tolist():
            taken, values = extract(corpus, kind, processes)
            seconds[kind].append(taken)
            frames_of[kind] = values
    start[OURS[0]] = max(first - float(np.median(seconds[OURS[0]])), 0)
    timed = {kind: np.array(taken) - (0 if kind == OURS[0] else start[kind]) for kind, taken in seconds.items()}
    ratios = {ours: {peer: timing.spread(timed[peer] / timed[ours]) for peer in (PEER, ONE_PASS)} for ours in OURS}
    import jax

    return {"frames": len(frames_of[PEER]), "repeats": repeats, "workers": processes,
            "device": {"platform": jax.default_backend(), "kind": jax.devices()[0].device_kind},
            "start_seconds": start, "seconds": {kind: timing.summary(taken) for kind, taken in timed.items()},
            "ratio": ratios[OURS[0]][PEER], "ratios": ratios, "agreement": agreement(frames_of),
            "implausible": [f"{kind}: starting took as long as all files; take more files"
                            for kind, taken in timed.items() if taken.min() <= 0]}


def agree(corpus: features.Corpus, processes: int) -> dict[str, Any]:
    """Agreement alone."""
    frames_of = {kind: extract(corpus, kind, processes)[1] for kind in (*OURS, PEER)}
    return {"frames": len(frames_of[PEER]), "agreement": agreement(frames_of)}


def print_result(result: dict[str, Any]) -> None:
    """The table of agreement and, if there are any, times."""
    found = result["agreement"]
    print(f"Pearson's r with openSMILE: {result['files']} files of {result['corpus']}, {result['frames']} frames\n")
    print("| descriptor |" + "".join(f" {kind} | {kind}, delta |" for kind in OURS))
    print("|---" * (1 + 2 * len(OURS)) + "|")
    for name in features.feature_names(PEER)[:38]:
        cells = [f"{found[kind][column]:.6f}" for kind in OURS for column in (name, f"{name}_de")]
        print(f"| {' | '.join([name, *cells])} |")
    if "seconds" not in result:
        return
    print(f"\n{result['audio_minutes']:.1f} minutes of audio, {result['workers']} CPUs, "
          f"{result['device']['kind']}; seconds, and what is done once (processes, compilation):")
    for kind, timed in result["seconds"].items():
        print(f"  {kind:13} {timed['median']:7.2f} + {result['start_seconds'][kind]:.2f}")
    for ours, peers in result["ratios"].items():
        print(f"openSMILE's time over that of {ours}: {peers[PEER]['median']:.2f}, "
              f"{peers[ONE_PASS]['median']:.2f} for its pass without deltas")
    for line in result["implausible"]:
        print(f"implausible: {line}", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus_zip", type=Path, help="zip of 16 kHz mono wav files; the demo corpus without it")
    parser.add_argument("--files", type=int, default=0, help="how many files, drawn with seed 0; 0 takes all")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--workers", type=int, default=workers.cpu_count(), help="CPUs for every side")
    parser.add_argument("--agreement", action="store_true", help="the table of agreement, without times")
    parser.add_argument("--json", type=Path, help="where to write every figure")
    arguments = parser.parse_args()
    try:
        whole = load_corpus(arguments.corpus_zip)
        corpus: features.Corpus = whole
        if arguments.files:
            rows = np.random.default_rng(0).permutation(len(whole))[:arguments.files]
            corpus = Part(whole, np.sort(rows).tolist())
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:arguments.workers])
        result = {"benchmark": "features", "date": timing.now(), "machine": timing.machine(), "corpus": corpus.name,
                  "files": len(corpus), "audio_minutes": sum(u.seconds for u in corpus.utterances) / 60,
                  "versions": timing.versions("jax", "numpy", "opensmile"),
                  **(agree(corpus, arguments.workers) if arguments.agreement else
                     measure(corpus, arguments.workers, arguments.repeats))}
        print_result(result)
        if arguments.json:
            files.write_json(arguments.json, result)
    except UserError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
