"""What `dwray time` measured, as tables and as JSON."""

import dataclasses
import math
import statistics
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from dwray.core.crossover import MIN_ROUNDS, Comparison, Crossover
from dwray.core.testtime import BatchTime, Measured, ModeCrossover
from dwray.core.witness import Witnessed
from dwray.results.table import Column, Table

TIME_COLUMNS = (
    Column("batch_size", "batch", pa.int64(), group=True),
    Column("network", "network", pa.string()),
    Column("median_seconds", "median s", pa.float64(), ".4f"),
    Column("iqr_seconds", "IQR s", pa.float64(), ".4f"),
    Column("images_per_second", "images/s", pa.float64(), ",.0f"),
    Column("longer_percent", "longer by %", pa.float64(), ".1f"),
)
CROSSOVER_COLUMNS = (
    Column("mode", "mode", pa.string(), group=True),
    Column("crossover", "batch size at which the faster network changes", pa.string()),
)
INTERVAL_NOTE = (
    f"interval: of the ratio, 99.9% at the last look; a comparison looks after each round from the {MIN_ROUNDS}th on "
    "and ends once it is sure (equal networks are called different in under 1% of comparisons, simulated)"
)


def tables(measured: Measured) -> list[Table]:
    """Test time of each mode, where the winner changes, and the curves that this was read from."""
    modes = list(dict.fromkeys(time.mode for time in measured.times))
    found = [time_table(measured, mode) for mode in modes]
    if measured.crossovers:
        found.append(crossover_table(measured))
        found += [curve_table(each) for each in measured.crossovers]
    elif measured.unavailable:
        found[-1] = dataclasses.replace(found[-1], notes=(*found[-1].notes, *_reasons(measured)))
    return found


def headline(measured: Measured) -> str:
    """What was measured, on what, in one line."""
    threads = f", {measured.threads} thread{'s' if measured.threads > 1 else ''}" if measured.device == "cpu" else ""
    return (
        f"{measured.device}: {measured.device_name}{threads}, torch {measured.torch}; "
        f"random {measured.size}x{measured.size} images, the network alone"
    )


def time_table(measured: Measured, mode: str) -> Table:
    """The timed passes of one mode: a row for each batch size and network."""
    times = [time for time in measured.times if time.mode == mode]
    rows = [row for time in times for row in _time_rows(time, measured.images)]
    passes = f"{measured.passes} pass{'es' if measured.passes > 1 else ''} over {measured.images:,} images"
    notes = dict.fromkeys(note for time in times if (note := _doubt(f"batch size {time.batch_size}", time.witnessed)))
    return Table(f"time_{mode}", f"Test time, {mode}, {passes}", TIME_COLUMNS, tuple(rows), tuple(notes))


def _time_rows(time: BatchTime, images: int) -> Iterator[dict[str, Any]]:
    medians = {name: statistics.median(seconds) for name, seconds in time.seconds.items()}
    fastest = min(medians.values())
    for name, seconds in time.seconds.items():
        quartiles = statistics.quantiles(seconds, n=4, method="inclusive") if len(seconds) > 1 else None
        yield {
            "batch_size": time.batch_size,
            "network": name,
            "median_seconds": medians[name],
            "iqr_seconds": quartiles[2] - quartiles[0] if quartiles else None,
            "images_per_second": images / medians[name],
            "longer_percent": 100 * (medians[name] / fastest - 1) if medians[name] > fastest else None,
        }


def crossover_table(measured: Measured) -> Table:
    """Where the faster network changes, mode by mode."""
    rows = [{"mode": each.mode, "crossover": text} for each in measured.crossovers for text in verdicts(each.crossover)]
    rows += [{"mode": mode, "crossover": "not available"} for mode in measured.unavailable]
    doubts = (_doubt(each.mode, each.witnessed) for each in measured.crossovers)
    notes = (*_reasons(measured), *(doubt for doubt in doubts if doubt))
    return Table("crossover", "Crossover", CROSSOVER_COLUMNS, tuple(rows), notes)


def verdicts(crossover: Crossover) -> list[str]:
    """What a search found, a line for each crossing."""
    if crossover.crossings:
        return [
            f"between {each.low} and {each.high}: {each.faster_below} below, {each.faster_above} above"
            for each in crossover.crossings
        ]
    span = "at batch size 1" if crossover.largest == 1 else f"between 1 and {crossover.largest}"
    if crossover.always_faster:
        return [f"none {span}: {crossover.always_faster} is always faster"]
    surely = {crossover.faster(each) for each in crossover.curve if each.sure}
    return [f"none {span}: {surely.pop()} is faster or tied" if surely else f"none {span}: tied everywhere"]


def curve_table(found: ModeCrossover) -> Table:
    """Every comparison of a search, by batch size."""
    crossover = found.crossover
    first, second = crossover.networks
    columns = (
        Column("batch_size", "batch", pa.int64()),
        Column("first_milliseconds", f"{first}, ms", pa.float64(), ".4f"),
        Column("second_milliseconds", f"{second}, ms", pa.float64(), ".4f"),
        Column("ratio", "ratio", pa.float64(), ".3f"),
        Column("interval", "interval", pa.string()),
        Column("rounds", "rounds", pa.int64(), shown=False),
        Column("faster", "faster", pa.string()),
    )
    rows = tuple(_curve_row(crossover, comparison) for comparison in crossover.curve)
    return Table(f"curve_{found.mode}", f"Time per image, {found.mode}", columns, rows, (INTERVAL_NOTE,))


def _curve_row(crossover: Crossover, comparison: Comparison) -> dict[str, Any]:
    return {
        "batch_size": comparison.batch_size,
        "first_milliseconds": 1000 * comparison.seconds[0],
        "second_milliseconds": 1000 * comparison.seconds[1],
        "ratio": math.exp(comparison.log_ratio),
        "interval": f"{math.exp(comparison.low):.3f}-{math.exp(comparison.high):.3f}",
        "rounds": comparison.rounds,
        "faster": crossover.faster(comparison) or "tied",
    }


def disturbed(measured: Measured) -> str | None:
    """One line if any timing did not have its device to itself; None if there is nothing to say against any."""
    seen = measured.witnessed
    bad = [each for each in seen if each.exclusive is False]
    return f"{len(bad)} of {len(seen)} timings were not exclusive; first: {bad[0].disturbance}" if bad else None


def to_json(measured: Measured) -> dict[str, Any]:
    """Everything that was measured, with the witness's records, as plain values."""
    plain = dataclasses.asdict(measured)
    for each, found in zip(plain["crossovers"], measured.crossovers, strict=True):
        each["crossover"] |= {"always_faster": found.crossover.always_faster, "tied": list(found.crossover.tied)}
    exclusive = [each.exclusive for each in measured.witnessed]
    return plain | {"exclusive": False if False in exclusive else None if None in exclusive else True}


def _doubt(what: str, witnessed: Witnessed) -> str | None:
    if witnessed.exclusive:
        return None
    doubt = "not exclusive" if witnessed.exclusive is False else "perhaps not exclusive"
    return f"{what}: {doubt}: {witnessed.disturbance}"


def _reasons(measured: Measured) -> tuple[str, ...]:
    return tuple(f"{mode} is not available: {reason}" for mode, reason in measured.unavailable.items())
