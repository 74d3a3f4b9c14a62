"""Portable models: `python -m sercl_jax.export --workdir=RUN --out=DIR`. From Python: `export`."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from sercl_jax import commands
from sercl_jax.errors import UserError

DESCRIPTION = """Makes a bundle of a finished run: a folder that predicts without the code that trained it.

  python -m sercl_jax.export --workdir=runs/mine --out=my-model
  python -m sercl_jax.predict --bundle=my-model call.wav
  python -m sercl_jax.export --workdir=runs/mine --out=my-model --platforms=cpu      for one kind of machine only
  python -m sercl_jax.export --workdir=runs/supcon --out=my-model --huggingface     the encoder for transformers, too
"""
EPILOG = """What the folder holds:

  programs/            StableHLO by jax.export, one program for each length of the inputs, for any number of windows;
                       weights are arguments. Features that are JAX are inside, so that it takes waveforms; others
                       (is10_librosa, opensmile) are named in bundle.json and computed by sercl_jax before.
  weights.safetensors  parameters, feature statistics, classifier, calibration
  bundle.json          labels, inputs, programs with their shapes, versions, SHA-256 of every file
  config.json          the config of the run, without its folders
  README.md            the model card: results with intervals, limits, licences of the corpora; look through it
                       before --out is written anywhere public (an edited one must be exported again)
  huggingface/         with --huggingface: config.json, preprocessor_config.json, model.safetensors

From Python: sercl_jax.load("my-model").predict("call.wav"). A bundle is refused if a file of it is missing, truncated
or altered. Opening one runs nothing but its programs, and these only compute: no Python code, no pickle; a program
that calls anything else is refused. Open only what comes from people whom you trust, all the same. JAX promises to
read programs for at least half a year after they were made: keep the workdir, to export it again.

Exit status: 0 it is written, 2 it is not, and nothing is left behind.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns 0, or 2 if nothing was written."""
    arguments = _parser().parse_args(argv)
    os.environ.setdefault("JAX_PLATFORMS", "cpu")  # programs are only lowered: no accelerator need be waited for
    return commands.status(lambda: _run(arguments), "Stopped; nothing was written.")


def _run(arguments: argparse.Namespace) -> None:
    export(arguments.workdir, arguments.out, seed=arguments.seed, platforms=arguments.platforms.split(","),
           frames=arguments.frames, huggingface=arguments.huggingface, progress=True)
    from sercl_jax.inference import packing

    print(packing.told(arguments.out))
    print(f"Try it:  python -m sercl_jax.predict --bundle={arguments.out} RECORDING")


def export(workdir: str | Path, out: str | Path, *, seed: int = 0, platforms: Sequence[str] = ("cpu", "cuda", "tpu"),
           frames: bool = False, huggingface: bool = False, progress: bool = False) -> None:
    """Writes a bundle, whole or not at all.

    Args:
      workdir: of a finished run.
      out: the folder to write; absent or empty.
      seed: of the pre-training to take, where a workdir holds several.
      platforms: what to lower programs for: "cpu", "cuda", "tpu".
      frames: whether frame embeddings go with it, in programs of their own.
      huggingface: whether a WavLM, HuBERT or wav2vec 2.0 encoder goes with it in HuggingFace's format.
      progress: whether to show a bar on stderr.

    Raises:
      UserError: `workdir` holds no model, one that cannot be exported, or not what was asked for; or `out` is not
        empty or cannot be written.
    """
    workdir, out = Path(workdir).expanduser(), Path(out).expanduser()
    from sercl_jax.inference import bundle, huggingface_files, loading, packing

    packing.check_empty(out)
    if (workdir / bundle.SHEET).is_file():
        raise UserError(f"{workdir}: is a bundle; give the workdir of the run that it was exported from.")
    pipeline = loading.pipeline_of(workdir, seed)
    request = packing.Request(tuple(dict.fromkeys(platforms)), frames,
                              huggingface_files.writer(workdir) if huggingface else None)
    packing.write(pipeline, out, request, progress=progress)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sercl_jax.export", description=DESCRIPTION, epilog=EPILOG,
                                     formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    add = parser.add_argument
    add("--workdir", type=Path, required=True, metavar="RUN", help="a finished run of sercl_jax.main")
    add("--out", type=Path, required=True, metavar="DIR", help="the folder to write; it must not hold anything")
    add("--seed", type=int, default=0, metavar="N", help="which model of a run that has one for each seed (0)")
    add("--platforms", default="cpu,cuda,tpu", metavar="A,B", help="what the programs are for: cpu, cuda, tpu (all)")
    add("--frames", action="store_true", help="embeddings of frames, too, in programs of their own")
    add("--huggingface", action="store_true", help="the speech encoder in HuggingFace's format, too (WavLM, HuBERT, "
        "wav2vec 2.0)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
