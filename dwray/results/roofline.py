"""How far training is from what the device can do, and whether that decides which network trains faster."""

import statistics
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import pyarrow as pa

from dwray.results.curves import train_seconds
from dwray.results.one_device import training_time_ratio
from dwray.results.records import Records
from dwray.results.statistics import mean, ratio_interval, three_digits
from dwray.results.table import Column, Row, Table

_REAL = pa.float64()

_COLUMNS = (
    Column("contender", "network", pa.string()),
    Column("precision", "precision", pa.string()),
    Column("matrix_flops_per_second", "FLOP/s", _REAL, ".2e"),
    Column("copy_bytes_per_second", "bytes/s", _REAL, ".2e"),
    Column("ridge", "ridge", _REAL, ".0f", wide=True),
    Column("bound", "bound by", pa.string(), wide=True),
    Column("floor_seconds", "floor s", _REAL, ".4f"),
    Column("measured", "measured s", _REAL, ".4f"),
    Column("percent_of_floor", "reached %", _REAL, ".1f"),
    Column("seeds", "seeds", pa.int64(), wide=True),
)


_RIDGE = "ridge: FLOP/s over bytes/s. bound by: which of the two takes longer."


def roofline(records: Records) -> Table:
    """Seconds of an epoch's training pass beside the floor of its device, and the ratio that the floors predict."""
    rows: list[Row] = []
    for contender in records.contenders:
        trainings = [row for row in records.trainings(contender) if row["step_flops"] and row["copy_bytes_per_second"]]
        if trainings:
            rows.append({"contender": contender, "seeds": len(trainings), **_held(records, trainings)})
    notes = [
        "Seconds of an epoch's training pass. floor: all arithmetic at the rate of a large matrix product (FLOP/s) or "
        "all traffic at that of a large copy (bytes/s), whichever takes longer; both were measured by the workers that "
        "trained, before they began. reached: floor over measured.",
        _RIDGE,
    ]
    notes += _prediction(records, {row["contender"]: row for row in rows})
    return Table(
        "roofline",
        "Training time and the device's limits",
        _COLUMNS,
        tuple(rows),
        tuple(notes) if rows else (),
        frozenset({_RIDGE}),
    )


def _held(records: Records, trainings: Sequence[Mapping[str, Any]]) -> Row:
    """Medians over a contender's trainings."""
    middle = {
        name: statistics.median(row[name] for row in trainings)
        for name in ("step_flops", "step_bytes", "matrix_flops_per_second", "copy_bytes_per_second")
    }
    steps = statistics.median(row["train_images"] / row["batch_size"] for row in trainings)
    arithmetic = steps * middle["step_flops"] / middle["matrix_flops_per_second"]
    traffic = steps * middle["step_bytes"] / middle["copy_bytes_per_second"]
    measured = mean(train_seconds(records, row) for row in trainings)
    floor = max(arithmetic, traffic)
    return {
        **middle,
        "precision": "; ".join(dict.fromkeys(row["precision"] for row in trainings)),
        "ridge": middle["matrix_flops_per_second"] / middle["copy_bytes_per_second"],
        "bound": "arithmetic" if arithmetic > traffic else "memory",
        "floor_seconds": floor,
        "measured": measured,
        "percent_of_floor": None if measured is None else 100 * floor / measured,
    }


def _prediction(records: Records, held: Mapping[str, Row]) -> list[str]:
    """Whether the depthwise network trains faster, as the limits have it and as it was measured."""
    ordinary, depthwise = records.contender_of("ConvNet"), records.contender_of("DepthwiseConvNet")
    if ordinary not in held or depthwise not in held or ordinary is None or depthwise is None:
        return []
    predicted = held[depthwise]["floor_seconds"] / held[ordinary]["floor_seconds"]
    turns = held[ordinary]["step_flops"] / held[depthwise]["step_bytes"]
    a, b = (records.by_seed(contender, partial(train_seconds, records)) for contender in (depthwise, ordinary))
    ratio = training_time_ratio(records, a, b)
    measured = "not measured" if ratio is None else three_digits(ratio.value)
    if ratio is not None and (interval := ratio_interval(ratio, "seed", "seeds")):
        measured += f" ({interval})"
    return [
        f"Seconds of {depthwise} over those of {ordinary}: {three_digits(predicted)} by the limits, {measured} as "
        f"trained. By the limits {depthwise} trains faster on a device whose FLOP/s are less than {turns:.0f} times "
        "its bytes/s, and no longer above."
    ]
