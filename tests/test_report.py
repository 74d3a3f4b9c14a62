"""Reports from real workdirs: what the page says, that it needs nothing from outside, and what it refuses."""

import csv
import json
import re
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.image import imread
from pages import Page

from sercl_jax import report
from sercl_jax.errors import UserError
from sercl_jax.report import values

LABELS = ["angry", "bored", "disgusted", "fearful", "happy", "neutral", "sad"]


def make_results(labels=LABELS, synthetic=False) -> dict:
    """A `results.json` with every key, of plausible figures."""
    draw = np.random.default_rng(3)
    confusion = [[int(draw.integers(0, 7)) for _ in labels] for _ in labels]
    for k in range(len(labels)):
        confusion[k][k] = 60 + 3 * k
    recall = {label: confusion[k][k] / sum(confusion[k]) for k, label in enumerate(labels)}
    return {
        "method": "serugcl", "corpus": "demo" if synthetic else "emodb", "seed": 0, "labels": list(labels),
        "protocol": {"name": "kfold", "folds": 10, "training": "transductive", "normalise": "speaker",
                     "seeds": [0, 1, 2], "fold_seeds": [0, 1, 2, 3, 4]},
        "metrics": {"UA": {"mean": 0.8866, "std": 0.0061, "ci95": [0.851, 0.9134]},
                    "WA": {"mean": 0.8931, "std": 0.0055, "ci95": [0.8622, 0.917]},
                    "F1": {"mean": 0.8842, "std": 0.0067, "ci95": [0.8466, 0.9101]}},
        "folds": [{"name": f"fold {k}", "n": 53, "UA": 0.86 + 0.01 * k, "WA": 0.87 + 0.01 * k} for k in range(10)],
        "confusion": confusion, "per_class": recall,
        "seconds": {"features": 12.31, "train": 148.2, "evaluate": 33.0},
        "runs": [{"seed": seed, "fold_seed": fold_seed, "UA": 0.88 + 0.002 * fold_seed, "WA": 0.89, "F1": 0.88}
                 for seed in range(3) for fold_seed in range(5)],
        "baselines": [
            {"name": "openSMILE IS10 + SVM (C = 0.01)",
             "metrics": {"UA": {"mean": 0.8892, "std": 0.0049, "ci95": [0.8631, 0.9102]},
                         "WA": {"mean": 0.8941, "std": 0.0050, "ci95": [0.8701, 0.9143]}},
             "difference": {"UA": {"mean": -0.0026, "ci95": [-0.018, 0.0121]},
                            "WA": {"mean": -0.001, "ci95": [-0.0151, 0.0133]}}},
            {"name": "untrained encoder", "metrics": {"UA": {"mean": 0.861, "std": 0.007, "ci95": [0.83, 0.89]}},
             "difference": {"UA": {"mean": 0.0256, "ci95": [0.0102, 0.0398]}}}],
        "probes": {"speaker": {"UA": 0.713, "WA": 0.72, "chance": 0.1, "speakers": 10, "n": 535,
                               "protocol": "sentence"},
                   "label_efficiency": [{"share": share, "n": 480 * share, "UA": {"mean": ua, "std": 0.02}}
                                        for share, ua in ((0.01, 0.41), (0.05, 0.63), (0.1, 0.72), (0.5, 0.85),
                                                          (1.0, 0.8866))]},
        "protocol_sheet": {"folds": [
            {"name": str(k), "train": 482, "test": 53, "train_classes": dict.fromkeys(labels, 60),
             "test_classes": {label: 8 - i for i, label in enumerate(labels)}, "test_speakers": 10,
             "shared_speakers": 10, "shared_sentences": None, "same_take": 12} for k in range(10)],
            "left_out": 0, "warnings": ["Training and test share speakers in 10 of 10 folds."]},
        "warnings": ["Ten speakers: intervals from a bootstrap over so few are too narrow."],
        "notes": ["training=transductive: the encoder saw the test utterances' audio, without labels."],
        "synthetic": synthetic, "command": "python -m sercl_jax.main --config=configs/serugcl.py:corpus=emodb",
        "paper": None if synthetic else {"UA": 0.9104, "WA": 0.9029}}


def make_workdir(directory: Path, results: dict, utterances: int = 24, trainings: int = 3) -> Path:
    """A workdir with every optional file."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "results.json").write_text(json.dumps(results))
    (directory / "run.json").write_text(json.dumps({
        "config": {"seed": 0, "optim": {"lr": 1e-3, "epochs": 60}, "graph": {"k": 10, "edges": "cosine"}},
        "versions": {"jax": "0.10.2", "flax": "0.12.8"}, "devices": ["TFRT_CPU_0"], "git_revision": "abc1234"}))
    draw = np.random.default_rng(0)
    for run in range(trainings):
        path = directory / "train" / f"seed{run}" / "metrics.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        decay = np.exp(-np.arange(540) / (120 + 30 * run))
        lines = [{"step": step, "epoch": step / 9, "loss": 1 + 4 * decay[step] + 0.08 * draw.normal(),
                  "positive_similarity": 0.9 - 0.4 * decay[step], "negative_similarity": 0.3 * decay[step],
                  "seconds": 0.05} for step in range(540)]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    labels = draw.integers(0, len(results["labels"]), utterances)
    speakers = draw.integers(0, 10, utterances)
    centres, offsets = draw.normal(size=(len(results["labels"]), 32)), draw.normal(size=(10, 32))
    vectors = 1.6 * centres[labels] + 0.9 * offsets[speakers] + draw.normal(size=(utterances, 32))
    np.savez(directory / "embeddings.npz", ids=np.array([f"u{i:03}" for i in range(utterances)]),
             labels=np.array(results["labels"])[labels], speakers=np.array([f"{s:02}" for s in speakers]),
             embeddings=vectors.astype(np.float32),
             untrained=(vectors + 1.5 * draw.normal(size=vectors.shape)).astype(np.float32))
    return directory


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Page]:
    """A report of everything, and its workdir."""
    workdir = make_workdir(tmp_path_factory.mktemp("full"), make_results())
    path = report.write(workdir)
    assert path == workdir / "report.html"
    return workdir, Page(path.read_text(encoding="utf-8"))


FIGURES = {"scores", "confusion", "recall", "training", "tsne", "probes", "label_efficiency"}


def test_full_report_has_every_figure_inline_and_on_disk(full):
    workdir, page = full
    assert {path.stem for path in (workdir / "figures").iterdir()} == FIGURES
    for path in (workdir / "figures").iterdir():
        height, width = imread(path).shape[:2]
        assert width > 400
        assert height > 150
    assert {figure["id"] for figure in page.all("figure")} == {f"figure-{name}" for name in FIGURES}
    assert len(page.all("figcaption")) == len(FIGURES)


def test_page_says_the_result_and_what_it_stands_beside(full):
    words = full[1].words()
    assert "SERUGCL on EMO-DB" in words
    assert "UA 88.7 % (95 % interval 85.1 to 91.3)." in words
    assert "2.4 points below the paper's 91.0 %, whose protocol is not stated." in words
    assert ("0.3 points below openSMILE IS10 + SVM (C = 0.01) on the same folds; the interval of that difference, "
            "−1.8 to +1.2, includes 0.") in words
    assert "the interval of that difference, +1.0 to +4.0, excludes 0." in words
    assert "88.66 ± 0.61" in words
    assert "[85.10, 91.34]" in words
    assert "−2.38" in words  # .8866 - .9104
    assert "python -m sercl_jax.main --config=configs/serugcl.py:corpus=emodb" in words
    for text in ("abc1234", "TFRT_CPU_0", "optim.lr 0.001", "jax 0.10.2",
                 "runs 15: seed 0, 1, 2 × fold seed 0, 1, 2, 3, 4", "Ten speakers: intervals",
                 "Training and test share speakers", "the encoder saw the test utterances"):
        assert text in words


def test_page_loads_nothing_from_outside(full):
    text = (full[0] / "report.html").read_text(encoding="utf-8")
    page = full[1]
    assert not {"script", "link", "img", "iframe", "object", "image"} & {tag for tag, _ in page.elements}
    for _, attributes in page.elements:
        for name in ("src", "href", "xlink:href", "data", "action"):
            assert (attributes.get(name) or "#").startswith("#")
    assert "@import" not in text
    assert "http://" not in text
    assert "https://" not in text
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", text))


def test_ids_are_unique_and_references_resolve(full):
    ids = [attributes["id"] for _, attributes in full[1].elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    text = (full[0] / "report.html").read_text(encoding="utf-8")
    used = {attributes["href"][1:] for _, attributes in full[1].elements if attributes.get("href")}
    used |= set(re.findall(r"url\(#([^)]*)\)", text))
    used |= {attributes["aria-labelledby"] for attributes in full[1].all("svg")}
    assert used
    assert used <= set(ids)


def test_page_is_accessible(full):
    page = full[1]
    assert page.all("html") == [{"lang": "en"}]
    svgs = [attributes for attributes in page.all("svg") if "role" in attributes]
    assert len(svgs) == len(FIGURES)
    assert all(attributes["role"] == "img" for attributes in svgs)
    assert all(cell.get("scope") in ("col", "row", "rowgroup") for cell in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table")) > 3
    # Alternatives say what the figure shows, in numbers.
    assert "Recall: disgusted 86.8 %" in page.words()


def test_figures_follow_the_colour_scheme(full):
    text = (full[0] / "report.html").read_text(encoding="utf-8")
    svgs = text[text.index("<svg"):]
    used = set(re.findall(r"var\((--[\w-]+)\)", svgs))
    assert {"--ink", "--muted", "--grid", "--accent"} <= used
    light, dark = text.split("@media screen and (prefers-color-scheme: dark)", 1)
    dark = dark[:dark.index("}\n}")]
    for variable in used:
        assert f"{variable}:" in light
    for variable in used - {"--sans"}:
        assert f"{variable}:" in dark
    # Nothing is painted in a fixed colour, which one of the schemes would swallow.
    assert not re.findall(r"(?:fill|stroke): #[0-9a-f]{3,6}", svgs)


def test_the_reader_may_choose_the_scheme_and_paper_is_always_light(full):
    text = (full[0] / "report.html").read_text(encoding="utf-8")
    assert [radio["id"] for radio in full[1].all("input")] == ["scheme-auto", "scheme-light", "scheme-dark"]
    assert ["checked" in radio for radio in full[1].all("input")] == [True, False, False]
    css = text[text.index("<style>"):text.index("</style>")]
    preferred, chosen = (css[css.index(start):].split("{", 1)[1] for start in (
        ":root:not(:has(#scheme-light:checked))", ":root:has(#scheme-dark:checked)"))
    colors = [re.findall(r"(--[\w-]+: #\w+)", block[:block.index("}")]) for block in (preferred, chosen)]
    assert colors[0] == colors[1] != []
    # Both schemes' rules hold for screens only.
    for part in re.split(r"(?=@media)", css)[1:]:
        assert ("#scheme-" in part) <= part.startswith("@media screen")


def test_same_input_gives_the_same_bytes(tmp_path):
    pages, images = [], []
    for name in ("a", "b"):
        workdir = make_workdir(tmp_path / name, make_results())
        pages.append(report.write(workdir).read_bytes())
        images.append([path.read_bytes() for path in sorted((workdir / "figures").iterdir())])
    assert pages[0] == pages[1]
    assert images[0] == images[1]


def test_only_results_needed(tmp_path):
    results = {"method": "serugcl", "corpus": "mine", "protocol": {}, "labels": ["a", "b"],
               "metrics": {"UA": {"mean": 0.5}}}
    (tmp_path / "results.json").write_text(json.dumps(results))
    page = Page(report.write(tmp_path).read_text(encoding="utf-8"))
    assert [figure["id"] for figure in page.all("figure")] == ["figure-scores"]
    assert [path.name for path in (tmp_path / "figures").iterdir()] == ["scores.png"]
    assert "UA 50.0 %." in page.words()
    assert "paper" not in page.words().lower()


def test_concordance_is_not_a_percentage(tmp_path):
    results = {"method": "cpc", "corpus": "iemocap", "protocol": {}, "labels": [], "confusion": [],
               "metrics": {f"CCC_{name}": {"mean": 0.7312, "std": 0.0123, "ci95": [0.7, 0.76]}
                           for name in ("avg", "act", "val", "dom")}}
    (tmp_path / "results.json").write_text(json.dumps(results))
    words = Page(report.write(tmp_path).read_text(encoding="utf-8")).words()
    assert "CCC_avg 0.731 (95 % interval 0.700 to 0.760)." in words
    assert "0.731 ± 0.012" in words


def test_every_figure_of_synthetic_data_says_so(tmp_path):
    workdir = make_workdir(tmp_path, make_results(synthetic=True))
    text = report.write(workdir).read_text(encoding="utf-8")
    figures = re.findall(r"<figure.*?</figure>", text, flags=re.DOTALL)
    assert len(figures) == len(FIGURES)
    for figure in figures:
        caption = figure[figure.index("<figcaption>"):]
        drawn = figure[figure.index("</title>"):figure.index("<figcaption>")]
        assert "Synthetic data." in caption
        assert "Synthetic data" in drawn
        assert "Synthetic data." in figure[:figure.index("</title>")]
    assert "Synthetic data" not in make_page(tmp_path / "real", make_results())


def make_page(directory: Path, results: dict) -> str:
    """The page of a workdir that holds nothing but results."""
    directory.mkdir()
    (directory / "results.json").write_text(json.dumps(results))
    return report.write(directory).read_text(encoding="utf-8")


EVIL = '<script>alert("1")</script> & $\\frac$ _x'


def test_texts_from_outside_are_escaped(tmp_path):
    results = make_results(labels=[EVIL, "_hidden", "情绪"])
    for key in ("method", "corpus", "command"):
        results[key] = EVIL
    results["warnings"], results["notes"], results["protocol"] = [EVIL], [EVIL], {EVIL: EVIL}
    results["baselines"][0]["name"] = EVIL
    results["folds"] = [{"name": EVIL, "n": 3, "UA": 0.5, "WA": 0.5}]
    workdir = make_workdir(tmp_path, results)
    (workdir / "run.json").write_text(json.dumps({"config": {EVIL: EVIL}, "versions": {EVIL: EVIL}, EVIL: [EVIL]}))
    text = report.write(workdir).read_text(encoding="utf-8")
    page = Page(text)
    assert "<script" not in text
    assert page.all("script") == []
    words = page.words()
    # Page, chart of recalls, confusion matrix twice, legend of the scatter plot, and more.
    assert words.count('<script>alert("1")</script>') > 15
    assert "_hidden" in words
    assert "情绪" in words


def test_long_names_do_not_crowd_a_figure_out(tmp_path):
    labels = [f"a label that goes on and on and on, number {k}" for k in range(12)]
    workdir = make_workdir(tmp_path, make_results(labels=labels), utterances=90, trainings=0)
    with np.load(workdir / "embeddings.npz") as file:
        arrays = {**file, "speakers": np.array([f"a speaker with a long name, {u % 40}" for u in range(90)])}
    del arrays["untrained"]
    np.savez(workdir / "embeddings.npz", **arrays)
    words = Page(report.write(workdir).read_text(encoding="utf-8")).words()
    assert "and 16 more" in words
    assert words.count(labels[11]) >= 3  # in full in the recalls, their alternative text and the protocol sheet
    assert "by 12 emotions and by 40 speakers" in words


def test_config_of_the_workdir_stands_in_for_run_json(tmp_path):
    (tmp_path / "results.json").write_text(json.dumps(make_results()))
    (tmp_path / "config.json").write_text(json.dumps({"train": {"epochs": 60}}))
    words = Page(report.write(tmp_path).read_text(encoding="utf-8")).words()
    assert "train.epochs 60" in words


def test_unreadable_optional_files_are_left_out_and_named(tmp_path):
    workdir = make_workdir(tmp_path, make_results())
    (workdir / "embeddings.npz").write_bytes((workdir / "embeddings.npz").read_bytes()[:200])
    (workdir / "run.json").write_text('{"config": ')
    for path in (workdir / "train").glob("**/metrics.jsonl"):
        path.write_text('{"step": 0, "loss": 5.0}\n[1]\n{"step": 1, "loss": 4.0}\n{"step": 1, "loss": 3.0}\n{"ste')
    words = Page(report.write(workdir).read_text(encoding="utf-8")).words()
    assert not (workdir / "figures" / "tsne.png").exists()
    assert "embeddings.npz: cannot be read" in words
    assert "run.json: cannot be read" in words
    # The torn line is passed over, and the step that was logged twice counts as logged last.
    assert "Contrastive loss goes from 5.000 to 3.000." in words


@pytest.mark.parametrize(("change", "message"), [
    ({"embeddings": np.full((24, 4), np.nan)}, "96 values that are not finite"),
    ({"labels": np.array(["a"])}, "labels has 1 entries for 24 embeddings"),
    ({"speakers": None}, "lacks speakers"),
])
def test_wrong_embeddings_are_left_out_and_named(tmp_path, change, message):
    workdir = make_workdir(tmp_path, make_results(), trainings=0)
    with np.load(workdir / "embeddings.npz") as file:
        arrays = {**file, **change}
    np.savez(workdir / "embeddings.npz", **{name: array for name, array in arrays.items() if array is not None})
    page = report.write(workdir).read_text(encoding="utf-8")
    assert message in page
    assert not (workdir / "figures" / "tsne.png").exists()


@pytest.mark.parametrize(("key", "value", "named"), [
    ("method", 3, "method should be text, found 3"),
    ("metrics", {}, "metrics should be an object with at least one metric"),
    ("metrics", {"UA": {"std": 0.1}}, "metrics.UA.mean is missing"),
    ("metrics", {"UA": {"mean": "high"}}, 'metrics.UA.mean should be a number, found "high"'),
    ("metrics", {"UA": {"mean": 0.5, "ci95": [0.4]}}, "metrics.UA.ci95 should be [low, high]"),
    ("labels", "angry", "labels should be a list"),
    ("confusion", [[1, 2]], "confusion should be a 7 x 7 matrix"),
    ("confusion", [["a"] * 7] * 7, 'confusion[0][0] should be a number, found "a"'),
    ("baselines", [{"metrics": {}}], "baselines[0].name is missing"),
    ("probes", {"label_efficiency": [{"UA": 0.5}]}, "probes.label_efficiency[0].share is missing"),
    ("protocol_sheet", [1], "protocol_sheet should be an object"),
    ("folds", [1], "folds[0] should be an object"),
    ("warnings", [None], "warnings[0] should be text"),
    ("paper", {"UA": True}, "paper.UA should be a number"),
])
def test_malformed_results_are_refused_by_key(tmp_path, key, value, named):
    (tmp_path / "results.json").write_text(json.dumps({**make_results(), key: value}))
    with pytest.raises(UserError, match="results.json: " + re.escape(named)):
        report.write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


@pytest.mark.parametrize(("text", "named"), [
    (None, "not found"), ('{"method": ', "cannot be read"), ("[]", "should hold a JSON object"),
    ('{"method": NaN}', "NaN is not JSON")])
def test_results_that_are_not_json_are_refused(tmp_path, text, named):
    if text is not None:
        (tmp_path / "results.json").write_text(text)
    with pytest.raises(UserError, match=named):
        report.write(tmp_path)


def test_old_figures_go_away(tmp_path):
    workdir = make_workdir(tmp_path, make_results())
    (workdir / "figures").mkdir()
    (workdir / "figures" / "old.png").write_bytes(b"")
    report.write(workdir)
    assert {path.stem for path in (workdir / "figures").iterdir()} == FIGURES


def test_caller_s_matplotlib_settings_stay(tmp_path):
    with matplotlib.rc_context({"font.size": 23.0, "svg.fonttype": "path"}):
        before = dict(matplotlib.rcParams)
        make_page(tmp_path / "x", make_results())
        assert dict(matplotlib.rcParams) == before


def test_training_curve_is_the_mean_over_runs_and_epochs(tmp_path):
    """Two runs of six epochs of two steps; the page's words name the first and last epoch's mean loss."""
    losses = {"a": np.arange(12.0), "b": 3 + np.arange(12.0)}
    for name, values_ in losses.items():
        path = tmp_path / "train" / name / "metrics.jsonl"
        path.parent.mkdir(parents=True)
        path.write_text("".join(json.dumps({"step": s, "epoch": s / 2, "loss": v}) + "\n"
                                for s, v in enumerate(values_)))
    (tmp_path / "results.json").write_text(json.dumps(make_results()))
    page = report.write(tmp_path).read_text(encoding="utf-8")
    first = np.mean([[0, 1], [3, 4]])
    last = np.mean([[10, 11], [13, 14]])
    assert f"Contrastive loss goes from {first:.3f} to {last:.3f}." in page
    assert "2 trainings: each thin, their mean heavy." in page


@pytest.mark.parametrize("vectors", [np.ones((24, 5)), np.eye(24)[:, :1], np.ones((24, 0))])
def test_embeddings_without_spread_are_drawn(tmp_path, vectors):
    workdir = make_workdir(tmp_path, make_results(), trainings=0)
    with np.load(workdir / "embeddings.npz") as file:
        arrays = {**file, "embeddings": vectors}
    del arrays["untrained"]
    np.savez(workdir / "embeddings.npz", **arrays)
    report.write(workdir)
    assert (workdir / "figures" / "tsne.png").exists()


# Tables.

ROWS = [report.Row("mean", {"UA": (0.9, 0.01, (0.88, 0.92)), "WA": (0.8876, 0.005, (0.87, 0.9))},
                   {"UA": 0.9061, "WA": 0.8977}, "as printed"),
        report.Row("a|b_c", {"UA": (0.91, None, None), "WA": (0.9, None, None)}, {"UA": 0.9}),
        report.Row("quoted", {}, {"UA": 0.8946, "WA": 0.8763})]
TABLE = report.Table("Table 5: <pooling>", "Corpus emodb (real speech); 3 seeds.", ("UA", "WA"), ROWS)


def test_table_markdown(tmp_path):
    report.write_table(tmp_path, TABLE)
    lines = (tmp_path / "table.md").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "## Table 5: &lt;pooling>"
    assert lines[2] == "Corpus emodb (real speech); 3 seeds."
    table = [line for line in lines if line.startswith("|")]
    assert table[0] == ("|  | UA % | 95 % interval | paper | difference | WA % | 95 % interval | paper | difference "
                        "| note |")
    # 90.00 - 90.61 = -0.61, 88.76 - 89.77 = -1.01, 91.00 - 90.00 = +1.00.
    assert table[2] == ("| mean | 90.00 ± 1.00 | [88.00, 92.00] | 90.61 | -0.61 | 88.76 ± 0.50 | [87.00, 90.00] "
                        "| 89.77 | -1.01 | as printed |")
    assert table[3] == "| a\\|b_c | 91.00 |  | 90.00 | +1.00 | 90.00 |  |  |  |  |"
    assert table[4] == "| quoted | not run |  | 89.46 |  | not run |  | 87.63 |  |  |"
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in table} == {11}


def test_table_csv_keeps_full_precision(tmp_path):
    report.write_table(tmp_path, TABLE)
    with (tmp_path / "table.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ["mean", "a|b_c", "quoted"]
    assert float(rows[0]["UA_difference"]) == 0.9 - 0.9061
    assert (float(rows[0]["WA_low"]), float(rows[0]["WA_high"])) == (0.87, 0.9)
    assert rows[1]["UA_std"] == rows[1]["WA_paper"] == rows[1]["WA_difference"] == ""
    assert rows[2]["UA_mean"] == ""
    assert float(rows[2]["UA_paper"]) == 0.8946


def test_table_latex_escapes(tmp_path):
    report.write_table(tmp_path, TABLE)
    text = (tmp_path / "table.tex").read_text(encoding="utf-8")
    assert r"a|b\_c & 91.00 &" in text
    assert r"90.00 $\pm$ 1.00" in text
    assert r"\textless{}pooling\textgreater{}" in text
    body = text[text.index(r"\midrule"):text.index(r"\bottomrule")]
    assert [line.count("&") for line in body.splitlines() if "&" in line] == [9, 9, 9]
    assert r"\begin{tabular}{lrrrrrrrrl}" in text


def test_a_cell_that_latex_would_take_for_an_argument_is_kept_apart(tmp_path):
    """After a line's end, LaTeX reads a bracket or a star as an argument of that line's end."""
    rows_ = [report.Row(name, {"UA": (0.5, None, None)}) for name in ("[a]", "*", "plain")]
    report.write_table(tmp_path, report.Table("t", "c", ("UA",), rows_))
    text = (tmp_path / "table.tex").read_text(encoding="utf-8")
    assert "    {}[a] & 50.00 " in text
    assert "    {}* & 50.00 " in text
    assert "    plain & 50.00 " in text


def test_table_page_and_plot(tmp_path):
    report.write_table(tmp_path, TABLE)
    page = Page((tmp_path / "table.html").read_text(encoding="utf-8"))
    assert page.all("pooling") == []
    assert "Table 5: <pooling>" in page.words()
    assert "−0.61" in page.words()
    assert len(page.all("figure")) == 1
    assert imread(tmp_path / "table.png").shape[1] > 600
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "table.csv", "table.html", "table.md", "table.png", "table.tex"]


def test_sweep_has_a_panel_for_each_series_and_metric(tmp_path):
    rows = [report.Row(f"{series} {x:g}", {"UA": (0.8 + x / 10, 0.01, None)}, None, x=x, series=series)
            for series, places in (("eps", (0.02, 0.5, 1.0)), ("share", (0.2, 0.5))) for x in places]
    rows.append(report.Row("share 0.8", {}, None, x=0.8, series="share"))
    table = report.Table("Fig. 6", "Corpus demo (synthetic speech).", ("UA", "WA"), rows, synthetic=True, x_label="x")
    report.write_table(tmp_path, table)
    text = (tmp_path / "table.html").read_text(encoding="utf-8")
    assert len(set(re.findall(r'id="(table-axes_\d+)"', text))) == 4
    assert "Synthetic data." in text[text.index("<figcaption>"):]
    markdown = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert "| eps 0.02 | 80.20 ± 1.00 | not run |" in markdown
    assert "difference" not in markdown


def test_numbers_are_shown_as_readers_want_them():
    assert values.difference("UA", -0.00001) == "0.00"
    assert values.difference("UA", 0.00005001) == "+0.01"
    assert values.difference("CCC_val", -0.0126) == "-0.013"
    assert values.number("WA", 1.0) == "100.00"
    assert values.estimate("UA", report.Estimate(0.5, 0.0)) == "50.00"
    assert values.interval("UA", (-0.01, 0.02), signed=True) == "[-1.00, +2.00]"
