"""Colours: of the page and of its figures, in both themes, for those who see little and those who are colour-blind."""

import math
import re
from collections.abc import Iterator
from importlib.resources import files
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from contrasts import AA_GRAPHICS, AA_TEXT, contrast, linear
from numpy.typing import NDArray
from pages import example

from dwray.report.documents import figures_of
from dwray.report.figures import MEASURED_COLOUR, NOTEBOOK_COLOUR, UNFINISHED_COLOUR
from dwray.report.panels import COLOURS, MARK_COLOUR, PAGE_COLOUR
from dwray.report.roofline_figure import ROOF_COLOUR
from dwray.report.timing_figures import PART_COLOURS

DRAWN = (*COLOURS, *PART_COLOURS, MEASURED_COLOUR, NOTEBOOK_COLOUR, UNFINISHED_COLOUR, ROOF_COLOUR, MARK_COLOUR)

SEEN = {
    "all colours": np.eye(3),
    "no red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "no green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "no blue": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
"""What is seen of linear RGB by those who lack a kind of cone (Machado, Oliveira and Fernandes 2009, severity 1)."""

TOLD_APART = 0.08
"""Least distance in Oklab: Okabe and Ito's own eight have 0.076."""


def oklab(rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of linear RGB, in which equal distances look about equal (Ottosson 2020)."""
    cones = [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
    axes = [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
    return np.array(axes) @ np.cbrt(np.array(cones) @ rgb.clip(0, 1))


def page_colours(theme: int) -> dict[str, str]:
    css = files("dwray.report").joinpath("page", "page.css").read_text()
    pairs = re.findall(r"--(\w+): light-dark\((#\w{6}), (#\w{6})\)", css)
    assert len(pairs) == css.count("light-dark(")
    return {name: (light, dark)[theme] for name, light, dark in pairs}


def on_dark() -> dict[str, str]:
    script = files("dwray.report").joinpath("page", "page.js").read_text()
    return dict(re.findall(r'"(#\w{6})": "(#\w{6})"', script))


def shown(colour: str, theme: int) -> str:
    """A figure's colour as the page of a theme shows it."""
    return on_dark()[colour] if theme else colour


themes = pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])


@themes
def test_words_and_controls_have_the_contrast_of_wcag_aa(theme: int) -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    colours = page_colours(theme)
    for name in ("ink", "dim", "accent"):
        for ground in ("page", "raised"):
            assert contrast(colours[name], colours[ground]) >= AA_TEXT, (name, ground)
    assert contrast(colours["control"], colours["page"]) >= AA_GRAPHICS


@themes
@pytest.mark.parametrize("drawn", sorted(set(DRAWN)))
def test_whatever_a_figure_draws_has_the_contrast_of_wcag_aa(drawn: str, theme: int) -> None:
    assert contrast(shown(drawn, theme), page_colours(theme)["page"]) >= AA_GRAPHICS


@themes
@pytest.mark.parametrize("seen", SEEN)
def test_networks_and_parts_are_told_apart_whoever_sees_them(seen: str, theme: int) -> None:
    labs = {colour: oklab(np.array(SEEN[seen]) @ linear(shown(colour, theme))) for colour in COLOURS}
    for one, other in combinations(COLOURS, 2):
        assert math.dist(labs[one], labs[other]) >= TOLD_APART, (one, other)
    assert len(set(COLOURS)) == len(COLOURS)
    assert set(PART_COLOURS) <= set(COLOURS)


def test_between_bars_that_touch_lies_the_page() -> None:
    for theme in (0, 1):
        assert shown(PAGE_COLOUR, theme) == page_colours(theme)["page"]


def colours_in(chart: Any) -> Iterator[str]:
    """Every colour that a chart names."""
    if isinstance(chart, dict):
        chart = list(chart.values())
    if isinstance(chart, list):
        for each in chart:
            yield from colours_in(each)
    elif isinstance(chart, str) and re.fullmatch("#[0-9a-fA-F]{6}", chart):
        yield chart


def test_every_colour_of_a_figure_is_known_and_stacked_bars_are_parted(tmp_path: Path) -> None:
    figures = {figure.name: figure.chart.to_dict() for figure in figures_of(example(tmp_path))}
    found = {colour for chart in figures.values() for colour in colours_in(chart)}
    assert found - {PAGE_COLOUR} <= set(DRAWN)
    bars = figures["epoch_seconds"]["layer"][0]
    assert bars["mark"] == {"type": "bar", "stroke": PAGE_COLOUR, "strokeWidth": 1}
    assert bars["encoding"]["color"]["scale"]["range"] == list(PART_COLOURS)
