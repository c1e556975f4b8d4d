"""Several runs in one figure."""

import math
import re
from typing import Any

import pytest
from measured import records_of

from dwray.report.figures import Figure, svg
from dwray.report.interactive import interactive
from dwray.report.several_figures import several_figure, shared_kind
from dwray.results.several import NamedRun
from dwray.results.statistics import mean_interval

PASSES = {4: {"A": [1.0, 1.1, 1.2], "B": [2.0, 2.1, 2.2]}, 256: {"A": [0.5, 0.6, 0.7], "B": [0.2, 0.3, 0.4]}}


def run(name: str, factor: float = 1.0, **more: Any) -> NamedRun:
    seconds = {"A": [factor, 1.1 * factor], "B": [2 * factor, 2.2 * factor]}
    return NamedRun(name, records_of({"A": [90.0, 91.0], "B": [80.0, 82.0]}, seconds, PASSES, **more))


def figure(*runs: NamedRun) -> Figure:
    found = several_figure(runs)
    assert found is not None
    return found


def panels(found: Figure) -> list[dict[str, Any]]:
    spec = found.chart.to_dict()
    return [
        {
            "x": (layer := panel["layer"][-1])["encoding"]["x"]["field"],
            "y": layer["encoding"]["y"],
            "rows": spec["datasets"][layer["data"]["name"]],
        }
        for panel in spec["concat"]
    ]


def test_it_shows_every_network_of_every_run_with_its_interval() -> None:
    accuracy, epoch, timed = panels(figure(run("old"), run("new")))
    assert [(row["run"], row["network"]) for row in accuracy["rows"]] == [
        (name, network) for name in ("old", "new") for network in "AB"
    ]
    expected = mean_interval([90.0, 91.0])
    first = accuracy["rows"][0]
    assert (first["value"], first["low"], first["high"]) == (expected.value, expected.low, expected.high)
    assert math.isclose(epoch["rows"][0]["value"], 1.05)
    assert [(row["batch"], row["network"]) for row in timed["rows"][:4]] == [(4, "A"), (4, "B"), (256, "A"), (256, "B")]
    assert timed["x"] == "batch"


def test_epochs_begin_at_zero_unless_machines_are_far_apart() -> None:
    assert panels(figure(run("old"), run("new")))[1]["y"]["scale"]["domain"][0] == 0
    assert panels(figure(run("old"), run("new", 0.01)))[1]["y"]["scale"]["type"] == "log"


def spans(found: Figure) -> list[list[tuple[float, float]]]:
    """The ends of the intervals that each panel draws, as it draws them."""
    spec = found.chart.to_dict()
    rules = [panel["layer"][0] for panel in spec.get("concat", [spec])]
    assert all(rule["mark"]["type"] == "rule" for rule in rules)
    return [[(row["low"], row["high"]) for row in spec["datasets"][rule["data"]["name"]]] for rule in rules]


WIDE = {4: {"A": [1.0, 1.1, 1.2], "B": [0.1, 0.1, 3.0]}, 256: {"A": [0.5, 0.6, 0.7], "B": [0.2, 0.3, 0.4]}}
"""Three passes of which one is an outlier: Student's interval reaches far below nothing."""


def test_no_interval_is_dropped_or_reaches_where_its_quantity_cannot_lie() -> None:
    seconds = {"A": [1.0, 9.0], "B": [2.0, 2.2]}
    found = figure(NamedRun("a", records_of({"A": [99.0, 96.0], "B": [1.0, 5.0]}, seconds, WIDE)), run("b"))
    accuracy, epoch, timed = spans(found)
    assert mean_interval([99.0, 96.0]).high == pytest.approx(116.56, abs=0.01), "what Student's interval has"
    assert accuracy[0][1] == 100
    assert accuracy[1][0] == 0
    assert epoch[0][0] == 0, "on a linear axis, at nothing"
    assert [len(each) for each in (accuracy, epoch, timed)] == [4, 4, 8], "all are drawn"
    (panel,) = [panel for panel in panels(found) if panel["x"] == "batch"]
    bottom, top = panel["y"]["scale"]["domain"]
    assert timed[1][0] == bottom > 0, "on a logarithmic one, at its end"
    assert all(bottom <= low <= high <= top for low, high in timed)
    assert "cut at 0, at 100% and at an axis' end" in found.caption
    rows = [row for table in found.data for row in table.rows if row["run"] == "a"]
    assert rows[0]["high"] == 100
    assert min(row["low"] for row in rows) == 0


def test_the_reader_can_hide_a_run_and_point_at_one() -> None:
    made = interactive(figure(run("old"), run("new")).chart.to_dict())
    assert [series.name for series in made.series] == ["old", "new"]
    (spec,) = made.specs.values()
    pointed = spec["concat"][0]["layer"][-1]["encoding"]
    assert pointed["xOffset"]["field"] == "run", "where the mark is, not between the runs"
    assert [row["run"] for row in made.datasets["hit_0"]] == ["old", "old", "new", "new"]


def test_it_is_drawn_and_said() -> None:
    found = figure(run("old"), run("new", device="some GPU"))
    drawn = svg(found)
    assert drawn.startswith('<svg role="img"')
    symbols = re.findall(r'role-legend-symbol"[^>]*><path[^>]*>', drawn)
    assert len(symbols) == 4
    assert all('stroke="#' in symbol for symbol in symbols), "of a run by its colour, of a network by its dashes"
    assert found.alt_text.startswith("3 panels, a colour for each of 2 runs. ")
    assert "Test accuracy (%): from 81 (B in old) to 90.5 (A in old)." in found.alt_text
    assert "network alone: from 0.3 (B in old at batch size 256) to 2.1 (B in old at batch size 4)." in found.alt_text
    assert "NOT ONE KIND OF DEVICE" in found.caption


def test_panels_are_of_what_was_measured() -> None:
    accuracy_alone = NamedRun("a", records_of({"A": [90.0]}))
    assert len(figure(accuracy_alone).chart.to_dict()["layer"]) == 2
    assert several_figure([NamedRun("none", records_of({"A": []}))]) is None
    assert shared_kind([accuracy_alone]) is None
    assert shared_kind([accuracy_alone, run("b")]) == ("test", False)
