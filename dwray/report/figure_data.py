"""What a figure draws, as tables: for those who do not see it, and for those who want its numbers."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from dwray.report.subjects import Quantity
from dwray.results.crossings import Curve
from dwray.results.epoch_split import EpochSplit
from dwray.results.statistics import Estimate
from dwray.results.table import Column, Row, Table

_DIGITS = ".4g"
"""Of numbers whose size is not known beforehand."""


def course_tables(
    quantity: Quantity, name: str, measured: Mapping[int, Estimate], others: Mapping[str, Mapping[int, float]]
) -> list[Table]:
    """A quantity by epoch: the measured mean with the ends of its band, cut where it cannot lie, and each other line.

    Args:
        quantity: What was measured.
        name: Of the measured line.
        measured: By epoch; empty: there is no such line.
        others: The other lines by their names.
    """
    most = math.inf if quantity.highest is None else quantity.highest
    lines: dict[str, list[Row]] = {name: []}
    for epoch, each in measured.items():
        low, high = each.within(0, most)
        lines[name].append({"epoch": epoch, "value": each.value, "low": low, "high": high})
    for other, course in others.items():
        lines[other] = [{"epoch": epoch, "value": value} for epoch, value in course.items()]
    form = ".2f" if quantity.unit == "%" else _DIGITS
    columns = (
        Column("epoch", "epoch", pa.int64()),
        Column("value", f"{quantity.words} ({quantity.unit})", pa.float64(), form),
        Column("low", f"95% low ({quantity.unit})", pa.float64(), form, wide=True),
        Column("high", f"95% high ({quantity.unit})", pa.float64(), form, wide=True),
    )
    return [
        Table("course", f"{quantity.words.capitalize()} by epoch: {line}", columns, tuple(rows))
        for line, rows in lines.items()
        if rows
    ]


def epoch_table(splits: Iterable[EpochSplit]) -> Table:
    """Seconds of an epoch in its parts."""
    parts = ("data", "step", "validation", "total")
    return Table(
        "epoch",
        "Seconds of an epoch, by its parts",
        (
            Column("network", "network", pa.string()),
            *(Column(part, f"{part} (s)", pa.float64(), _DIGITS) for part in parts),
        ),
        tuple({"network": split.contender, **{part: getattr(split, part) for part in parts}} for split in splits),
    )


def pass_table(curve: Curve, contenders: Sequence[str]) -> Table:
    """Seconds of one kind of timed pass: a row for each batch size, a column for each network."""
    means = {name: found for name in contenders if (found := curve.means(name))}
    return Table(
        "passes",
        f"Seconds of a pass: {curve.words}",
        (
            Column("batch size", "batch size", pa.int64(), ",d"),
            *(Column(f"{name} (s)", f"{name} (s)", pa.float64(), _DIGITS) for name in means),
        ),
        tuple(
            {"batch size": size, **{f"{name} (s)": found.get(size) for name, found in means.items()}}
            for size in sorted(curve.sizes)
        ),
    )


def axis_table(title: str, axis: str, words: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    """Scores over the values of one axis of a search.

    Args:
        title: Of the axis' panel.
        axis: The axis.
        words: The score's name with its unit.
        rows: With ``network``, ``value``, ``score`` (None: it gave none) and ``outcome``.
    """
    return Table(
        "axis",
        f"{words.capitalize()} by {title}",
        (
            Column("network", "network", pa.string(), group=True),
            Column("value", axis, pa.string()),
            Column("score", words, pa.float64(), ".2f" if "%" in words else _DIGITS),
            Column("outcome", "outcome", pa.string()),
        ),
        tuple(sorted(rows, key=lambda row: str(row["network"]))),
    )


def runs_table(words: str, form: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    """A quantity of several runs: a row for each run and network, and for each batch size where it has them.

    Args:
        words: The quantity with its unit.
        form: Of its numbers.
        rows: With ``run``, ``network``, ``value``, ``low`` and ``high`` (None: no interval), perhaps ``batch``.
    """
    sized = any("batch" in row for row in rows)
    return Table(
        "runs",
        words.capitalize(),
        (
            Column("run", "run", pa.string(), group=True),
            Column("network", "network", pa.string()),
            *([Column("batch", "batch size", pa.int64(), ",d")] if sized else []),
            Column("value", words, pa.float64(), form),
            Column("low", "95% low", pa.float64(), form),
            Column("high", "95% high", pa.float64(), form),
        ),
        tuple(sorted(rows, key=lambda row: str(row["run"]))),
    )


def roofline_tables(points: Sequence[Row], roofs: Sequence[Sequence[Row]]) -> list[Table]:
    """The networks under the roof, and the corners of each roof.

    Args:
        points: With ``network``, ``intensity`` (FLOP/byte) and ``flops`` (reached, FLOP/s).
        roofs: Of each roof the corners, with ``intensity`` and ``flops`` (attainable, FLOP/s).
    """
    intensity = Column("intensity", "arithmetic intensity (FLOP/byte)", pa.float64(), _DIGITS)
    reached = (
        Column("network", "network", pa.string()),
        intensity,
        Column("flops", "reached (FLOP/s)", pa.float64(), _DIGITS),
    )
    attainable = (intensity, Column("flops", "attainable (FLOP/s)", pa.float64(), _DIGITS))
    return [
        Table("points", "FLOP/s that training reached", reached, tuple(points)),
        *(
            Table(
                "roof",
                "The roof" if len(roofs) == 1 else f"Roof {number} of {len(roofs)}",
                attainable,
                tuple(corners),
            )
            for number, corners in enumerate(roofs, start=1)
        ),
    ]
