"""Several runs in one figure."""

import math
from typing import Any

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
    assert panels(figure(run("old"), run("new")))[1]["y"]["scale"] == {"zero": True}
    assert panels(figure(run("old"), run("new", 0.01)))[1]["y"]["scale"]["type"] == "log"


def test_the_reader_can_hide_a_run_and_point_at_one() -> None:
    made = interactive(figure(run("old"), run("new")).chart.to_dict())
    assert [series.name for series in made.series] == ["old", "new"]
    (spec,) = made.specs.values()
    pointed = spec["concat"][0]["layer"][-1]["encoding"]
    assert pointed["xOffset"]["field"] == "run", "where the mark is, not between the runs"
    assert [row["run"] for row in made.datasets["hit_0"]] == ["old", "old", "new", "new"]


def test_it_is_drawn_and_said() -> None:
    found = figure(run("old"), run("new", device="some GPU"))
    assert svg(found).startswith('<svg role="img"')
    assert "A in new: 90.5 (" in found.alt_text
    assert "NOT ONE KIND OF DEVICE" in found.caption


def test_panels_are_of_what_was_measured() -> None:
    accuracy_alone = NamedRun("a", records_of({"A": [90.0]}))
    assert len(figure(accuracy_alone).chart.to_dict()["layer"]) == 2
    assert several_figure([NamedRun("none", records_of({"A": []}))]) is None
    assert shared_kind([accuracy_alone]) is None
    assert shared_kind([accuracy_alone, run("b")]) == ("test", False)
