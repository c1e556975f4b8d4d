"""Several runs in one figure: accuracy, and the times of epochs and of passes, of each network in each run."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from dwray.report.figure_data import runs_table
from dwray.report.figures import Figure
from dwray.report.panels import COLOURS, PANEL_HEIGHT, PANEL_WIDTH, grid
from dwray.results.answer import epoch_seconds, test_accuracies
from dwray.results.differences import Kind, words
from dwray.results.several import NamedRun, notes_on_several
from dwray.results.statistics import Estimate, mean_interval

Rows = list[dict[str, Any]]

LOGARITHMIC_FROM = 10
"""Times of machines that are this many times as fast as others are drawn on a logarithmic scale."""

LOG_BELOW = 10
"""A logarithmic axis ends no further below the least value than this: an interval may reach to nothing."""

_LOG_MARGIN = 1.25
"""Between a logarithmic axis' ends and what is drawn."""


def several_figure(runs: Sequence[NamedRun]) -> Figure | None:
    """Means with their 95% intervals, run beside run; None where nothing was measured."""
    accuracies = [row for run in runs for row in _rows(run, test_accuracies(run.records), most=100)]
    seconds = [row for run in runs for row in _rows(run, epoch_seconds(run.records))]
    kind = shared_kind(runs)
    timed = [row for run in runs for row in _passes(run, kind)] if kind else []
    names = [run.name for run in runs]
    panels, data, told = [], [], []
    if accuracies:
        axis = "test accuracy (%)"
        panels.append(_by_network(accuracies, names, axis, _percent_scale(accuracies)))
        data.append(runs_table(axis, ".2f", accuracies))
        told.append(_told(axis, accuracies))
    if seconds:
        axis = "seconds of an epoch's training pass"
        panels.append(_by_network(seconds, names, axis, _time_scale(seconds)))
        data.append(runs_table(axis, ".4g", seconds))
        told.append(_told(axis, seconds))
    if kind and timed:
        axis = f"seconds of a {words(kind)}"
        panels.append(_by_batch_size(timed, names, axis))
        data.append(runs_table(axis, ".4g", timed))
        told.append(_told(axis, timed))
    if not panels:
        return None
    over = "over the seeds (accuracy, epoch) or the timed passes"
    said = [f"Mean and 95% interval {over}, cut at 0, at 100% and at an axis' end."]
    if kind is None and any(run.records.timings for run in runs):
        said.append("No kind of timed pass is in every run: see the tables.")
    return Figure(
        name="runs_together",
        number=None,
        title="The runs together",
        caption=" ".join([*said, *notes_on_several(runs)]),
        alt_text=f"{len(panels)} panel{'s' if len(panels) > 1 else ''}, a colour for each of {len(runs)} runs. "
        + " ".join(told),
        chart=grid(panels),
        data=data,
    )


def shared_kind(runs: Sequence[NamedRun]) -> Kind | None:
    """A kind of timed pass that every run with timed passes has: of the test set, the network alone, if it can be."""
    kinds = [{(row["set"], row["loader"]) for row in run.records.timings} for run in runs if run.records.timings]
    shared = set.intersection(*kinds) if kinds else set()
    return min(shared, key=lambda kind: (kind[0] != "test", kind[1], kind[0]), default=None)


def _rows(run: NamedRun, measured: Mapping[str, Mapping[int, float]], most: float = math.inf) -> Rows:
    return [_row(run, name, mean_interval(by_seed.values()), most) for name, by_seed in measured.items()]


def _row(run: NamedRun, network: str, found: Estimate, most: float = math.inf) -> dict[str, Any]:
    low, high = found.within(0, most)
    return {"run": run.name, "network": network, "value": found.value, "low": low, "high": high}


def _passes(run: NamedRun, kind: Kind) -> Rows:
    images, loader = kind
    sizes = sorted({row["batch_size"] for row in run.records.timings if (row["set"], row["loader"]) == kind})
    return [
        {**_row(run, name, mean_interval(row["seconds"] for row in rows)), "batch": size}
        for size in sizes
        for name, rows in run.records.passes(images, size, loader).items()
        if all(row["seconds"] > 0 for row in rows)
    ]


def _told(axis: str, rows: Rows) -> str:
    """A panel in a sentence: its least and its greatest value."""
    ends = (min(rows, key=lambda row: row["value"]), max(rows, key=lambda row: row["value"]))
    low, high = (f"{row['value']:.4g} ({_whose(row)})" for row in ends)
    return f"{axis.capitalize()}: {f'from {low} to {high}' if len(rows) > 1 else low}."


def _whose(row: Mapping[str, Any]) -> str:
    at = f" at batch size {row['batch']:,}" if "batch" in row else ""
    return f"{row['network']} in {row['run']}{at}"


def _colour(names: Sequence[str]) -> alt.Color:
    """A colour for each run; they repeat where there are more runs than colours."""
    colours = [COLOURS[number % len(COLOURS)] for number in range(len(names))]
    return (
        alt.Color("run:N")
        .scale(domain=list(names), range=colours)
        .legend(title=None, orient="top", direction="vertical", labelLimit=0)
    )


def _time_scale(rows: Rows) -> dict[str, Any]:
    """From zero; logarithmic where that would show of the faster machines nothing."""
    values = [row["value"] for row in rows]
    is_wide = max(values) > LOGARITHMIC_FROM * min(values)
    return _log_scale(rows) if is_wide else {"domain": [0, _ends(rows)[1]], "nice": True}


def _ends(rows: Rows) -> tuple[float, float]:
    """Of all that a panel draws: its axis stays as it is when the reader hides a run, or all of them."""
    drawn = [row[each] for row in rows for each in ("value", "low", "high") if row[each] is not None]
    return min(drawn), max(drawn)


def _percent_scale(rows: Rows) -> dict[str, Any]:
    low, high = _ends(rows)
    margin = 0.05 * (high - low) or 1.0
    return {"domain": [max(0, low - margin), min(100, high + margin)], "nice": True}


def _log_scale(rows: Rows) -> dict[str, Any]:
    """Down to the least value or end of an interval, unless that lies too far below the values."""
    bottom, top = _ends(rows)
    bottom = max(bottom, min(row["value"] for row in rows) / LOG_BELOW)
    return {"type": "log", "domain": [bottom / _LOG_MARGIN, top * _LOG_MARGIN], "nice": False}


def _by_network(rows: Rows, names: Sequence[str], axis: str, scale: Mapping[str, Any]) -> alt.LayerChart:
    """Networks beside each other, and in each the runs."""
    networks = list(dict.fromkeys(row["network"] for row in rows))
    x = (
        alt.X("network:N")
        .title(None)
        .scale(domain=networks)
        .axis(labelAngle=0 if len(networks) < 3 else -30, labelLimit=150)
    )
    offset = alt.XOffset("run:N").scale(domain=list(names))
    return _panel(rows, axis, scale, names, x, offset)


def _by_batch_size(rows: Rows, names: Sequence[str], axis: str) -> alt.LayerChart:
    """Seconds by batch size, both scales logarithmic, networks by their dashes."""
    sizes = sorted({row["batch"] for row in rows})
    networks = list(dict.fromkeys(row["network"] for row in rows))
    dashes = [[1, 0], [5, 3], [2, 2], [8, 3, 2, 3]]
    x = (
        alt.X("batch:Q")
        .title("batch size")
        .scale(type="log", domain=[0.8 * sizes[0], 1.25 * sizes[-1]], nice=False)
        .axis(values=sizes, format=",d", labelOverlap=True)
    )
    dash = (
        alt.StrokeDash("network:N")
        .scale(domain=networks, range=[dashes[number % len(dashes)] for number in range(len(networks))])
        .legend(
            title=None,
            orient="top",
            direction="vertical",
            symbolType="stroke",
            labelLimit=0,
        )
    )
    return _panel(rows, axis, _log_scale(rows), names, x, dash)


def _panel(rows: Rows, axis: str, scale: Mapping[str, Any], names: Sequence[str], *placed: Any) -> alt.LayerChart:
    """Points with their intervals; joined by lines where a dash says which belong together."""
    base: Any = alt.Chart({"values": rows})
    ticks: dict[str, Any] = {"format": "~g"} if scale.get("type") == "log" else {}
    y = alt.Y("value:Q").title(axis).scale(**scale).axis(tickCount=5, **ticks)
    is_line = any(isinstance(channel, alt.StrokeDash) for channel in placed)
    mark = (
        base.mark_line(strokeWidth=1.5, point={"size": 30, "filled": True})
        if is_line
        else base.mark_point(size=45, filled=True, opacity=1)
    )
    least = scale["domain"][0] if scale.get("type") == "log" else 0
    spans = [row | {"low": max(row["low"], least)} for row in rows if row["low"] is not None]
    known: Any = alt.Chart({"values": spans})
    where = [channel for channel in placed if not isinstance(channel, alt.StrokeDash)]
    interval = known.mark_rule(strokeWidth=1.5).encode(
        alt.Y("low:Q").title(axis).scale(**scale), alt.Y2("high:Q"), _colour(names), *where
    )
    layers = [interval, mark.encode(y, _colour(names), *placed)]
    return alt.LayerChart(layer=layers, width=PANEL_WIDTH, height=PANEL_HEIGHT)
