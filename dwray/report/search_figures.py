"""The linear search as a figure: the score over the values of each axis, and the path that the search took."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import altair as alt

from dwray.report.figure_data import axis_table
from dwray.report.figures import Figure
from dwray.report.panels import PANEL_HEIGHT, PANEL_WIDTH, grid, meaning, network_colour
from dwray.results.records import Records
from dwray.results.search_path import SearchSettings, Step, path_in_words, search_path, value_text

WON, TRIED, FAILED = "went on", "tried", "gave no score"
"""Names in the legend."""

_SHAPES = {WON: "diamond", TRIED: "circle", FAILED: "cross"}
_SIZE, _SIZE_WON = 45, 140
"""Of the marks, in square pixels."""

Panel = tuple[int, str]
"""A pass over the axes, from 1, and the axis."""


def search_figure(records: Records, settings: SearchSettings | None = None) -> Figure | None:
    """Score by value, a panel for each axis in the order in which they were searched; None without a search."""
    known = settings or SearchSettings()
    steps = search_path(records, known)
    scores = [each.score for step in steps for each in step.tried if each.score is not None]
    if not scores:
        return None
    contenders = list(dict.fromkeys(step.contender for step in steps))
    low, high = min(scores), max(scores)
    margin = (high - low) * 0.08 or abs(high) * 0.05 or 1.0
    panels = {
        panel: list(group)
        for panel, group in groupby(
            sorted(steps, key=_panel_order(steps)), key=lambda step: (step.axis_pass, step.axis)
        )
    }
    return Figure(
        name="search_scores",
        number=None,
        title="The path of the search",
        caption=" ".join(
            [
                f"{known.words.capitalize()} by value, axis by axis. Diamond: the value that went on to the next "
                "axis; cross: no score (failed or diverged). All panels have one vertical scale.",
                *(path_in_words(contender, steps) for contender in contenders),
                *meaning(records),
            ]
        ),
        alt_text=f"{len(panels)} panels, {known.words} over the values of an axis. "
        + " ".join(path_in_words(contender, steps) for contender in contenders),
        chart=grid(
            [
                _panel(panel, group, contenders, known.words_with_unit, (low - margin, high + margin))
                for panel, group in panels.items()
            ]
        ),
        data=[
            axis_table(_title(panel), panel[1], known.words_with_unit, _rows(group)) for panel, group in panels.items()
        ],
    )


def _panel_order(steps: Sequence[Step]) -> Any:
    """Axes in the order of the search, whichever network took them first."""
    axes = list(dict.fromkeys(step.axis for step in steps))
    return lambda step: (step.axis_pass, axes.index(step.axis))


def _panel(
    panel: Panel, steps: Sequence[Step], contenders: Sequence[str], words: str, ends: tuple[float, float]
) -> alt.LayerChart:
    """One axis: a line for each network through its scores, and a mark for each value."""
    _, axis = panel
    # What gave no score is marked at the lower end.
    rows = [row | {"score": ends[0] if row["score"] is None else row["score"]} for row in _rows(steps)]
    order = list(dict.fromkeys(row["value"] for row in rows))
    x = alt.X("value:O").sort(None).scale(domain=order).title(axis).axis(labelAngle=0, labelOverlap=True)
    y = alt.Y("score:Q").title(words).scale(domain=list(ends), nice=False, zero=False)
    colour = network_colour(contenders)
    shape = (
        alt.Shape("outcome:N")
        .scale(domain=list(_SHAPES), range=list(_SHAPES.values()))
        .legend(title=None, orient="top", direction="horizontal")
    )
    size = alt.condition(alt.datum.outcome == WON, alt.value(_SIZE_WON), alt.value(_SIZE))
    base = alt.Chart({"values": rows})
    scored = alt.Chart({"values": [row for row in rows if row["outcome"] != FAILED]})
    line: alt.Chart = scored.mark_line(strokeWidth=1.2, opacity=0.7).encode(x, y, colour)
    marks: alt.Chart = base.mark_point(filled=True, opacity=1).encode(x, y, colour, shape, size=size)
    return alt.LayerChart(layer=[line, marks], width=PANEL_WIDTH, height=PANEL_HEIGHT, title=_title(panel))


def _title(panel: Panel) -> str:
    axis_pass, axis = panel
    return f"{axis} (pass {axis_pass})" if axis_pass > 1 else axis


def _rows(steps: Sequence[Step]) -> list[dict[str, Any]]:
    """The values of one axis in its order, which a line follows, and what came of each."""
    values = list(dict.fromkeys(each.value for step in steps for each in step.tried))
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        values.sort()
    order = {value: number for number, value in enumerate(values)}
    return [
        {
            "network": step.contender,
            "value": value_text(each.value),
            "score": each.score,
            "outcome": FAILED if each.score is None else WON if each is step.winner else TRIED,
        }
        for step, each in sorted(
            ((step, each) for step in steps for each in step.tried), key=lambda pair: order[pair[1].value]
        )
    ]
