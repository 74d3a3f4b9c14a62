"""The transcribed numbers: against each other, against the abstract, and as fractions."""

import json
import re

import numpy as np
import pytest

from sercl_jax import published

TABLES = {"TABLE1": published.TABLE1, "TABLE4": published.TABLE4, "TABLE5": published.TABLE5,
          "TABLE6": published.TABLE6}


@pytest.mark.parametrize("name", TABLES)
def test_every_ablation_ends_in_the_abstract_s_result(name):
    """The abstract: UA of 69.96% and WA of 70.24% on IEMOCAP, UA of 91.04% and WA of 90.29% on EMO-DB."""
    last = list(TABLES[name])[-1]
    assert last == "SERUGCL"
    assert TABLES[name][last] == {"iemocap": (0.6996, 0.7024), "emodb": (0.9104, 0.9029)}


@pytest.mark.parametrize("name", TABLES)
def test_no_ablation_beats_the_full_model(name):
    """The paper's claim, and a check on transposed digits and columns."""
    for row in TABLES[name].values():
        for corpus, score in row.items():
            assert all(0 < value < 1 for value in score)
            assert score.UA <= published.SERUGCL[corpus].UA
            assert score.WA <= published.SERUGCL[corpus].WA


def test_model_4_is_sum_pooling():
    assert published.TABLE1["model 4"] == published.TABLE5["sum"] == {"iemocap": (0.6884, 0.6905),
                                                                      "emodb": (0.9050, 0.8968)}


def test_gains_over_dstcnet_are_those_of_the_abstract():
    """8.18 and 8.44 points on IEMOCAP, 4.49 and 1.50 on EMO-DB."""
    for corpus, others, gains in (("iemocap", published.TABLE2, (8.18, 8.44)),
                                  ("emodb", published.TABLE3, (4.49, 1.50))):
        other = next(row for row in others if row.model == "DSTCNet")
        ours = published.SERUGCL[corpus]
        assert other.UA is not None
        assert other.WA is not None
        np.testing.assert_allclose([100 * (ours.UA - other.UA), 100 * (ours.WA - other.WA)], gains, atol=1e-9)


def test_a_quoted_result_has_both_figures_or_one_of_unknown_kind():
    for row in (*published.TABLE2, *published.TABLE3):
        assert (row.UA is None) == (row.WA is None) == (row.unplaced is not None)
    assert {row.model: row.unplaced for row in (*published.TABLE2, *published.TABLE3) if row.unplaced} == {
        "MTL": 0.6916, "SER-Graph": 0.7780, "CL": 0.8960}


def test_pooling_weights_are_as_printed():
    assert list(published.TABLE7) == list("ABCDEFG")
    for name, weights in published.TABLE7.items():
        np.testing.assert_allclose(sum(weights), 0.9 if name == "G" else 1.0)
    assert published.TABLE7["B"]._asdict() == {"max": 0.25, "mean": 0.5, "soft": 0.25}


def test_corpora_without_a_published_result():
    assert published.serugcl("demo") is None
    assert published.serugcl("emodb") == (0.9104, 0.9029)


CPC_TABLES = {"iemocap": published.CPC_TABLE1, "msp_podcast": published.CPC_TABLE2}


@pytest.mark.parametrize("corpus", CPC_TABLES)
def test_pre_training_wins_every_column_of_the_cpc_paper(corpus):
    """"On both datasets preCPC consistently outperforms other setups", and a check on transposed digits."""
    table = CPC_TABLES[corpus]
    assert list(table) == ["Sup", "jointCPC", "miniCPC", "preCPC"]
    best = table["preCPC"][corpus]
    for line in table.values():
        assert list(line) == [corpus]
        for value, highest in zip(line[corpus], best, strict=True):
            assert 0 < value.mean <= highest.mean < 1
            assert 0.002 < value.std < 0.04
    assert table["miniCPC"][corpus].CCC_avg > table["jointCPC"][corpus].CCC_avg  # "surprisingly", on both


@pytest.mark.parametrize("corpus", CPC_TABLES)
def test_cpc_s_average_is_near_the_mean_of_its_columns_but_not_always_it(corpus):
    gaps = {name: line[corpus].CCC_avg.mean - np.mean([value.mean for value in line[corpus][1:]])
            for name, line in CPC_TABLES[corpus].items()}
    assert max(map(abs, gaps.values())) < 0.0041  # what the note says
    if corpus == "msp_podcast":
        np.testing.assert_allclose([gaps["Sup"], gaps["preCPC"]], [0.0037, -0.003], atol=1e-4)
    assert "up to .004 away" in published.NOTES["cpc_average"]


def test_what_cpc_reports_of_a_set_up_is_ready_for_results():
    found = published.cpc("iemocap", "pre")
    assert found is not None
    assert json.loads(json.dumps(found)) == {
        "CCC_avg": {"mean": 0.731, "std": 0.003}, "CCC_act": {"mean": 0.752, "std": 0.014},
        "CCC_val": {"mean": 0.752, "std": 0.009}, "CCC_dom": {"mean": 0.691, "std": 0.009}}
    sup = published.cpc("msp_podcast", "sup")
    assert sup is not None
    assert sup["CCC_val"] == {"mean": 0.266, "std": 0.004}
    assert published.cpc("demo", "pre") is None
    assert published.cpc("iemocap", "probe") is None


def test_contrastive_fine_tuning_beats_every_other_of_its_paper():
    """Its claim, and a check on transposed digits: WavLM is the best on IEMOCAP, HuBERT on CASIA."""
    for table in (published.SUPCON_TABLE1, published.SUPCON_TABLE2):
        assert all(0.6 < score.UA < 1 for line in table.values() for score in line.values())
        assert max(table, key=lambda row, table=table: table[row]["iemocap"]).startswith("WavLM-base")
    others = list(published.SUPCON_TABLE1.values())[:-2]
    assert max(line["iemocap"] for line in others) < published.SUPCON_TABLE1["Hubert-base*"]["iemocap"]
    casia = {row: line["casia"].UA for row, line in published.SUPCON_TABLE2.items() if "casia" in line}
    assert sorted(casia, key=casia.__getitem__) == ["TIM-Net", "Dual-TBNet", "WavLM-base", "Hubert-base"]
    assert set(published.SUPCON_TABLE2) - set(casia) == {"EmoDARTS"}


def test_supcon_s_tables_agree_with_each_other_and_with_the_text():
    for name in ("Hubert-base", "WavLM-base"):
        assert published.SUPCON_TABLE1[f"{name}*"]["iemocap"] == published.SUPCON_TABLE2[name]["iemocap"]
    # "Increases by 10.31% and 9.1%".
    gains = [100 * (published.SUPCON_TABLE1[f"{name}*"]["iemocap"].UA
                    - published.SUPCON_TABLE1[f"{name}(FT)"]["iemocap"].UA) for name in ("Hubert-base", "WavLM-base")]
    np.testing.assert_allclose(gains, [10.31, 9.1], atol=1e-9)
    # The abstract.
    assert published.SUPCON_TABLE2["WavLM-base"] == {"iemocap": (0.7741,), "casia": (0.9649,)}
    assert len(published.SUPCON_TABLE1) == 9
    assert {**published.SUPCON_TABLE1, **published.SUPCON_TABLE2} == published.SUPCON
    assert len(published.SUPCON) == 9 + 5  # no row of one hides one of the other


def test_what_supcon_reports_is_ready_for_results():
    assert published.supcon("iemocap", "hubert-base", "ft") == {"UA": 0.6661}
    assert published.supcon("iemocap", "wavlm-base-plus", "supcon") == {"UA": 0.7741}
    assert published.supcon("casia", "hubert-base", "supcon") == {"UA": 0.9719}
    for corpus, encoder, arm in (("casia", "wavlm-base-plus", "ft"), ("emodb", "wavlm-base-plus", "supcon"),
                                 ("iemocap", "wavlm-large", "supcon"), ("iemocap", "tiny", "ft"),
                                 ("iemocap", "hubert-base", "frozen")):
        assert published.supcon(corpus, encoder, arm) is None


def test_every_table_of_scores_says_its_protocol():
    tables = {name for name in published.__all__ if re.fullmatch(r"([A-Z]+_)?TABLE\d", name)}
    quoted = {"TABLE2", "TABLE3", "TABLE7"}  # others' results, and weights
    assert set(published.PROTOCOLS) == tables - quoted | {"SUPCON"}  # both of its paper's tables in one


def test_no_paper_s_notes_hide_another_s():
    modules = (published.serugcl_2026, published.cpc_2021, published.supcon_2024)
    for name in ("NOTES", "PROTOCOLS"):
        assert len(getattr(published, name)) == sum(len(getattr(module, name)) for module in modules)
