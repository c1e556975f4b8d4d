"""The paper's Figures 4 to 11, measured: how each contender learned, epoch by epoch, beside the notebook's curve.

A figure is an Altair chart, so that whatever draws Vega-Lite can draw it; :func:`svg` draws it without a browser.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from typing import Any

import altair as alt
import vl_convert

from dwray import paper
from dwray.report.figure_data import course_tables
from dwray.report.subjects import ACCURACY, Quantity, Subject, printed_name, subjects
from dwray.results.comparison import not_the_papers
from dwray.results.records import Records
from dwray.results.statistics import Estimate, mean_interval
from dwray.results.table import Table

Course = Mapping[int, float]
"""A value by epoch, from 1: one training's."""

WIDTH, HEIGHT = 420, 260
"""Of the axes, in pixels."""

MEASURED_COLOUR, NOTEBOOK_COLOUR, UNFINISHED_COLOUR = "#0072b2", "#d55e00", "#7f7f7f"
"""Blue and vermilion of Okabe and Ito's palette, which the colour-blind tell apart, and a grey."""

NOTEBOOK, UNFINISHED = "notebook", "training not completed"
"""Names in the legend."""

MOST_UNFINISHED = 8
"""So many trainings that were not completed are drawn and named: hundreds would hide everything else."""

FONT = "Arial, Helvetica, sans-serif"


@dataclass(frozen=True)
class Figure:
    """A chart, and what is said of it."""

    name: str
    """Of its file, without the ending."""
    number: int | None
    """The paper's, where it has this figure."""
    title: str
    caption: str
    alt_text: str
    """What it shows, for those who do not see it."""
    chart: alt.LayerChart | alt.ConcatChart
    data: Sequence[Table] = ()
    """What it draws, to be read."""

    @property
    def heading(self) -> str:
        """The title, with the paper's number before it."""
        return self.title if self.number is None else f"Figure {self.number}: {self.title}"

    @cached_property
    def drawn(self) -> str:
        """It as SVG: drawn once, for the file and for the page."""
        image = str(vl_convert.vegalite_to_svg(self.chart.to_dict()))
        # Vega calls its marks parts of a graphic and gives them no name: an image that has a text has no parts.
        image = re.sub(r' role="graphics-\w+" aria-roledescription="[^"]*"( aria-label="[^"]*")?', "", image)
        # Vega numbers them on from one drawing to the next; the same figure is to be the same file.
        numbers = {name: number for number, name in enumerate(dict.fromkeys(re.findall(r'\bid="([^"]*)"', image)))}
        own = re.sub(r'(\bid="|url\(#)([^")]*)', lambda found: f"{found[1]}{self.name}-{numbers[found[2]]}", image)
        return own.replace("<svg ", f'<svg role="img" aria-label="{escape(self.alt_text)}" ', 1)


def figures(records: Records) -> list[Figure]:
    """Training loss and validation accuracy of every contender that has trained: the paper's figures in its order.

    A contender whose trainings have no epoch yet has none.
    """
    made = [_figure(records, subject) for subject in subjects(records)]
    return [figure for figure in made if figure is not None]


def svg(figure: Figure) -> str:
    """A figure as SVG that can stand in a page beside others: it names itself, and its identifiers are its own."""
    return figure.drawn


def pdf(drawn: str) -> bytes:
    """An SVG of :func:`svg` as PDF, for LaTeX."""
    return bytes(vl_convert.svg_to_pdf(drawn))


def course(epochs: Iterable[Mapping[str, Any]], column: str) -> dict[int, float]:
    """A column by epoch; what is missing, NaN or infinite is left out.

    Args:
        epochs: Rows of epochs.parquet, or of the notebook's curve.
        column: The column.
    """
    return {
        int(row["epoch"]): float(row[column])
        for row in epochs
        if row[column] is not None and math.isfinite(row[column])
    }


def over_seeds(courses: Sequence[Course]) -> dict[int, Estimate]:
    """Mean of several trainings with Student's 95% interval, at each epoch that all of them have."""
    shared = sorted(set.intersection(*(set(each) for each in courses))) if courses else []
    return {epoch: mean_interval(each[epoch] for each in courses) for epoch in shared}


@dataclass(frozen=True)
class _Curves:
    """What one figure draws."""

    measured: Mapping[int, Estimate]
    """By epoch: of the completed trainings."""
    seeds: int
    """That many of them."""
    longest: int
    """The last epoch that any of them has."""
    unfinished: Mapping[str, Course]
    """The first of the other trainings, by their seed and what became of them."""
    left_out: int
    """So many more of those are not drawn."""
    notebook: Course

    @property
    def legend(self) -> dict[str, tuple[str, list[int]]]:
        """The lines that there are: their names, each with its colour and dashes."""
        return {
            name: look
            for shown, name, look in (
                (self.measured, self.measured_name, (MEASURED_COLOUR, [1, 0])),
                (self.notebook, NOTEBOOK, (NOTEBOOK_COLOUR, [5, 3])),
                (self.unfinished, UNFINISHED, (UNFINISHED_COLOUR, [1, 0])),
            )
            if shown
        }

    @property
    def has_band(self) -> bool:
        """At some epoch there is an interval."""
        return any(each.low is not None for each in self.measured.values())

    @property
    def band(self) -> dict[int, tuple[float, float]]:
        """Ends of the interval at each epoch; where equal values give none, the value itself: a hole says nothing."""
        return {
            epoch: (each.value, each.value) if each.low is None or each.high is None else (each.low, each.high)
            for epoch, each in self.measured.items()
        }

    @property
    def measured_means(self) -> Course:
        """The measured line."""
        return {epoch: each.value for epoch, each in self.measured.items()}

    @property
    def others(self) -> dict[str, Course]:
        """The lines beside the measured one."""
        return {NOTEBOOK: self.notebook, **self.unfinished}

    @property
    def measured_name(self) -> str:
        """How the measured line is called."""
        seeds = "one seed" if self.seeds == 1 else f"mean of {self.seeds} seeds"
        return f"measured, {seeds}" + (", 95% band" if self.has_band else "")

    @property
    def highest(self) -> float:
        """Of the lines; a training that was not completed may leave the axes, where others are there to be seen."""
        lines = [*self.measured_means.values(), *self.notebook.values()]
        return max(lines or [value for each in self.unfinished.values() for value in each.values()])


def _figure(records: Records, subject: Subject) -> Figure | None:
    contender, quantity = subject.contender, subject.quantity
    network = records.network(contender)
    trained = records.train_trials(contender)
    courses = {row["trial_id"]: course(records.epochs_of(row), quantity.column) for row in trained}
    seen = [row for row in trained if courses[row["trial_id"]]]
    done = [courses[row["trial_id"]] for row in seen if row["status"] == "completed"]
    unfinished = [row for row in seen if row["status"] != "completed"]
    curves = _Curves(
        measured=over_seeds(done),
        seeds=len(done),
        longest=max((epoch for each in done for epoch in each), default=0),
        unfinished={
            f"seed {row['seed']} ({row['status']})": courses[row["trial_id"]] for row in unfinished[:MOST_UNFINISHED]
        },
        left_out=len(unfinished[MOST_UNFINISHED:]),
        notebook=course(paper.curve(records.compare_with or "", network or ""), quantity.column),
    )
    if not curves.measured and not curves.unfinished:
        return None
    words, images = quantity.words, printed_name(records)
    return Figure(
        name=_file_name(f"{words.replace(' ', '_')}_{contender}"),
        number=subject.number,
        title=subject.title,
        caption=" ".join(_caption(records, curves, quantity)),
        alt_text=_alt_text(f"{words} of {contender} on {images}", quantity, curves),
        chart=_chart(quantity, curves),
        data=course_tables(quantity, curves.measured_name, curves.measured, curves.others),
    )


def _file_name(text: str) -> str:
    """A contender may be called anything; a file, an identifier and an address may not."""
    return re.sub(r"[^A-Za-z0-9._-]", lambda found: f"_{ord(found[0]):x}_", text)


def _caption(records: Records, curves: _Curves, quantity: Quantity) -> list[str]:
    """Sentences: what each line is, and what must be known to compare them."""
    said = []
    if curves.measured:
        said.append(f"Solid line: {curves.measured_name.removesuffix(', 95% band')}.")
        if len(curves.measured) < curves.longest:
            said.append(f"It has the epochs that all of them have: {len(curves.measured)} of {curves.longest}.")
    if curves.has_band:
        said.append("Band: Student's 95% interval of the mean over the seeds, epoch by epoch, cut off at the axes.")
        if any(each.low is None for each in curves.measured.values()):
            said.append("Where it is a point, all seeds gave the same value, whose spread gives no interval.")
    elif curves.seeds == 1:
        said.append("One seed gives no band.")
    if curves.notebook:
        said.append("Dashed line: the paper's notebook, one training.")
        if quantity is ACCURACY:
            here = "as does this run" if records.protocol.tune_on_test_set else "this run on held-out training images"
            said.append(f"The notebook validates on the test set, {here}.")
        said += not_the_papers(records)
    if curves.unfinished:
        ends = ", ".join(f"{name} after epoch {max(each)}" for name, each in curves.unfinished.items())
        more = f"; {curves.left_out:,} more are not drawn" if curves.left_out else ""
        said.append(f"Grey, and not in the mean: {ends}{more}.")
    if records.synthetic:
        said.append("SYNTHETIC images (random numbers): this means nothing.")
    return said


def _alt_text(subject: str, quantity: Quantity, curves: _Curves) -> str:
    lines = {curves.measured_name: curves.measured_means, **curves.others}
    ends = [
        f"{name}: from {values[min(values)]:.4g} {quantity.unit} (epoch {min(values)}) "
        f"to {values[max(values)]:.4g} {quantity.unit} (epoch {max(values)})"
        for name, values in lines.items()
        if values
    ]
    return f"Line chart of the {subject} by epoch. {'; '.join(ends)}."


def _chart(quantity: Quantity, curves: _Curves) -> alt.LayerChart:
    legend = curves.legend
    top = quantity.highest or 1.05 * curves.highest or 1.0
    # An axis that is told its ends keeps them when the reader hides what lies on it.
    drawn = [epoch for line in (curves.measured, *curves.others.values()) for epoch in line]
    x = alt.X("epoch:Q").title("epoch").axis(tickMinStep=1, format="d")
    x = x.scale(domain=[min(drawn), max(drawn)], nice=False)
    color = (
        alt.Color("line:N")
        .scale(domain=list(legend), range=[colour for colour, _ in legend.values()])
        .legend(title=None, orient="top", direction="vertical", symbolType="stroke", labelLimit=0)
    )
    dash = alt.StrokeDash("line:N").scale(domain=list(legend), range=[dashes for _, dashes in legend.values()])

    def y(column: str) -> alt.Y:
        return alt.Y(f"{column}:Q").title(f"{quantity.words} ({quantity.unit})").scale(domain=[0, top], nice=False)

    def line(name: str, values: Course, training: str = "", **mark: Any) -> alt.Chart:
        if len(values) == 1:  # which is no line
            mark["point"] = {"size": 8}
        rows = [{"line": name, "training": training, "epoch": epoch, "value": value} for epoch, value in values.items()]
        chart: alt.Chart = alt.Chart({"values": rows}).mark_line(clip=True, **mark)
        return chart.encode(x, y("value"), color, dash)

    layers: list[alt.Chart] = []
    if curves.has_band:
        band = [
            {"line": curves.measured_name, "epoch": epoch, "low": low, "high": high}
            for epoch, (low, high) in curves.band.items()
        ]
        area: alt.Chart = alt.Chart({"values": band}).mark_area(clip=True, opacity=0.2, color=MEASURED_COLOUR)
        layers.append(area.encode(x, y("low"), alt.Y2("high:Q")))
    for training, values in curves.unfinished.items():
        layers.append(line(UNFINISHED, values, training, strokeWidth=1))
    if curves.notebook:
        layers.append(line(NOTEBOOK, curves.notebook, strokeWidth=1.5))
    if curves.measured:
        layers.append(line(curves.measured_name, curves.measured_means, strokeWidth=2))
    chart = alt.LayerChart(layer=layers, width=WIDTH, height=HEIGHT)
    # White behind it, not transparent: as readable in a dark page, and in print.
    configured: alt.LayerChart = chart.configure(font=FONT, background="white", aria=False, padding=8)
    return configured
