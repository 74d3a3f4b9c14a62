"""The commands of the README and of the pages of results, and how each is tried out.

A new command needs a line here, or a mark in the page:

    python -m sercl_jax.main --config=... --workdir=...  # needs EMO-DB

after which its flags and knobs are still checked, but it is not run.
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("README.md", "benchmarks/RESULTS.md", "benchmarks/SPEED.md")
README = "\n".join((ROOT / page).read_text(encoding="utf-8") for page in PAGES)
PROGRAMS = ("python", "make", "pip", "tfds", "sercl", "srun", "gcloud", "git", "curl", "cd")
MARK = re.compile(r"#\s*(needs \S.*)$")
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TINY = "--config.eval.baseline=no --config.eval.probes=False --config.data.workers=1"

# Run for real, in a folder with my.csv of 36 short recordings: what is replaced in it, and what is added to it.
RUN: dict[str, tuple[dict[str, str], str]] = {
    "python -m sercl_jax.corpora list": ({}, ""),
    "python -m sercl_jax.main --config=configs/serugcl.py:corpus=manifest,protocol=loso": (
        {"corpus=manifest": "tiny,corpus=manifest"}, TINY),
}
# Run for real, in a small form, by another test.
ELSEWHERE = {
    "git clone": "tests/test_newcomer.py::test_three_commands_lead_to_predictions_on_new_files",
    "make install": "tests/test_newcomer.py::test_three_commands_lead_to_predictions_on_new_files",
    "python -m sercl_jax.main --config=configs/serugcl.py:corpus=folder":
        "tests/test_newcomer.py::test_three_commands_lead_to_predictions_on_new_files",
    "make demo": "tests/test_readme.py::test_make_demo",
    "make test": ".ci/run",
    "make test-browser": ".ci/run",
    "make lint": "tests/test_readme.py::test_make_lint_is_part_of_make_test",
    "pip install": "tests/test_readme.py::test_every_extra_exists",
    "tfds build": "tests/test_tfds_build.py::test_every_corpus_from_an_installed_package",
    "python -m sercl_jax.main --config=configs/serugcl.py": "tests/test_readme.py::test_make_demo",
    "python -m sercl_jax.main --config=configs/cpc.py":
        "tests/test_recognition.py::test_all_set_ups_stand_side_by_side_on_the_same_folds",
    "python -m sercl_jax.main --config=configs/supcon.py":
        "tests/test_adaptation.py::test_every_corpus_is_tested_by_every_arm",
    "python -m sercl_jax.main --config=configs/examples/vicreg.py":
        "tests/test_fourth_method.py::test_it_runs_from_any_folder_beside_its_controls_and_says_when_its_file_has_changed",
    "python -m sercl_jax.main --config=configs/cpc.py --workdir=runs/x --coordinator=HOST:PORT":
        "tests/test_many_processes.py::test_the_command_line_in_two_processes",
    "python -m sercl_jax.main --help": "tests/test_main.py::test_help_teaches_every_config_and_needs_no_jax",
    "python -m sercl_jax.splits": "tests/test_splits_command.py::test_the_sheet_of_the_demo",
    "python -m sercl_jax.embed": "tests/test_embed.py::test_frames_of_files_are_found_by_their_offsets",
    "python -m sercl_jax.export": "tests/test_export.py::test_the_command_shows_progress_and_what_it_wrote",
    "python -m sercl_jax.report": "tests/test_report_compare.py::test_the_command_compares_and_prints_where",
    "python -m sercl_jax.predict": "tests/test_predict.py::test_every_format_tells_the_same",
    "python -m sercl_jax.serve": "tests/test_serve_process.py::test_it_serves_until_it_is_told_to_stop",
    "python -m benchmarks.build": "tests/test_benchmarks_build.py::test_json_contract",
    "python -m benchmarks.cpc": "tests/test_benchmarks_cpc.py::test_cpc_json_contract_without_torch",
    "python -m benchmarks.dispatch": "tests/test_scaling.py::test_dispatch",
    "python -m benchmarks.grid_figure":
        "tests/test_benchmarks_grid.py::test_every_row_of_every_cell_is_in_the_csv_and_the_figure_is_drawn",
    "python -m benchmarks.input": "tests/test_benchmarks_cpc.py::test_input_json_contract",
    "python -m benchmarks.manifest": "tests/test_million.py::",
    "python -m benchmarks.memory":
        "tests/test_benchmarks_tables.py::test_memory_of_a_step_is_what_its_arrays_and_products_take",
    "python -m benchmarks.predict": "tests/test_benchmarks_predict.py::test_json_contract",
    "python -m benchmarks.scaling": "tests/test_scaling.py::test_scaling",
    "python -m benchmarks.serugcl": "tests/test_benchmarks.py::test_serugcl_writes_every_figure_without_torch",
    "python -m benchmarks.serve": "tests/test_benchmarks_serve.py::test_json_contract",
    "python -m benchmarks.supcon": "tests/test_benchmarks_supcon.py::test_json_contract_without_torch",
    "srun": "tests/test_readme.py::test_what_no_cluster_has_seen_is_said",
    "gcloud": "tests/test_readme.py::test_what_no_cluster_has_seen_is_said",
}


@dataclass(frozen=True)
class Command:
    """A command without its comment, and what it needs, if it is marked."""

    text: str
    needs: str = ""

    @property
    def words(self) -> list[str]:
        return shlex.split(self.text)

    def found_in(self, table: dict) -> str | None:
        """The key with the most words of those that it begins with."""
        words = self.text.split()
        keys = [key for key in table if words[:len(key.split())] == key.split()]
        return max(keys, key=lambda key: len(key.split()), default=None)


def commands() -> list[Command]:
    """Every command that stands in a block of its own or between backticks, once."""
    blocks = "\n".join(body for language, body in FENCED.findall(README) if language != "python")
    prose = FENCED.sub("", README)
    lines = [line[4:] for line in _joined(prose).splitlines() if line.startswith("    ")]
    inline = [" ".join(text.split()) for text in re.findall(r"`([^`]+)`", prose)]
    found = [*_commands([*lines, *_joined(blocks).splitlines()]), *_commands(inline)]
    return list({command.text: command for command in reversed(found)}.values())[::-1]


def _joined(text: str) -> str:
    return re.sub(r"\\\n\s+", "", text)


def _commands(lines: list[str]) -> Iterator[Command]:
    for line in lines:
        line = re.sub(r"^(\$ |\w+=\S+ |\.venv/bin/)+", "", line.strip())
        if line.split(" ")[0] in PROGRAMS and len(line.split(" ")) > 1:
            mark = MARK.search(line)
            yield Command(re.sub(r"\s+#.*$", "", line), mark[1] if mark else "")
