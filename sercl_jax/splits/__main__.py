"""The command line: `python -m sercl_jax.splits --config=configs/serugcl.py:corpus=emodb,protocol=loso`."""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

from sercl_jax import commands, files
from sercl_jax import main as main_program
from sercl_jax.errors import UserError

HELP = """Who trains and who is tested, before anyone trains: the protocol sheet of a config.

  python -m sercl_jax.splits --config=configs/serugcl.py:corpus=emodb,protocol=loso --config.data.manual_dir=DIR
  python -m sercl_jax.splits --config=configs/serugcl.py:corpus=ravdess,protocol=emobox \\
      --config.data.manual_dir=DIR --config.data.emobox_dir=EMOBOX_CLONE
  python -m sercl_jax.splits --config=configs/cpc.py:corpus=msp_podcast,setup=pre --config.data.manual_dir=DIR
  python -m sercl_jax.splits --config=configs/supcon.py:corpora=emodb+ravdess,protocol=corpus ...

It takes the flags of `python -m sercl_jax.main`, builds the records if they are missing, trains nothing and writes
nothing but FILE.

Flags:
  --config=FILE[:CHOICES], --config.KEY=VALUE    as for training; a table's rows that divide alike are shown once
  --json=FILE                                    writes everything, for all folds, as JSON

Protocols (protocol=... among the choices, or --config.eval.protocol=...):
  kfold, graphcl   random folds: speakers and sentences are in both parts, and figures come out too high
  loso, speakers   unknown speakers: each left out, or groups of them
  session          unknown sessions; in IEMOCAP, whose sessions have two speakers each, also unknown speakers
  sentence         unknown sentences
  disjoint         unknown speakers who speak unknown sentences
  file             the official partition, or the folds of a manifest
  emobox           EmoBox's published folds (--config.data.emobox_dir)
  corpus           each of several corpora by training on the others (--config.eval.tested names some of them)
  auto             corpus, file, session, loso, speakers or kfold: the first that the utterances allow

What to look at, in each fold:
  speakers in both    speakers who are tested and also trained or validated on. Anything but 0 measures how well
                      known voices are recognised.
  sentences in both   the same of sentences; acted corpora repeat a few, so only sentence and disjoint reach 0
  other takes         tested utterances that training has again: same speaker, same sentence, same emotion
  ?                   speakers or sentences of some utterances are unknown, so nobody can tell
  classes             a class with a handful of tested utterances moves UA by much
"""


def main(argv: Sequence[str]) -> int:
    """Runs the command line; returns the exit status: 0, or 2 when something is the user's to mend."""
    return commands.status(lambda: _run(argv))


def _run(argv: Sequence[str]) -> None:
    if {"--help", "-h", "-help"} & set(argv[1:]):
        print(HELP.rstrip("\n"))
        return
    rest, target = _json_flag(argv)
    config, _ = main_program.parse(rest)
    from sercl_jax.splits import planned, printing
    from sercl_jax.workbench import Workbench

    found: list[planned.Plan] = []
    for plan in planned.plans(config, Workbench()):
        print(("\n\n" if found else "") + printing.text(plan), flush=True)
        found.append(plan)
    if target is not None:
        files.write_json(target, {"plans": [dataclasses.asdict(plan) for plan in found]})
        print(f"\nWritten to {target}")


def _json_flag(argv: Sequence[str]) -> tuple[list[str], Path | None]:
    """The arguments without --json, and its file."""
    rest, found = [], None
    arguments = iter(argv)
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if name in ("--json", "-json"):
            found = value if equals else next(arguments, "")
            if not found or found.startswith("-"):
                raise UserError("--json needs a file: --json=FILE.")
        else:
            rest.append(argument)
    return rest, None if found is None else Path(found)


if __name__ == "__main__":
    sys.exit(commands.flushed(lambda: main(sys.argv)))
