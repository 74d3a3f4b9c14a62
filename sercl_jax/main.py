"""The command line: `python -m sercl_jax.main --config=configs/serugcl.py[:choices] [--workdir=DIR]`."""

import datetime
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from sercl_jax import commands, environment, knobs, resources
from sercl_jax import config as config_lib
from sercl_jax import help as help_lib
from sercl_jax.errors import UserError

_FLAGS = flags.FlagValues()
_CONFIG = config_flags.DEFINE_config_file("config", lock_config=True, flag_values=_FLAGS,
                                          help_string="Config file, with its choices after a colon.")
flags.DEFINE_string("workdir", None, "Folder for everything the run writes.", flag_values=_FLAGS)
flags.DEFINE_enum("dry_run", "no", ("no", "text", "json"), "Tell what a run would do.", flag_values=_FLAGS)
flags.DEFINE_string("coordinator", None, "HOST:PORT of process 0, or auto.", flag_values=_FLAGS)
for _name in ("num_processes", "process_id", "heartbeat"):
    flags.DEFINE_integer(_name, None, "Of several processes, see --help.", flag_values=_FLAGS)
flags.DEFINE_string("help", None, "Show help.", flag_values=_FLAGS)
# What flags that may stand alone mean then.
_ALONE = {"--dry_run": "--dry_run=text", "-dry_run": "--dry_run=text", "--help": "--help=", "-help": "--help=",
          "-h": "--help="}


def help_text() -> str:
    """What `--help` prints, with what stands before it on the command line."""
    word, config = _FLAGS.help, _FLAGS.config
    if config is None:
        return help_lib.found(word) if word else help_lib.overview()
    return help_lib.of_config(_config_file(), config, word)


def _config_file() -> Path:
    flag: Any = _FLAGS["config"]
    return Path(str(flag.config_filename).partition(":")[0])


def parse(argv: Sequence[str]) -> tuple[ConfigDict, Path]:
    """Reads the command line into a locked config and a workdir.

    Raises:
      UserError: an unknown flag, knob or choice, a value of the wrong type, or no config.
    """
    arguments = [f"--config={resources.config_file(a.split('=', 1)[1])}" if a.startswith("--config=") else
                 _ALONE.get(a, a) for a in argv]
    _check_knobs(arguments)
    try:
        rest = _FLAGS(list(arguments))
    except (flags.Error, AttributeError, KeyError, ValueError, TypeError) as error:
        raise UserError(str(error).strip("'\"").replace("\\n", " ").replace("\n", " ")) from error
    if _FLAGS.help is not None:
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


def _check_knobs(arguments: Sequence[str]) -> None:
    """Raises `UserError` for a knob that does not exist, and for a value that it does not take."""
    file = next((a.partition("=")[2] for a in arguments if a.startswith("--config=")), "")
    if file:
        knobs.check(arguments[1:], config_lib.of_file(*file.partition(":")[::2]))


def _join_others() -> None:
    """Joins the processes of one training, if flags or the environment name others; else a CPU is several devices.

    Raises:
      UserError: they cannot be joined, or a number is none.
    """
    coordinator = _FLAGS.coordinator or os.environ.get("SERCL_COORDINATOR") or None
    processes, process_id, heartbeat = (_number(name) for name in ("num_processes", "process_id", "heartbeat"))
    if coordinator is None and processes is None and process_id is None:
        environment.use_host_devices()
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
    return commands.status(lambda: _run(argv), "Stopped; the same command with the same --workdir resumes.")


def _run(argv: Sequence[str]) -> None:
    config, workdir = parse(argv)
    if _FLAGS.help is not None:
        print(help_text())
        return
    if _FLAGS.dry_run != "no":
        from sercl_jax import dry_run

        found = dry_run.plan(config)
        print(dry_run.text(found) if _FLAGS.dry_run == "text" else json.dumps(found, indent=2))
        return
    # JAX is imported only now, so that --help and mistakes are answered at once.
    _join_others()
    from sercl_jax import experiment, sweep

    if "rows" in config:
        sweep.run(config, workdir)
    else:
        experiment.run(config, workdir)


def run() -> None:
    """Entry point of the `sercl` command."""
    environment.use_huge_pages()
    status = commands.flushed(lambda: main(sys.argv))
    if "sercl_jax.parallel" in sys.modules:
        sys.modules["sercl_jax.parallel"].leave(status)
    sys.exit(status)


if __name__ == "__main__":
    run()
