"""``dwray plan``: what a sweep would run, how long it would take here, and what it would cost."""

import math
from typing import TYPE_CHECKING, Any

import click

from dwray.cli.options import EPILOG, JSON, SWEEP, print_json

if TYPE_CHECKING:
    from dwray.cli.calibrate import Planned
    from dwray.search.plan import StagePlan
    from dwray.spec import SweepSpec


@click.command(epilog=EPILOG)
@SWEEP
@click.option(
    "--calibrate/--no-calibrate",
    default=None,
    help="Train and time a few steps here, however long that takes; or count trials and epochs alone. By default a "
    "minute is tried.",
)
@click.option("--slots", type=click.IntRange(min=1), help="Trials side by side; by default as many as fit here.")
@click.option("--gpus", type=click.IntRange(min=1), help="GPUs like this machine's; by default those it has.")
@JSON
def plan(
    sweep: str,
    overrides: tuple[str, ...],
    seed: int | None,
    calibrate: bool | None,
    slots: int | None,
    gpus: int | None,
    as_json: bool,
) -> None:
    """Estimate trials, epochs, time, GPU-hours and money of a sweep, from a few steps on this very device.

    Nothing is downloaded: without the images, random ones of their shape are trained on. Money is told if the sweep
    file says what a GPU costs (resources.price_per_gpu_hour).
    """
    if calibrate is False and (slots or gpus):
        raise click.UsageError("--slots and --gpus are of a plan with times: give them without --no-calibrate")
    spec = resolve_sweep(sweep, overrides, seed)
    if calibrate is False:
        print_plan(spec, as_json)
        return
    from dwray.cli.calibrate import planned
    from dwray.core.calibration import PATIENCE_SECONDS, SlowDeviceError

    try:
        found = planned(spec, slots, gpus, PATIENCE_SECONDS if calibrate is None else math.inf)
    except SlowDeviceError as error:
        print_plan(spec, as_json)
        click.echo(f"No times: {error}. With --calibrate it may take as long as it needs.", err=True)
        return
    if as_json:
        print_json(to_json(spec, found))
    else:
        print_planned(spec, found)


def print_plan(spec: "SweepSpec", as_json: bool) -> None:
    """The counts of a sweep, for a person or as JSON."""
    import dataclasses

    from dwray.search.plan import plan as make_plan

    stages = make_plan(spec)
    if as_json:
        print_json({"sweep": spec.name, "stages": [dataclasses.asdict(stage) for stage in stages]})
        return
    click.echo(_headline(spec))
    for stage in stages:
        click.echo(f"  {stage.stage:<7} {_stage_text(stage)}")


def _headline(spec: "SweepSpec") -> str:
    return f"{spec.name}: {', '.join(spec.networks)} on {spec.data.source}"


def _stage_text(stage: "StagePlan") -> str:
    if stage.trials is None:
        return "passes over the axes until one improves nothing: no limit on the trials"
    most = "at most " if stage.stage == "search" else ""
    if stage.passes is not None:
        return f"{stage.trials} trials, {stage.passes} timed passes"
    return f"{most}{stage.trials} trials, {most}{stage.epochs} epochs"


def to_json(spec: "SweepSpec", found: "Planned") -> dict[str, Any]:
    """The plan as plain values, with units in their names; what has no upper end has None there."""
    import dataclasses

    rows = [
        {
            "stage": stage.stage,
            "trials_low": stage.fewest_trials,
            "trials_high": stage.most_trials,
            "epochs_low": stage.fewest_epochs,
            "epochs_high": stage.most_epochs,
            **found.amounts(stage.wall_seconds),
        }
        for stage in found.stages
    ]
    return {
        "sweep": spec.name,
        "stages": rows,
        "total": found.amounts(found.wall_seconds),
        "trials_side_by_side": {"search": found.slots.search, "train": found.slots.train},
        "devices": found.devices,
        "device_kind": found.device_kind,
        "calibration": {
            "device": found.calibration.device_name,
            "seconds": found.calibration.seconds,
            "worker_start_seconds": found.calibration.worker_start_seconds,
            "synthetic_images": found.synthetic,
            "exclusive": found.calibration.witnessed.exclusive,
            "witnessed": dataclasses.asdict(found.calibration.witnessed),
        },
        "notes": list(found.notes),
    }


def print_planned(spec: "SweepSpec", found: "Planned") -> None:
    """The plan as a table."""
    import pyarrow as pa
    from rich.console import Console

    from dwray.report.terminal import print_table
    from dwray.results.table import Column, Table

    hours = f"{found.device_kind}-hours"
    columns = [
        Column("stage", "stage", pa.string()),
        Column("trials", "trials", pa.string()),
        Column("epochs", "epochs", pa.string()),
        Column("time", "time", pa.string()),
        Column("hours", hours, pa.string()),
    ]
    if found.price is not None:
        columns.append(Column("money", "money", pa.string()))
    rows: list[dict[str, str | None]] = [
        {
            "stage": stage.stage,
            "trials": between(stage.fewest_trials, stage.most_trials, ",.0f") if stage.fewest_trials else None,
            "epochs": between(stage.fewest_epochs, stage.most_epochs, ",.0f") if stage.fewest_epochs else None,
            **_texts(found.amounts(stage.wall_seconds)),
        }
        for stage in found.stages
    ]
    rows.append({"stage": "total", **_texts(found.amounts(found.wall_seconds))})
    print_table(Console(), Table("plan", _headline(spec), tuple(columns), tuple(rows), found.notes))


def _texts(amounts: dict[str, Any]) -> dict[str, str | None]:
    low, high = amounts["wall_seconds_low"], amounts["wall_seconds_high"]
    unit, seconds = next(
        (each for each in (("s", 1.0), ("min", 60.0), ("h", 3600.0)) if (high or low) < 100 * each[1]), ("h", 3600.0)
    )
    most = None if high is None else high / seconds
    texts: dict[str, str | None] = {
        "time": f"{between(low / seconds, most, ',.3g')} {unit}",
        "hours": between(amounts["device_hours_low"], amounts["device_hours_high"], ",.3g"),
    }
    if amounts.get("money_low") is not None:
        texts["money"] = between(amounts["money_low"], amounts["money_high"], ",.2f")
    return texts


def between(low: float, high: float | None, form: str) -> str:
    """A range in words: a single number if both ends read alike, and ``from ...`` if there is no upper end."""
    if high is None:
        return f"from {_number(low, form)}"
    ends = [_number(low, form), _number(high, form)]
    return ends[0] if ends[0] == ends[1] else " to ".join(ends)


def _number(value: float, form: str) -> str:
    """A number in a form, and never with a power of ten: of 1,084 with three digits, 1,080."""
    text = format(value, form)
    return f"{float(text):,.0f}" if "e+" in text else text


def resolve_sweep(name: str, overrides: tuple[str, ...], seed: int | None) -> "SweepSpec":
    """The sweep that a user means, with what the command line changes in it."""
    from dwray.sweepfile import resolve

    spec = resolve(name, overrides, seed=seed)
    from dwray.core.data import DATASETS
    from dwray.core.networks import NETWORKS

    spec.check_names(networks=NETWORKS, sources=DATASETS)
    return spec
