"""The figure of similarity by layer: what is drawn, in which look, and what its words say."""

import io
import re

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from sercl_jax.report import similarity_figure, style

BEFORE = {"positive": [0.50, 0.60, 0.70], "negative": [0.52, 0.63, 0.74]}
AFTER = {"positive": [0.51, 0.75, 0.98], "negative": [0.52, 0.50, 0.41]}
ACROSS = {"positive_across": [0.30, 0.40, 0.45], "negative_across": [0.31, 0.42, 0.47]}


@pytest.fixture
def figures(monkeypatch):
    """The figures that are drawn, as matplotlib has them."""
    seen: list[Figure] = []

    def finish(figure, *words):
        seen.append(figure)
        return finished(figure, *words)

    finished = style.finish
    monkeypatch.setattr(style, "finish", finish)
    return seen


def titles(figure):
    return [axis.get_title(loc="left") for axis in figure.axes if axis.get_visible()]


def test_before_is_dashed_and_after_is_solid(figures):
    drawing = similarity_figure.draw({"EMO-DB": (BEFORE, AFTER)}, synthetic=False)
    (axis,) = figures[0].axes
    found = {(line.get_color(), line.get_linestyle()): line.get_ydata().tolist() for line in axis.lines}
    assert found == {(style.ACCENT, "--"): BEFORE["positive"], (style.CONTRAST, "--"): BEFORE["negative"],
                     (style.ACCENT, "-"): AFTER["positive"], (style.CONTRAST, "-"): AFTER["negative"]}
    assert all(line.get_xdata().tolist() == [0, 1, 2] for line in axis.lines)
    (legend,) = figures[0].legends
    assert [text.get_text() for text in legend.get_texts()] == ["positive pairs", "negative pairs", "before", "after"]
    assert titles(figures[0]) == ["EMO-DB"]
    assert drawing.name == "similarity"
    assert "before and after the contrastive stage" in drawing.caption
    assert "positive pairs after from 0.510 to 0.980" in drawing.alternative
    assert "Synthetic" not in drawing.alternative


def test_both_outputs_follow_the_report_s_conventions():
    one, two = (similarity_figure.draw({"EMO-DB": (BEFORE, AFTER)}, synthetic=True) for _ in range(2))
    assert one == two  # the same input gives the same bytes
    assert one.alternative.startswith("Synthetic data. ")
    assert "Synthetic data" in one.svg
    assert imread(io.BytesIO(one.png)).std() > 0.05
    assert re.findall(r"#[0-9a-f]{6}\b", one.svg) == []  # every colour is a variable of the page, light or dark
    assert {f"var({style.VARIABLES[color]})" in one.svg for color in (style.ACCENT, style.CONTRAST)} == {True}


def test_pairs_across_corpora_have_a_panel_of_their_own(figures):
    similarity_figure.draw({"EMO-DB + RAVDESS": (BEFORE | ACROSS, AFTER | ACROSS), "EMO-DB": (BEFORE, AFTER)}, False)
    assert titles(figures[0]) == ["EMO-DB + RAVDESS, all pairs", "EMO-DB + RAVDESS, pairs across\ncorpora", "EMO-DB"]
    assert figures[0].axes[1].lines[0].get_ydata().tolist() == ACROSS["positive_across"]
    assert len({axis.get_ylim() for axis in figures[0].axes}) == 1
    similarity_figure.draw({"": (BEFORE | ACROSS, AFTER | ACROSS)}, False)
    assert titles(figures[1]) == ["All pairs", "Pairs across corpora"]


def test_many_panels_go_on_in_another_row(figures):
    similarity_figure.draw({f"corpus {i}": (BEFORE, AFTER) for i in range(4)}, False)
    assert titles(figures[0]) == [f"corpus {i}" for i in range(4)]
    assert len(figures[0].axes) == 6
    assert sum(axis.get_visible() for axis in figures[0].axes) == 4


def test_after_alone_and_a_single_layer(figures):
    drawing = similarity_figure.draw({"EMO-DB": (None, {"positive": [0.7]})}, False)
    (axis,) = figures[0].axes
    assert len(axis.lines) == 1
    assert axis.get_xticks().tolist() == [0]
    assert "before" not in drawing.caption + drawing.alternative
    assert "EMO-DB: positive pairs after 0.700." in drawing.alternative


def test_large_encoders_have_few_ticks(figures):
    similarity_figure.draw({"EMO-DB": (None, {"negative": np.linspace(0, 1, 25).tolist()})}, False)
    assert figures[0].axes[0].get_xticks().tolist() == list(range(0, 25, 3))


@pytest.mark.parametrize("panels", [{}, {"EMO-DB": (None, {})}, {"EMO-DB": ({}, {})}])
def test_nothing_measured_is_nothing_drawn(panels):
    assert similarity_figure.draw(panels, False) is None
