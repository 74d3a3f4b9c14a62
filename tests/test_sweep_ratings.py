"""The CPC paper's tables: rows of ratings beside the paper's, with paired differences; their runs are made up."""

import csv
from pathlib import Path
from typing import Any

import pytest
from test_report_ratings import make_results, predictions

from sercl_jax import config as config_lib
from sercl_jax import experiment, ratings, results, sweep
from sercl_jax.report import values

NOISE = {"sup": 0.9, "joint": 1.4, "mini": 0.8, "pre": 0.5}


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Rows that were run, as (set-up, projection); each leaves what a real one leaves, on the table's corpus."""
    rows: list[tuple[str, int]] = []

    def run(config: Any, workdir: Path, **_: Any) -> dict[str, Any]:
        rows.append((config.setup, config.recognizer.projection))
        noise = NOISE[config.setup] - (0.05 if config.recognizer.projection else 0)
        own = [predictions(seed, noise) for seed in range(2)]
        for predicted in own:
            ratings.save(workdir / "predictions" / config.setup / f"seed{predicted.seed}.npz", predicted)
        found = make_results(own, corpus=config.data.corpus, synthetic=config.data.corpus == "demo", baselines=[])
        found["protocol"]["setup"] = config.setup
        results.write(workdir, found)
        return found

    monkeypatch.setattr(experiment, "run", run)
    return rows


def test_table_1_stands_beside_the_paper_s_values(tmp_path, ran, capsys):
    tables = sweep.run(config_lib.base("tables/cpc_table1", "corpus=iemocap,runs=2").lock(), tmp_path)
    assert ran == [("sup", 0), ("sup", 256), ("joint", 0), ("mini", 0), ("pre", 0)]
    assert [row.name for row in tables[0].rows] == ["Sup", "Sup, projected to 256", "jointCPC", "miniCPC", "preCPC"]
    assert list(tables[0].columns) == ["CCC_avg", "CCC_act", "CCC_val", "CCC_dom"]
    text = (tmp_path / "table.md").read_text(encoding="utf-8")
    for printed in ("0.664 ± 0.007", "0.549 ± 0.032", "0.702 ± 0.009", "0.731 ± 0.003"):
        assert printed in text
    assert "%" not in text.replace("95 % interval", "")
    assert "validation: the next session; 2 model seeds; intervals" in text
    assert "The paper does not state its protocol" not in text
    assert "five runs of 5-fold cross-validation" in text
    assert "up to .004 away" in text
    # The note pairs the runs, as they lie on disk.
    loaded = {name: [ratings.load(tmp_path / "rows" / folder / "predictions" / setup / f"seed{seed}.npz")
                     for seed in range(2)]
              for name, setup in (("preCPC", "pre"), ("miniCPC", "mini"))
              for folder in [next(path.name for path in (tmp_path / "rows").iterdir()
                                  if path.name.startswith(name.lower()))]}
    gap = ratings.compare(loaded["preCPC"], loaded["miniCPC"])["CCC_avg"]
    ends = values.interval("CCC_avg", tuple(gap["ci95"]), signed=True)
    told = f"CCC_avg {values.difference('CCC_avg', gap['mean'])} {ends} against miniCPC"
    assert told in tables[0].rows[-1].note
    assert tables[0].rows[0].note == ""
    assert "    CCC_avg 0." in capsys.readouterr().err
    with (tmp_path / "table.csv").open(newline="", encoding="utf-8") as file:
        last = list(csv.DictReader(file))[-1]
    assert (last["CCC_dom_paper"], last["CCC_dom_paper_std"]) == ("0.691", "0.009")


def test_table_2_on_the_demo_names_the_paper_s_corpus_and_takes_no_difference(tmp_path, ran):
    tables = sweep.run(config_lib.base("tables/cpc_table2", "tiny").lock(), tmp_path)
    assert ran[1] == ("sup", 16)  # as wide as the tiny context
    assert tables[0].paper_corpus == "msp_podcast"
    text = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert text.startswith("## Table 2: set-ups\n\nCorpus demo (synthetic speech); protocol session, 5 folds;")
    assert "| paper (msp_podcast) |" in text
    assert "0.571 ± 0.004" in text
    assert "difference" not in text
    assert "MSP-Podcast 1.6" in text
