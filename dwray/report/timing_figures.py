"""Where the time of an epoch goes, and how long a pass over a set takes at each batch size."""

from collections.abc import Sequence

import altair as alt

from dwray.report.figure_data import epoch_table, pass_table
from dwray.report.figures import FONT, HEIGHT, WIDTH, Figure
from dwray.report.panels import (
    COLOURS,
    MARK_COLOUR,
    PAGE_COLOUR,
    PANEL_HEIGHT,
    PANEL_WIDTH,
    configured,
    grid,
    meaning,
    network_colour,
)
from dwray.results.crossings import INTERPOLATION, Curve, crossings, curves
from dwray.results.epoch_split import EpochSplit, epoch_splits
from dwray.results.one_device import mixed_devices
from dwray.results.records import Records

PARTS = ("data", "step", "validation")
"""Of an epoch, in the order in which they are stacked."""

PART_COLOURS = (COLOURS[4], COLOURS[5], COLOURS[2])
"""Brown, violet, green: none of the first two networks'."""

NO_CROSSING = "The order of the networks is the same at every batch size that was timed."

MARKED = "Grey: where the order of the networks changes, with a question mark if it is not sure; dashed: about there."

MARGIN = 1.2
"""Between the ends of an axis of seconds and the lines."""

MOST_PANELS = 12
"""So many kinds of timed passes are drawn: a figure of more is no figure."""


def timing_figures(records: Records) -> list[Figure]:
    """The figures that there are data for."""
    return [figure for figure in (epoch_figure(records), test_time_figure(records)) if figure is not None]


def epoch_figure(records: Records) -> Figure | None:
    """Seconds of an epoch in its three parts, stacked, a bar for each network; None before a training completed."""
    splits = epoch_splits(records)
    if not splits:
        return None
    rows = [
        {"network": split.contender, "part": part, "order": order, "seconds": seconds}
        for split in splits
        for order, (part, seconds) in enumerate(zip(PARTS, (split.data, split.step, split.validation), strict=True))
    ]
    totals = [{"network": split.contender, "seconds": split.total, "text": f"{split.total:.3g} s"} for split in splits]
    y = alt.Y("network:N").sort([split.contender for split in splits]).title(None).axis(labelLimit=200)
    ends = alt.Scale(domain=[0, 1.15 * max(split.total for split in splits)])  # with room for a label
    x = alt.X("seconds:Q", scale=ends).title("seconds of an epoch").stack("zero")
    colour = (
        alt.Color("part:N")
        .scale(domain=list(PARTS), range=list(PART_COLOURS))
        .legend(title=None, orient="top", direction="horizontal")
    )
    drawn = alt.Chart({"values": rows}).mark_bar(stroke=PAGE_COLOUR, strokeWidth=1)
    bars: alt.Chart = drawn.encode(x, y, colour, alt.Order("order:Q"))
    labels: alt.Chart = (
        alt.Chart({"values": totals})
        .mark_text(align="left", dx=4, font=FONT)
        .encode(alt.X("seconds:Q", scale=ends), y, alt.Text("text:N"))
    )
    height = min(HEIGHT, 60 * len(splits))
    return Figure(
        name="epoch_seconds",
        number=None,
        title="Where the time of an epoch goes",
        caption=" ".join(
            [
                "Seconds of an epoch, mean over its trainings' epochs and then over the seeds: data (gathering, "
                "augmenting and normalising batches), step (forward, backward, optimizer), validation pass.",
                *mixed_devices(records),
                *meaning(records),
            ]
        ),
        alt_text="Stacked bars of an epoch's seconds. " + " ".join(map(_said_of, splits)),
        chart=configured(alt.LayerChart(layer=[bars, labels], width=WIDTH, height=height)),
        data=[epoch_table(splits)],
    )


def _said_of(split: EpochSplit) -> str:
    return (
        f"{split.contender}: data {split.data:.3g} s, step {split.step:.3g} s, validation {split.validation:.3g} s, "
        f"of {split.seeds} seed{'s' if split.seeds > 1 else ''}."
    )


def test_time_figure(records: Records) -> Figure | None:
    """Seconds of a pass by batch size, a panel for each kind of pass; None where nothing was timed.

    Where the order of two networks changes, the span between the two measured batch sizes that enclose it is marked.
    """
    found = curves(records)
    if not found:
        return None
    shown = found[:MOST_PANELS]
    marked = [(curve, crossing) for curve in shown for crossing in crossings(curve)]
    said = [
        f"{curve.words}: the faster network changes from {crossing.faster_below} to {crossing.faster_above} "
        f"{crossing.where}{'' if crossing.sure else ', not beyond the noise'}."
        for curve, crossing in marked
    ]
    return Figure(
        name="test_time_by_batch",
        number=None,
        title="Test time by batch size",
        caption=" ".join(
            [
                "Mean seconds of a timed pass, both scales logarithmic.",
                *([f"{MARKED} {INTERPOLATION}"] if marked else [NO_CROSSING]),
                *([f"{len(found) - len(shown)} more kinds are in the tables."] if len(found) > len(shown) else []),
                *mixed_devices(records),
            ]
        ),
        alt_text=" ".join(
            [
                f"{len(shown)} panel{'s' if len(shown) > 1 else ''}, seconds of a pass by batch size.",
                *(said or [NO_CROSSING]),
            ]
        ),
        chart=grid([_test_time_panel(curve, records.contenders) for curve in shown]),
        data=[pass_table(curve, records.contenders) for curve in shown],
    )


def _test_time_panel(curve: Curve, contenders: Sequence[str]) -> alt.LayerChart:
    rows = [
        {"network": name, "batch": size, "seconds": seconds}
        for name in contenders
        for size, seconds in curve.means(name).items()
    ]
    sizes = sorted(curve.sizes)

    def x(column: str) -> alt.X:
        scaled = alt.X(f"{column}:Q").scale(type="log", domain=[0.8 * sizes[0], 1.25 * sizes[-1]], nice=False)
        return scaled.title("batch size").axis(values=sizes, format=",d", labelOverlap=True)

    seconds = [each for name in contenders for each in curve.means(name).values()]
    y = alt.Y("seconds:Q").title("seconds of a pass").axis(format="~g", tickCount=5)
    found = crossings(curve)
    below = 20 + 14 * min(len(found) - 1, 2)
    low, high = min(seconds) / MARGIN, max(seconds) * MARGIN
    if found:  # room for what is said of them
        high = low * (high / low) ** (1 / (1 - below / PANEL_HEIGHT))
    y = y.scale(type="log", domain=[low, high], nice=False)
    base = alt.Chart({"values": rows})
    line: alt.Chart = base.mark_line(strokeWidth=1.5, point={"size": 30, "filled": True}).encode(
        x("batch"), y, network_colour(contenders)
    )
    spans: list[alt.Chart] = []
    labels: list[alt.Chart] = []
    for number, crossing in enumerate(found):
        text = f"{crossing.where}{'' if crossing.sure else '?'}"
        row = {"low": crossing.low, "batch": crossing.batch_size, "high": crossing.high, "text": text}
        mark = alt.Chart({"values": [row]})
        label = mark.mark_text(
            dy=6 + 14 * (number % 3), baseline="top", font=FONT
        )  # neighbours do not cover each other
        spans.append(mark.mark_rect(color=MARK_COLOUR, opacity=0.1).encode(x("low"), alt.X2("high:Q")))
        spans.append(
            mark.mark_rule(strokeDash=[4, 3], color=MARK_COLOUR).encode(
                x("batch"), y=alt.value(below), y2=alt.value(PANEL_HEIGHT)
            )
        )
        labels.append(label.encode(alt.Text("text:N"), x=alt.value(PANEL_WIDTH / 2), y=alt.value(0)))
    return alt.LayerChart(layer=[*spans, line, *labels], width=PANEL_WIDTH, height=PANEL_HEIGHT, title=curve.words)
