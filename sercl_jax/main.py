"""The command line: `python -m sercl_jax.main --config=configs/serugcl.py[:choices] [--workdir=DIR]`."""

import datetime
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags
from ml_collections import ConfigDict, config_flags

from sercl_jax import resources
from sercl_jax.errors import UserError

HELP = """Speech emotion recognition by contrastive learning: trains, evaluates and reports.

  python -m sercl_jax.main --config=configs/serugcl.py                       the embedded synthetic corpus
  python -m sercl_jax.main --config=configs/serugcl.py:corpus=emodb,protocol=loso \\
      --config.data.manual_dir=DIR --workdir=runs/emodb                      EMO-DB from its download.zip
  python -m sercl_jax.main --config=configs/serugcl.py:corpus=manifest \\
      --config.data.manifest=my.csv                                          your own recordings
  python -m sercl_jax.main --config=configs/cpc.py                           activation, valence, dominance
  python -m sercl_jax.main --config=configs/cpc.py:setup=pretrain,corpus=librispeech \\
      --config.data.manual_dir=DIR --workdir=runs/cpc                        pre-training on unlabelled speech
  python -m sercl_jax.main --config=configs/supcon.py                        a speech encoder for several corpora
  python -m sercl_jax.main --config=configs/supcon.py:corpora=iemocap+casia,encoder=wavlm-base-plus \\
      --config.data.manual_dir=DIR --config.encoder.path=FOLDER_OR_HUB_ID    the paper's experiment
  python -m sercl_jax.main --config=configs/tables/serugcl_table5.py:corpus=emodb ...    a table of a paper

Flags:
  --config=FILE[:CHOICES]   a file of configs/; its docstring lists its comma-separated choices
  --config.KEY=VALUE        overrides any knob, e.g. --config.train.epochs=20
  --workdir=DIR             where everything goes; the default is a dated folder under runs/. The same folder
                            again resumes the run or, if it is finished, prints its result.
  --dry_run                 print the resolved config and stop

Configs:
"""

_FLAGS = flags.FlagValues()
_CONFIG = config_flags.DEFINE_config_file("config", lock_config=True, flag_values=_FLAGS,
                                          help_string="Config file, with its choices after a colon.")
flags.DEFINE_string("workdir", None, "Folder for everything the run writes.", flag_values=_FLAGS)
flags.DEFINE_bool("dry_run", False, "Print the resolved config and stop.", flag_values=_FLAGS)
flags.DEFINE_bool("help", False, "Show this help.", short_name="h", flag_values=_FLAGS)


def help_text() -> str:
    """What `--help` prints: how to call it, and the first line of every config's docstring."""
    lines = [HELP.rstrip("\n")]
    configs = resources.folder("configs")
    for path in sorted(configs.rglob("*.py")):
        if path.name != "__init__.py":
            summary = path.read_text(encoding="utf-8").split('"""')[1].strip().splitlines()[0]
            lines.append(f"  configs/{path.relative_to(configs).as_posix():<28} {summary}")
    return "\n".join(lines)


def parse(argv: Sequence[str]) -> tuple[ConfigDict, Path]:
    """Reads the command line into a locked config and a workdir.

    Raises:
      UserError: an unknown flag, knob or choice, a value of the wrong type, or no config.
    """
    arguments = [f"--config={resources.config_file(a.split('=', 1)[1])}" if a.startswith("--config=") else a
                 for a in argv]
    try:
        rest = _FLAGS(list(arguments))
    except (flags.Error, AttributeError, KeyError, ValueError, TypeError) as error:
        # config_flags answers an unknown knob with an AttributeError whose text names the nearest known one.
        text = str(error).strip("'\"").replace("\\n", " ").replace("\\'", "'").replace("\n", " ")
        start = "" if isinstance(error, flags.Error) else "config: there is no such knob, or its value does not fit: "
        raise UserError(start + text) from error
    if _FLAGS.help:
        return ConfigDict(), Path()
    if len(rest) > 1:
        raise UserError(f"{rest[1]!r}: every argument is a flag; see --help.")
    if _FLAGS.config is None:
        raise UserError("--config is missing, for example --config=configs/serugcl.py; see --help.")
    config = _FLAGS.config
    if _FLAGS.workdir:
        return config, Path(_FLAGS.workdir)
    stamp = datetime.datetime.now().strftime("%Y-%m-%d_%H%M%S")
    what = "+".join(config.corpora) if "corpora" in config else config.data.corpus
    return config, Path("runs") / f"{stamp}-{config.method}-{what}"


def main(argv: Sequence[str]) -> int:
    """Runs the command line; returns the exit status: 0, or 2 when something is the user's to mend."""
    try:
        config, workdir = parse(argv)
        if _FLAGS.help:
            print(help_text())
            return 0
        if _FLAGS.dry_run:
            print(json.dumps(config.to_dict(), indent=2))
            return 0
        # JAX is imported only now, so that --help and mistakes are answered at once.
        from sercl_jax import experiment, sweep

        if "rows" in config:
            sweep.run(config, workdir)
        else:
            experiment.run(config, workdir)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nStopped; the same command with the same --workdir resumes.", file=sys.stderr)
        return 130
    return 0


def use_huge_pages() -> None:
    """Starts this program again, once, with glibc told to ask for huge pages; elsewhere does nothing.

    XLA's workspace on a CPU is new memory in every step; in pages of 4 KiB its page faults took over a third of a
    training step. glibc reads the setting only when a program starts. Yours, if you have one, stands.
    """
    glibc = sys.platform == "linux" and "CS_GNU_LIBC_VERSION" in os.confstr_names
    if glibc and "GLIBC_TUNABLES" not in os.environ:
        os.environ["GLIBC_TUNABLES"] = "glibc.malloc.hugetlb=1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def run() -> None:
    """Entry point of the `sercl` command."""
    use_huge_pages()
    try:
        status = main(sys.argv)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has seen enough, as in `... --help | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    sys.exit(status)


if __name__ == "__main__":
    run()
