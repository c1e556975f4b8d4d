"""What `dwray bench` measured, as tables."""

from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from dwray.core.bench import NOTEBOOK, NOTEBOOK_TF32, Bench, Kind, Result
from dwray.results.table import ROW_FORM, Column, Table

CEILING_COLUMNS = (
    Column("precision", "precision", pa.string()),
    Column("matrix_gigaflops_per_second", "matrix product, GFLOP/s", pa.float64(), ",.0f"),
    Column("copy_gigabytes_per_second", "copy, GB/s", pa.float64(), ",.1f"),
    Column("ridge_flops_per_byte", "ridge, FLOP/byte", pa.float64(), ",.1f"),
)
RATE_COLUMNS = (
    Column("network", "network", pa.string(), section=True),
    Column("batch_size", "batch size", pa.int64(), section=True),
    Column("way", "way", pa.string(), shown=False),
    Column("label", "way", pa.string()),
    Column("images_per_second", "images/s", pa.float64(), ROW_FORM),
    Column("lowest_images_per_second", "lowest", pa.float64(), shown=False),
    Column("highest_images_per_second", "highest", pa.float64(), shown=False),
    Column("spread", "low-high", pa.string()),
    Column("ratio", "ratio", pa.float64(), ".2f"),
    Column("roofline_percent", "roof %", pa.float64(), ".1f"),
    Column("first_seconds", "first s", pa.float64(), ".1f"),
)
DATA_COLUMNS = tuple(
    column for column in RATE_COLUMNS if column.name not in ("network", "roofline_percent", "first_seconds")
)
ROOFLINE_COLUMNS = (
    Column("batch_size", "batch size", pa.int64(), group=True),
    Column("way", "way", pa.string()),
    Column("roofline", "by the roofline", pa.float64(), ".2f"),
    Column("measured", "measured", pa.float64(), ".2f"),
)
BASELINE_NOTE = (
    f"ratio: images/s over those of {NOTEBOOK}, which is eager, float32, NCHW, with the C library's allocator as it is "
    "(median over the rounds)"
)
TF32_NOTE = f"{NOTEBOOK_TF32}: the same with convolutions in TF32, as torch does by default on this GPU"
NOTEBOOK_NOTE = (
    "the notebooks' loop makes its images one by one in two worker processes, whose start is part of each epoch"
)
ROOF_NOTE = (
    "roof %: share of the rate that the ceilings allow by the roofline; above 100 where caches save traffic with memory"
)
FIRST_NOTE = "first s: what came before the first measurement: preparing, compiling (torch keeps that on disk), warm-up"


def tables(bench: Bench) -> list[Table]:
    """The ceilings; training, inference and data path against the notebooks'; the roofline's prediction."""
    found = [ceiling_table(bench)]
    if bench.plan.executions:
        found += [training_table(bench), data_table(bench)]
    if bench.plan.modes:
        found.append(inference_table(bench))
    if bench.plan.executions and len(bench.plan.networks) == 2:
        found.append(roofline_table(bench))
    return found


def headline(bench: Bench) -> str:
    """What was measured, on what, in one line."""
    plan = bench.plan
    threads = f", {bench.threads} thread{'s' if bench.threads > 1 else ''}" if plan.device.type == "cpu" else ""
    kept = "keeps freed memory" if bench.keeps_freed_memory else "could not be told to keep freed memory"
    return (
        f"{plan.device}: {bench.device_name}{threads}, torch {bench.environment['torch']}; "
        f"random {plan.size}x{plan.size} images, width {plan.width:g}, {plan.classes} classes; "
        f"medians of {plan.repeats} rounds; outside the baselines the allocator {kept}"
    )


def ceiling_table(bench: Bench) -> Table:
    """The device's ceilings, and where they meet."""
    ceilings = bench.ceilings
    rows = tuple(
        {
            "precision": precision,
            "matrix_gigaflops_per_second": rate / 1e9,
            "copy_gigabytes_per_second": ceilings.copy_bytes_per_second / 1e9,
            "ridge_flops_per_byte": ceilings.ridge(precision),
        }
        for precision, rate in ceilings.matrix_flops_per_second.items()
    )
    return Table("ceilings", "What the device can do at most", CEILING_COLUMNS, rows)


def training_table(bench: Bench) -> Table:
    """A training epoch: the notebooks' loop, and dwray's in each of its ways."""
    notes = [BASELINE_NOTE, NOTEBOOK_NOTE, ROOF_NOTE, FIRST_NOTE]
    return _rate_table(bench, "training", "Training", RATE_COLUMNS, notes)


def inference_table(bench: Bench) -> Table:
    """Forward passes of the network alone, in each mode."""
    return _rate_table(bench, "inference", "Inference", RATE_COLUMNS, [BASELINE_NOTE, ROOF_NOTE, FIRST_NOTE])


def data_table(bench: Bench) -> Table:
    """Making the batches, and nothing else."""
    notes = ["ratio: images/s over those of the notebooks' loader doing the same"]
    return _rate_table(bench, "data", "Data path", DATA_COLUMNS, notes)


def roofline_table(bench: Bench) -> Table:
    """How much longer the second network trains than the first: predicted and measured."""
    first, second = bench.plan.networks
    rows = tuple(
        {"batch_size": cell.batch_size, "way": cell.way, "roofline": predicted, "measured": measured}
        for cell, predicted, measured in bench.training_time_ratios()
    )
    return Table("training_time_ratio", f"Training time, {second} / {first}", ROOFLINE_COLUMNS, rows)


def disturbed(bench: Bench) -> str | None:
    """One line if the device was shared; None if there is nothing to say against it."""
    seen = bench.witnessed
    return f"the timings were not exclusive: {seen.disturbance}" if seen.exclusive is False else None


def _rate_table(bench: Bench, kind: Kind, title: str, columns: tuple[Column, ...], notes: Iterable[str]) -> Table:
    results = [result for result in bench.results if result.cell.kind == kind]
    if any(result.cell.way == NOTEBOOK_TF32 for result in results):
        notes = (*notes, TF32_NOTE)
    if bench.witnessed.exclusive is None:
        notes = (*notes, f"perhaps not exclusive: {bench.witnessed.disturbance}")
    return Table(kind, title, columns, tuple(_rate_row(bench, result) for result in results), tuple(notes))


def _rate_row(bench: Bench, result: Result) -> dict[str, Any]:
    cell = result.cell
    row: dict[str, Any] = {"network": cell.network, "batch_size": cell.batch_size, "way": cell.way, "label": cell.way}
    if result.images_per_second is None:
        return row | {"label": f"{cell.way}: not measured: {result.failure}"}
    lowest, median, highest = result.images_per_second
    form = ",.0f" if median >= 100 else ",.1f" if median >= 10 else ".2f"
    fraction = bench.roofline_fraction(result)
    return row | {
        "form": form,
        "images_per_second": median,
        "lowest_images_per_second": lowest,
        "highest_images_per_second": highest,
        "spread": f"{lowest:{form}}-{highest:{form}}",
        "ratio": bench.ratio(result),
        "roofline_percent": None if fraction is None else 100 * fraction,
        "first_seconds": result.first_seconds,
    }
