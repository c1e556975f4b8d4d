"""The figures of the search, the timing and the roofline: what they draw is what was recorded."""

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from records import ALONE, RAN, SETTINGS, SWITCHED, identity, make_run

from dwray.report.figures import Figure, svg
from dwray.report.roofline_figure import attainable, roofline_figure
from dwray.report.search_figures import FAILED, TRIED, WON, search_figure
from dwray.report.timing_figures import MOST_PANELS, epoch_figure, timing_figures
from dwray.report.timing_figures import test_time_figure as draw_test_times
from dwray.results.epochs import Epochs
from dwray.results.records import Records
from dwray.results.schema import EPOCHS, to_table


def rows_of(figure: Figure) -> list[dict[str, Any]]:
    """Every row that a figure draws."""
    return [row for rows in figure.chart.to_dict()["datasets"].values() for row in rows]


def panels_of(figure: Figure) -> list[dict[str, Any]]:
    spec = figure.chart.to_dict()
    return spec.get("concat", [spec])


def texts_of(figure: Figure) -> str:
    return " ".join(element.text or "" for element in ET.fromstring(svg(figure)).iter())


def search_records(scores: dict[tuple[str, str, float], float | None]) -> Records:
    trials = [
        {
            **RAN,
            "trial_id": f"s{number}",
            "stage": "search",
            "contender": contender,
            "axis": axis,
            "axis_pass": 1,
            "lr": value if axis == "lr" else 0.1,
            "decay": value if axis == "decay" else 0.9,
            "status": "failed" if score is None else "completed",
            "validation_accuracy_percent": score,
        }
        for number, ((contender, axis, value), score) in enumerate(scores.items())
    ]
    return Records(trials, Epochs.of_rows([]), [], identity("hand", ["A", "B"]))


def test_the_search_has_a_panel_for_each_axis_with_every_value_and_its_end() -> None:
    records = search_records(
        {
            ("A", "lr", 0.1): 80.0,
            ("A", "lr", 0.2): 70.0,
            ("B", "lr", 0.1): 60.0,
            ("B", "lr", 0.2): None,
            ("A", "decay", 0.95): 85.0,
            ("B", "decay", 0.95): 50.0,
        }
    )
    figure = search_figure(records)
    assert figure is not None
    assert [panel["title"] for panel in panels_of(figure)] == ["lr", "decay"]
    drawn = {(row["network"], row["value"], row["outcome"]) for row in rows_of(figure)}
    assert {
        ("A", "0.1", WON),
        ("A", "0.2", TRIED),
        ("B", "0.2", FAILED),
        ("A", "0.95", WON),
        ("B", "0.9", WON),
    } <= drawn
    assert "A: lr 0.1 (80.00), then decay 0.95 (85.00)." in figure.caption
    for text in ("validation accuracy (%)", WON, TRIED, FAILED, "A", "B"):
        assert text in texts_of(figure)


def test_an_axis_of_thousands_of_values_is_drawn() -> None:
    figure = search_figure(search_records({("A", "lr", value / 1000): 50.0 for value in range(1, 2001)}))
    assert figure is not None
    assert svg(figure).startswith("<svg ")


def test_what_gave_no_score_has_a_mark_in_the_figure_and_none_of_its_own_in_the_data() -> None:
    figure = search_figure(search_records({("A", "lr", 0.1): 50.0, ("A", "lr", 0.2): None}))
    assert figure is not None
    (table,) = figure.data
    assert table.cells() == [["A", "0.1", "50.00", WON], ["", "0.2", "-", FAILED]]


def test_without_a_score_there_is_no_figure() -> None:
    assert search_figure(search_records({})) is None
    assert search_figure(search_records({("A", "lr", 0.1): None})) is None


def test_an_epoch_is_stacked_from_its_three_parts(tmp_path: Path) -> None:
    figure = epoch_figure(Records.read(make_run(tmp_path)))
    assert figure is not None
    parts = {row["part"]: row["seconds"] for row in rows_of(figure) if "part" in row}
    assert parts == {"data": 0.5, "step": 1.5, "validation": 0.5}
    assert "2.5 s" in texts_of(figure)


def timed_records(seconds: dict[tuple[str, int, str], float]) -> Records:
    timings = [
        {
            **ALONE,
            "trial_id": f"m{size}",
            "contender": contender,
            "set": images,
            "batch_size": size,
            "loader": False,
            "pass_number": number,
            "images": 100,
            "seconds": spent,
            "device": "some CPU",
            "threads": 2,
        }
        for (contender, size, images), spent in seconds.items()
        for number in (1, 2)
    ]
    return Records([], Epochs.of_rows([]), timings, identity("hand", ["A", "B"]))


def test_the_crossover_is_marked_between_the_batch_sizes_that_were_measured() -> None:
    figure = draw_test_times(
        timed_records({("A", 4, "test"): 1.0, ("B", 4, "test"): 2.0, ("A", 64, "test"): 2.0, ("B", 64, "test"): 1.0})
    )
    assert figure is not None
    marks = [row for row in rows_of(figure) if "text" in row]
    assert {row["text"] for row in marks} == {"between 4 and 64 (about 16)?"}, "two passes make it no sure one"
    assert {(row["low"], row["high"]) for row in marks} == {(4, 64)}
    lines, ends = (1.0, 2.0), panels_of(figure)[0]["layer"][-2]["encoding"]["y"]["scale"]["domain"]
    assert ends[0] < lines[0] < lines[1] < ends[1] < 4, "the axis is as long as its lines, with room for the words"
    said = "the faster network changes from A to B between 4 and 64 (about 16), not beyond the noise."
    assert f"test set, network alone: {said}" in figure.alt_text
    assert "between 4 and 64 (about 16)?" in texts_of(figure)


def test_networks_whose_order_stays_have_no_mark() -> None:
    figure = draw_test_times(timed_records({("A", 4, "test"): 1.0, ("B", 4, "test"): 2.0}))
    assert figure is not None
    assert [row for row in rows_of(figure) if "text" in row] == []
    assert "The order of the networks is the same" in figure.caption


def test_of_many_kinds_of_passes_the_first_are_drawn_and_the_rest_counted() -> None:
    sets = [f"set{number:02}" for number in range(MOST_PANELS + 3)]
    figure = draw_test_times(timed_records({("A", 4, images): 1.0 for images in sets}))
    assert figure is not None
    assert len(panels_of(figure)) == MOST_PANELS
    assert "3 more kinds are in the tables." in figure.caption


def test_without_measurements_there_are_no_figures() -> None:
    nothing = Records([], Epochs.of_rows([]), [], identity("hand", ["A"]))
    assert timing_figures(nothing) == []
    assert roofline_figure(nothing) is None


@pytest.mark.parametrize(("at", "allowed"), [(1.0, 10.0), (10.0, 100.0), (50.0, 100.0)])
def test_the_roof_is_the_lower_of_its_two_limits(at: float, allowed: float) -> None:
    assert attainable(at, peak=100.0, bandwidth=10.0) == allowed


def test_a_network_stands_under_the_roof_where_its_time_puts_it() -> None:
    trial = {
        **SETTINGS,
        **SWITCHED,
        **RAN,
        "trial_id": "t0",
        "contender": "A",
        "network": "ConvNet",
        "stage": "train",
        "seed": 0,
        "status": "completed",
        "train_images": 320,
        "precision": "float32",
        "step_flops": 200,
        "step_bytes": 100,
        "matrix_flops_per_second": 1000.0,
        "copy_bytes_per_second": 100.0,
    }
    epochs = Epochs(to_table(EPOCHS, [{"trial_id": "t0", "epoch": 1, "train_seconds": 20.0}], {}))
    figure = roofline_figure(Records([trial], epochs, [], identity("hand", ["A"])))
    assert figure is not None
    (point,) = [row for row in rows_of(figure) if row.get("network") == "A"][:1]
    # 10 steps of 200 FLOP in 20 s; a byte is worth 2 FLOP, and the roof there is 200 FLOP/s.
    assert point == {"network": "A", "intensity": 2.0, "flops": pytest.approx(100.0)}
    roof = {(row["intensity"], row["flops"]) for row in rows_of(figure) if "roof" in row}
    assert (10.0, 1000.0) in roof, "its corner is the ridge"
    assert "50% of the roof, bound by memory" in figure.alt_text
    assert "arithmetic intensity (FLOP/byte)" in texts_of(figure)
