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

Before training: python -m sercl_jax.corpora check --corpus=... looks at the recordings, and
python -m sercl_jax.splits, with the flags above, shows who is tested on what.

Several processes, one for each host or each accelerator, train together: give each the same command and
  --coordinator=HOST:PORT   address of process 0, on any free port; "auto" under Slurm (srun), Open MPI, on Cloud TPU
                            and in a Kubernetes JobSet, which tell the rest
  --num_processes=N         how many there are
  --process_id=I            which this one is, from 0; process 0 writes the workdir
  --heartbeat=SECONDS       if one dies, the others end after that time at the latest (60); the same command, with as
                            many processes as you like, goes on from the last checkpoint
or set SERCL_COORDINATOR, SERCL_NUM_PROCESSES, SERCL_PROCESS_ID and SERCL_HEARTBEAT.

Configs:
"""

_FLAGS = flags.FlagValues()
_CONFIG = config_flags.DEFINE_config_file("config", lock_config=True, flag_values=_FLAGS,
                                          help_string="Config file, with its choices after a colon.")
flags.DEFINE_string("workdir", None, "Folder for everything the run writes.", flag_values=_FLAGS)
flags.DEFINE_bool("dry_run", False, "Print the resolved config and stop.", flag_values=_FLAGS)
flags.DEFINE_string("coordinator", None, "HOST:PORT of process 0, or auto.", flag_values=_FLAGS)
for _name in ("num_processes", "process_id", "heartbeat"):
    flags.DEFINE_integer(_name, None, "Of several processes, see --help.", flag_values=_FLAGS)
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


def _join_others() -> None:
    """Joins the processes of one training, if flags or the environment name others.

    Raises:
      UserError: they cannot be joined, or a number is none.
    """
    coordinator = _FLAGS.coordinator or os.environ.get("SERCL_COORDINATOR") or None
    processes, process_id, heartbeat = (_number(name) for name in ("num_processes", "process_id", "heartbeat"))
    if coordinator is None and processes is None and process_id is None:
        return
    from sercl_jax import parallel

    more = {} if heartbeat is None else {"heartbeat_seconds": heartbeat}
    parallel.initialize(coordinator, processes, process_id, **more)


def _number(flag: str) -> int | None:
    """The value of a flag or, without it, of its variable in the environment."""
    name = f"SERCL_{flag.upper()}"
    text = os.environ.get(name, "")
    if _FLAGS[flag].value is not None or not text:
        found: int | None = _FLAGS[flag].value
        return found
    if not text.isdigit():
        raise UserError(f"{name}={text}: must be a whole number.")
    return int(text)


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
        _join_others()
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
    if "sercl_jax.parallel" in sys.modules:
        sys.modules["sercl_jax.parallel"].leave(status)
    sys.exit(status)


if __name__ == "__main__":
    run()
