"""Table 4, the test time (section 4.3): every kind of timed pass, and how much longer the slower network takes."""

import statistics
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from dwray import paper
from dwray.results.comparison import Footnotes, not_the_papers
from dwray.results.one_device import devices, mixed_devices
from dwray.results.records import Records
from dwray.results.table import Column, Row, Table

_REAL = pa.float64()

DISTURBED = "*"
"""Marks a row whose passes were not alone on their device."""

_COLUMNS = (
    Column("batch_size", "batch", pa.int64(), group=True, section=True),
    Column("set", "set", pa.string(), group=True, section=True),
    Column("loader", "loader", pa.string(), group=True),
    Column("contender", "network", pa.string(), marked=True),
    Column("images", "images", pa.int64(), ",", shown=False),
    Column("passes", "passes", pa.int64(), wide=True),
    Column("paper", "paper", _REAL, ".2f"),
    Column("notebook", "notebook", _REAL, ".2f"),
    Column("measured", "mean s", _REAL, ".4f"),
    Column("difference", "difference", _REAL, "+.3f"),
    Column("seconds_median", "median s", _REAL, ".4f", wide=True),
    Column("seconds_iqr", "IQR s", _REAL, ".4f", wide=True),
    Column("images_per_second", "images/s", _REAL, ",.0f", wide=True),
    Column("longer_percent", "longer %", _REAL, ".1f"),
    Column("paper_longer_percent", "paper: longer %", _REAL, ".1f", wide=True),
    Column("exclusive", "alone", pa.bool_(), wide=True),
)


def test_time(records: Records) -> Table:
    """Every kind of timed pass over every contender; the paper's seconds beside the passes with the loader inside."""
    footnotes = Footnotes()
    rows = []
    for batch_size, images, loader in _kinds(records):
        passes = records.passes(images, batch_size, loader)
        means = {name: statistics.fmean(row["seconds"] for row in timed) for name, timed in passes.items()}
        for contender in records.contenders:
            row: dict[str, Any] = {
                "batch_size": batch_size,
                "set": images,
                "loader": "inside" if loader else "none",
                "contender": contender,
            }
            if records.compare_with and loader:
                network = records.network(contender) or ""
                stated = paper.test_seconds(network, images, batch_size)
                longer = paper.longer_percent(images, batch_size)
                row["marks"] = footnotes.marks(stated.footnotes)
                row.update(paper=stated.paper, notebook=stated.notebook)
                row["paper_longer_percent"] = longer.percent.paper if network == longer.network else None
            if contender in passes:
                row.update(_measured(passes[contender], min(means.values()) if len(means) > 1 else None))
                if row["exclusive"] is False:
                    row["marks"] = f"{row.get('marks', '')} {DISTURBED}".strip()
                if row.get("paper") is not None:
                    row["difference"] = row["measured"] - row["paper"]
            rows.append(row)
    notes = [
        f"Seconds of a pass ({_sizes(rows)}). loader: inside, the making of the batches is part of the pass, as in the "
        "paper; none, the network alone. longer: how much more time than the fastest takes, in percent of its mean. "
        "difference: mean less the paper's. A dash was not stated, or not measured in this run.",
        f"Device: {devices(records.of_stage('time'))}.",
        *_exclusivity(records),
        *mixed_devices(records),
        *(not_the_papers(records) if rows else ()),
        *footnotes.texts,
    ]
    return Table("test_time", "Table 4. Test time", _COLUMNS, tuple(rows), tuple(notes))


def _kinds(records: Records) -> list[tuple[int, str, bool]]:
    """What was timed, and what the paper timed: (batch size, set, loader), large batches first, test before train."""
    kinds = {(row["batch_size"], row["set"], row["loader"]) for row in records.timings}
    if records.compare_with:
        kinds |= {(size, images, True) for size in (256, 4) for images in ("test", "train")}
    return sorted(kinds, key=lambda kind: (-kind[0], kind[1], not kind[2]))


def _measured(timed: Sequence[Row], fastest: float | None) -> Row:
    seconds = [row["seconds"] for row in timed]
    mean = statistics.fmean(seconds)
    lower, median, upper = (float(each) for each in np.percentile(seconds, (25, 50, 75)))
    return {
        "images": timed[0]["images"],
        "passes": len(timed),
        "measured": mean,
        "seconds_median": median,
        "seconds_iqr": upper - lower,
        "images_per_second": timed[0]["images"] / median,
        "longer_percent": None if fastest is None else 100 * (mean / fastest - 1),
        "exclusive": all_alone(timed),
    }


def all_alone(timed: Iterable[Row]) -> bool | None:
    """Whether nothing else used the device during passes; None where that is not known of one."""
    alone = [row["exclusive"] for row in timed]
    return None if None in alone else all(alone)


def _exclusivity(records: Records) -> tuple[str, ...]:
    """Which timings had something beside them on their device."""
    disturbed = {row["trial_id"]: row["disturbance"] for row in records.disturbed_timings}
    unknown = {row["trial_id"]: row["disturbance"] for row in records.timings if row["exclusive"] is None}
    notes = []
    if disturbed:
        reasons = "; ".join(dict.fromkeys(filter(None, disturbed.values())))
        notes.append(f"NOT ALONE on the device (marked {DISTURBED}): {len(disturbed)} of the timings ({reasons}).")
    if unknown:
        reasons = "; ".join(dict.fromkeys(filter(None, unknown.values())))
        notes.append(
            f"Whether they were alone on the device is not known of {len(unknown)} of the timings ({reasons})."
        )
    shared = {row["trial_id"] for row in records.timings if row["owned_node"] is False}
    if shared:
        notes.append(f"{len(shared)} of the timings held a part of their node only: Ray may have run others there.")
    return tuple(notes)


def _sizes(rows: Iterable[Row]) -> str:
    """How many images and passes, in words."""
    sizes = dict.fromkeys((row["set"], row["images"], row["passes"]) for row in rows if "images" in row)
    return "; ".join(f"{name} set: {images:,} images, {passes} passes" for name, images, passes in sizes)
