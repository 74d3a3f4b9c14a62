"""What `--help` prints, made of what is there: configs and their comments, builders, commands. It runs none of them
but the config that is asked about, and needs no JAX.
"""

import ast
import re
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path

from ml_collections import ConfigDict

from sercl_jax import config as config_lib
from sercl_jax import knobs, resources

WIDTH = 98
_NAME = 36  # columns of a knob and its value
_FOLLOWS = 20  # a line indented so far goes on with the one before
_PACKAGE = Path(__file__).resolve().parent
_SETUPS = re.compile(r" *(?:setup|arm)=")

START = """Speech emotion recognition by contrastive learning: trains, evaluates and reports.

  python -m sercl_jax.main --config=FILE[:CHOICES] [--config.KNOB=VALUE ...] [--workdir=DIR]
"""
FLAGS = """Flags
  --config=FILE[:CHOICES]   one of the files above, or your own; --config=FILE --help explains its
                            choices, which commas separate, and its knobs
  --config.KNOB=VALUE       sets any knob, e.g. --config.train.epochs=20
  --workdir=DIR             where everything goes; the default is a dated folder under runs/. The
                            same folder again resumes the run or, if it is finished, prints its
                            result.
  --dry_run[=json]          resolved config, folds, trainings, parameters, memory, time; no training
  --help[=WORD]             this; or only the knobs whose name or comment has the word

Several processes, one for each host or accelerator, train together: give each the same command and
  --coordinator=HOST:PORT   address of process 0, on any free port; "auto" under Slurm (srun), Open
                            MPI, on Cloud TPU and in a Kubernetes JobSet, which tell the rest
  --num_processes=N         how many there are
  --process_id=I            which this one is, from 0; process 0 writes the workdir
  --heartbeat=SECONDS       if one dies, the others end after that time at the latest (60); the same
                            command, with any number of processes, goes on from the last checkpoint
or set SERCL_COORDINATOR, SERCL_NUM_PROCESSES, SERCL_PROCESS_ID and SERCL_HEARTBEAT.

One process on a CPU trains on four devices that share its cores, which is faster than one;
XLA_FLAGS=--xla_force_host_platform_device_count=N chooses another number.
"""


def overview() -> str:
    """Methods and their set-ups, corpora, protocols, configs, flags, other commands and examples."""
    files = config_files()
    methods = [path for path in files if path.parent == resources.folder("configs")]
    docs = {path: _docstring(path) for path in files}
    return "\n".join([
        START, "Methods, and how they can be set up",
        *_table((_given(path), docs[path].splitlines()[0], _setups(docs[path])) for path in methods),
        "", "Corpora (corpus=NAME among the choices; python -m sercl_jax.corpora list tells what each needs)",
        *_table((name, words, []) for name, words in corpora()),
        "", "Protocols (protocol=NAME): who is tested by whom", *_table((*one, []) for one in protocols()),
        "", "Tables and figures of papers, and examples",
        *_table((_given(path), docs[path].splitlines()[0], []) for path in files if path not in methods),
        "", FLAGS, "Other commands; each has a --help", *_table((f"python -m {name}", words, [])
                                                               for name, words in commands()),
        "", "Examples", *(line for path in methods for line in _examples(docs[path]))])


def of_config(file: Path, config: ConfigDict, word: str = "") -> str:
    """What a config is, its choices, the rows of a table, and its knobs.

    Args:
      file: that made it.
      config: as the command line has it.
      word: "" for all; otherwise only the knobs whose name or comment has it.
    """
    told = knobs.comments(knobs.sources(config, file))
    lines = []
    for name, value in knobs.leaves(config).items():
        comment = told.get(name) or told.get(name.rpartition(".")[2], "")
        if word.lower() in f"{name} {comment}".lower():
            shown = f"{name} = {value!r}" if not isinstance(value, str) or not value else f"{name} = {value}"
            lines += _entry(shown, comment, _NAME)
    if word:
        return "\n".join(lines)
    rows = [_entry(f"{row.series}: {row.name}".removeprefix(": "), ", ".join(
        f"{name}={value}" for name, value in knobs.leaves(row.change).items()) or "as the knobs are", _NAME)
        for row in config.rows.values()] if "rows" in config else []
    return "\n".join([
        *_told(_docstring(file)), "",
        *(["Rows, and what they change", *(line for row in rows for line in row), ""] if rows else []),
        "Knobs, set by --config.NAME=VALUE; (open): the paper does not state it", *lines])


def found(word: str) -> str:
    """The knobs of all methods whose name or comment has the word."""
    parts = []
    for path in config_files():
        if path.parent == resources.folder("configs"):
            lines = of_config(path, config_lib.base(path.stem, None), word)
            parts += [f"{_given(path)}\n{lines}"] if lines else []
    return "\n\n".join(parts) or f"No knob has {word!r} in its name or comment."


def config_files() -> list[Path]:
    """All config files that came with the package: the methods', then tables and examples."""
    folder = resources.folder("configs")
    return sorted((path for path in folder.rglob("*.py") if path.name != "__init__.py"),
                  key=lambda path: (path.parent != folder, path))


def _given(path: Path) -> str:
    """A config file as the command line takes it."""
    return f"configs/{path.relative_to(resources.folder('configs')).as_posix()}"


def corpora() -> list[tuple[str, str]]:
    """Name and first line of every corpus' builder, which is not imported."""
    files = sorted(resources.folder("data_builders").glob("*/*_dataset_builder.py"))
    return [(path.parent.name, _docstring(path, "Builder").splitlines()[0]) for path in files]


def protocols() -> list[tuple[str, str]]:
    """Name and meaning of every protocol."""
    doc = _docstring(_PACKAGE / "splits" / "__init__.py")
    listed = re.findall(r"^ {4}(\w+) +(.*(?:\n {6,}.*)*)", doc, re.MULTILINE)
    return [(name, " ".join(words.split())) for name, words in listed if name != "python"]


def commands() -> list[tuple[str, str]]:
    """Name and first line of every other program of the package."""
    found = []
    for path in sorted([*_PACKAGE.glob("*.py"), *_PACKAGE.glob("*/__main__.py")]):
        text = path.read_text(encoding="utf-8")
        if "__name__ == \"__main__\"" not in text or path.stem == "main":
            continue
        name = path.parent.name if path.stem == "__main__" else path.stem
        constants: dict[str, str] = {node.targets[0].id: node.value.value for node in ast.parse(text).body
                     if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
                     and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)}
        words = constants.get("HELP") or constants.get("DESCRIPTION") or _docstring(path)
        found.append((f"sercl_jax.{name}", words.strip().splitlines()[0]))
    return sorted(found)


def _docstring(path: Path, of_class: str = "") -> str:
    node: ast.Module | ast.ClassDef = ast.parse(path.read_text(encoding="utf-8"))
    if of_class:
        node = next(one for one in node.body if isinstance(one, ast.ClassDef) and one.name == of_class)
    return ast.get_docstring(node) or path.stem


def _setups(doc: str) -> list[str]:
    """The lines of a docstring that explain `setup=` or `arm=`, and those below them."""
    lines = doc.splitlines()
    start = next((number for number, line in enumerate(lines) if _SETUPS.match(line)), len(lines))
    depth = len(lines[start]) - len(lines[start].lstrip()) if start < len(lines) else 0
    block = lines[start:start + 1]
    for line in lines[start + 1:]:
        if len(line) - len(line.lstrip()) <= depth:
            break
        block.append(line)
    return textwrap.dedent("\n".join(block)).splitlines()


def _examples(doc: str) -> Iterator[str]:
    """The commands of a docstring."""
    for command in re.findall(r"^ {4}(python -m (?:.*\\\n)*.*)", doc, re.MULTILINE):
        yield from (f"  {line.strip()}" if number == 0 else f"      {line.strip()}"
                    for number, line in enumerate(command.splitlines()))


def _table(rows: Iterable[tuple[str, str, list[str]]]) -> Iterator[str]:
    """Names and words in two columns, and lines below them."""
    listed = list(rows)
    width = min(max(len(name) for name, _, _ in listed) + 2, 42)
    for name, words, below in listed:
        yield from _entry(name, words, width)
        yield from (piece for line in below for piece in _fit(f"  {'':<{width}}{line}"))


def _entry(name: str, words: str, width: int) -> list[str]:
    if len(name) + 1 > width and words:
        return [f"  {name}", *_entry("", words, width)]
    return textwrap.wrap(f"{name:<{width}}{words}", WIDTH, initial_indent="  ", subsequent_indent=" " * (width + 2),
                         break_long_words=False, break_on_hyphens=False) if words else [f"  {name}"]


def _told(doc: str) -> Iterator[str]:
    """A docstring's lines for a narrower page: prose and explanations flow, commands stay as they are."""
    flowing: list[str] = []
    for line in [*doc.splitlines(), ""]:
        depth = len(line) - len(line.lstrip())
        follows = flowing and line and (depth == 0) == (flowing[0][0] != " ") and (depth == 0 or depth >= _FOLLOWS)
        if follows:
            flowing.append(line.strip())
            continue
        if flowing:
            yield from _fit(" ".join(flowing))
        flowing = []
        if not line or "python -m" in line or "--config." in line:
            yield line
        else:
            flowing = [line]


def _fit(line: str) -> list[str]:
    """A line, divided if it is too long; what follows stands below the last column that blanks separate."""
    if len(line) <= WIDTH:
        return [line]
    depth = len(line) - len(line.lstrip())
    columns = [match.end() for match in re.finditer(r"(?<=\S) {2,}", line) if match.end() < WIDTH * 2 // 3]
    return textwrap.wrap(line, WIDTH, subsequent_indent=" " * (columns[-1] if columns else depth and depth + 4),
                         break_long_words=False, break_on_hyphens=False)
