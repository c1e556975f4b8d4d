"""Charts made interactive: what is added, and that what was drawn stays."""

import copy
import json
import math
from pathlib import Path
from typing import Any

import pytest
import vl_convert
from hypothesis import given
from hypothesis import strategies as st
from records import make_run
from trained import Training, trained_run

from dwray.report.figures import figures
from dwray.report.interactive import InteractiveChart, Series, Zoom, interactive
from dwray.report.timing_figures import timing_figures
from dwray.results.records import Records


@pytest.fixture(scope="module")
def loss(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    trainings = [Training("ConvNet", seed, [2.0 + seed, 1.0, 0.5 - seed / 4]) for seed in range(2)]
    run = trained_run(tmp_path_factory.mktemp("runs"), trainings, dataset="cifar10", compare_with="cifar10")
    return dict(figures(Records.read(run))[0].chart.to_dict())


def layers_of(found: InteractiveChart, kind: Any) -> list[dict[str, Any]]:
    return list(found.specs[kind]["layer"])


def test_a_chart_is_not_changed_and_all_that_it_drew_is_still_there(loss: dict[str, Any]) -> None:
    before = copy.deepcopy(loss)
    found = interactive(loss)
    assert loss == before
    for was, now in zip(loss["layer"], layers_of(found, "linear"), strict=False):
        assert now["mark"]["type"] == was["mark"]["type"]
        assert {channel: how["field"] for channel, how in now["encoding"].items()} == {
            channel: how["field"] for channel, how in was["encoding"].items()
        }
    assert loss["datasets"].items() <= dict(found.datasets).items()


def test_every_series_of_the_legend_can_be_hidden_wherever_it_has_rows(loss: dict[str, Any]) -> None:
    found = interactive(loss)
    assert found.series == (
        Series("measured, mean of 2 seeds, 95% band", "#0072b2"),
        Series("notebook", "#d55e00", (5, 3)),
    )
    for kind in ("linear", "log"):
        for layer in layers_of(found, kind):
            assert {"filter": "indexof(hidden, datum['line']) < 0"} in layer["transform"]
            assert layer["encoding"].get("color", {"legend": None})["legend"] is None
        assert {"name": "hidden", "value": []} in found.specs[kind]["params"]


def test_what_is_pointed_at_is_of_all_series_and_tells_its_fields(loss: dict[str, Any]) -> None:
    found = interactive(loss)
    hit = layers_of(found, "linear")[-1]
    assert hit["params"][0]["select"]["nearest"] is True
    rows = found.datasets[hit["data"]["name"]]
    assert {row["line"] for row in rows} == {series.name for series in found.series}
    assert next(iter(found.titles)) == "line", "the series comes first"
    assert dict(found.titles) == {
        "line": "line",
        "epoch": "epoch",
        "training": "training",
        "value": "training loss (nats)",
    }
    assert found.zooms == (Zoom("zoom_0_epoch", "x"), Zoom("zoom_0_value", "y"))


def test_a_logarithmic_axis_holds_all_that_is_positive_and_nothing_else(loss: dict[str, Any]) -> None:
    found = interactive(loss)
    *drawn, hit = layers_of(found, "log")
    lowest = min(row["value"] for row in found.datasets[hit["data"]["name"]])
    for layer in drawn:
        scale = layer["encoding"]["y"]["scale"]
        assert scale["type"] == "log"
        assert 0 < scale["domain"][0] < lowest
        assert scale["domain"][1] == loss["layer"][0]["encoding"]["y"]["scale"]["domain"][1]
    band = drawn[0]
    assert [each["as"] for each in band["transform"] if "calculate" in each] == ["low", "high"]
    assert {"filter": "datum['value'] > 0"} in drawn[1]["transform"]


def test_nothing_positive_has_no_logarithmic_axis(tmp_path: Path) -> None:
    run = trained_run(tmp_path, [Training("ConvNet", 0, [0.0, 0.0])])
    assert all(set(interactive(figure.chart.to_dict()).specs) == {"linear"} for figure in figures(Records.read(run)))


def test_panels_have_their_own_zooms_and_share_the_series(tmp_path: Path) -> None:
    epoch, *panels = [
        interactive(figure.chart.to_dict()) for figure in timing_figures(Records.read(make_run(tmp_path)))
    ]
    assert [series.name for series in epoch.series] == ["data", "step", "validation"]
    assert epoch.zooms == (), "of bars"
    assert epoch.specs["linear"]["layer"][0]["mark"]["tooltip"] == {"content": "data"}
    assert epoch.titles == {"part": "part", "network": "network", "seconds": "seconds of an epoch"}
    for found in panels:
        assert set(found.specs) == {"log"}, "as it was drawn"
        assert [series.name for series in found.series] == ["A", "B"]
        assert len(found.zooms) % 2 == 0
        assert found.zooms


def test_what_is_interactive_is_still_vega_lite(loss: dict[str, Any], tmp_path: Path) -> None:
    timed = [figure.chart.to_dict() for figure in timing_figures(Records.read(make_run(tmp_path)))]
    for chart in (loss, *timed):
        found = interactive(chart)
        for spec in found.specs.values():
            drawn = vl_convert.vegalite_to_svg({**spec, "width": 300, "datasets": dict(found.datasets)})
            assert drawn.startswith("<svg ")
            assert all(f">{words}<" not in drawn for words in ("NaN", "undefined"))


@given(st.lists(st.none() | st.floats() | st.text() | st.booleans() | st.integers(), max_size=5))
def test_its_data_is_json_whatever_was_measured(values: list[Any]) -> None:
    rows = [{"x": value} for value in values]
    data = InteractiveChart({"linear": {}}, {"d": rows}, (), (), {}).data()
    read = json.loads(json.dumps(data, allow_nan=False))
    for value, row in zip(values, read["datasets"]["d"], strict=True):
        not_finite = isinstance(value, float) and not math.isfinite(value)
        assert row["x"] == (None if not_finite else value)
