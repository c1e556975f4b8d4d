"""``dwray show``: the trials of a run, or one of them."""

import difflib
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dwray.cli.complete import complete_run, complete_trial
from dwray.cli.options import EPILOG, JSON, RUNS_DIR, print_json
from dwray.errors import EXIT_USAGE, RunError, counted
from dwray.results.kept import find_run

if TYPE_CHECKING:
    from rich.console import Console

    from dwray.results.records import Records

MOST_NAMED = 8
"""So many trials are named that a user may have meant."""
MOST_BARS = 40
"""A curve is at most so wide."""
CURVES = {
    "validation_accuracy_percent": ("validation accuracy %", ".2f"),
    "validation_loss": ("validation loss", ".4f"),
    "train_accuracy_percent": ("training accuracy %", ".2f"),
    "train_loss": ("training loss", ".4f"),
    "learning_rate": ("learning rate", ".3g"),
}
RESULTS = {
    "validation_accuracy_percent": "validation",
    "test_accuracy_percent": "test",
    "batch_statistics_test_accuracy_percent": "test with the statistics of each batch",
    "train_set_accuracy_percent": "training images",
}


class AmbiguousTrialError(RunError):
    """Several trials may be meant."""

    exit_code = EXIT_USAGE


@click.command(epilog=EPILOG)
@click.argument("run", shell_complete=complete_run)
@click.argument("trial", required=False, shell_complete=complete_trial)
@RUNS_DIR
@JSON
def show(run: str, trial: str | None, runs_dir: Path, as_json: bool) -> None:
    """The trials of RUN, those that failed first; or one TRIAL: its config, its curves and its error.

    TRIAL is a trial's id or its name, or what begins or is part of one and of no other. RUN is the folder of a run,
    SWEEP/RUN-ID, the name of a sweep (its latest run), or s3://BUCKET/PREFIX/SWEEP/RUN-ID.
    """
    from rich.console import Console

    from dwray.results.records import Records
    from dwray.results.table import finite
    from dwray.results.trials import failures_first

    kept = find_run(run, runs_dir)
    records = Records.read(kept.paths)
    listing = shlex.join(["dwray", "show", kept.name])
    if trial is None:
        rows = failures_first(records.trials)
        if as_json:
            print_json(finite(rows))
        else:
            _print_trials(Console(), records, rows, listing)
        return
    row = find_trial(records.trials, trial, listing)
    if as_json:
        epochs = [dict(epoch) for epoch in records.epochs_of(row)]
        print_json(finite({**row, "curve": epochs, "passes": _passes(records, row)}))
        return
    _print(Console(), records, row)


def find_trial(rows: Sequence[Mapping[str, Any]], wanted: str, listing: str) -> Mapping[str, Any]:
    """The trial that a user means: by its id or name, by what either begins with, or by any part of them.

    Args:
        rows: Of trials.parquet.
        wanted: As the user gave it.
        listing: The command that lists the trials.

    Raises:
        AmbiguousTrialError: Several may be meant.
        RunError: There is none.
    """
    ways: list[Callable[[str], bool]] = [
        lambda name: name == wanted,
        lambda name: name.startswith(wanted),
        lambda name: wanted.lower() in name.lower(),
    ]
    for fits in ways:
        found = [row for row in rows if any(fits(name) for name in _names(row))]
        if len(found) == 1:
            return found[0]
        if found:
            named = [f"{row['trial_id']} ({row['stage']}: {row['trial']})" for row in found[:MOST_NAMED]]
            more = f" and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
            raise AmbiguousTrialError(
                f"{wanted!r} may be any of {len(found)} trials: {', '.join(named)}{more}; `{listing}` lists all"
            )
    close = difflib.get_close_matches(wanted, [row["trial"] for row in rows], n=MOST_NAMED, cutoff=0.3)
    meant = f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
    raise RunError(f"there is no trial {wanted!r} among {len(rows)}{meant}; `{listing}` lists them")


def _names(row: Mapping[str, Any]) -> Iterable[str]:
    """What a trial is called: its names alone, and with its stage."""
    return row["trial_id"], row["trial"], f"{row['stage']}: {row['trial']}"


def names_to_type(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What to call each trial, and no other: its name, with its stage where another stage has it too."""
    stages = Counter(row["trial"] for row in rows)
    return [row["trial"] if stages[row["trial"]] == 1 else f"{row['stage']}: {row['trial']}" for row in rows]


def _print_trials(console: "Console", records: "Records", rows: Sequence[Mapping[str, Any]], listing: str) -> None:
    import pyarrow as pa

    from dwray.report.terminal import print_table
    from dwray.results.table import Column, Table, finite

    columns = (
        Column("stage", "stage", pa.string()),
        Column("trial", "trial", pa.string()),
        Column("status", "status", pa.string()),
        Column("epochs_done", "epochs", pa.int64()),
        Column("validation_accuracy_percent", "validation %", pa.float64(), ".2f"),
    )
    disturbed = {row["trial_id"] for row in records.disturbed_timings}
    names = names_to_type(rows)
    told = [
        {**finite(row), "trial": name, "status": "disturbed" if row["trial_id"] in disturbed else row["status"]}
        for row, name in zip(rows, names, strict=True)
    ]
    title = f"Trials of {records.identity['sweep']}/{records.identity['run_id']}"
    print_table(console, Table("trials", title, columns, tuple(told)))
    if names:
        console.print(
            f"\none of them: {listing} {shlex.quote(names[0])}", soft_wrap=True, highlight=False, markup=False
        )


def _print(console: "Console", records: "Records", row: Mapping[str, Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    from dwray.report.live import STYLES

    said = {"config": _config(row), "status": _status(row), "ran on": _place(row), "accuracy": _accuracy(row)}
    console.print(
        Text.assemble(
            (f"{row['stage']}: {row['trial']}", "bold"),
            f" ({row['trial_id']}): ",
            (row["status"], STYLES.get(row["status"], "")),
        )
    )
    lines = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    lines.add_column(no_wrap=True, style="dim")
    lines.add_column(overflow="fold")
    for name, text in said.items():
        if text:
            lines.add_row(name, Text(text))
    console.print(lines)
    _print_curves(console, records, row)
    if row["error"]:
        console.print(f"\nfailed {counted(row['failures'], 'time')}, last with:", style="bold red", highlight=False)
        console.print(row["error"], soft_wrap=True, markup=False, highlight=False)


def _config(row: Mapping[str, Any]) -> str:
    """What was asked for: the network and its training."""
    from dwray.core.config import TRAINING_SWITCHES

    settings = (
        *(
            "network",
            "width",
            "dataset",
            "axis",
            "seed",
            "epochs",
            "batch_size",
            "initial_lr",
            "lr_decay",
            "weight_decay",
        ),
        *("momentum", "nesterov", "crop_padding", "flip", "precision", "memory_format", "compile", *TRAINING_SWITCHES),
    )
    return ", ".join(f"{name} {_plain(row[name])}" for name in settings if row[name] is not None)


def _plain(value: Any) -> str:
    from dwray.core.config import in_yaml

    return f"{value:g}" if isinstance(value, float) else in_yaml(value)


def _status(row: Mapping[str, Any]) -> str:
    from dwray.report.live import duration

    epochs = f", {row['epochs_done']} of {counted(row['epochs'], 'epoch')}" if row["epochs_done"] is not None else ""
    spent = f", {duration(row['seconds'])}" if row["seconds"] is not None else ""
    times = [row[name] for name in ("started_at", "ended_at") if row[name] is not None]
    when = " to ".join(f"{each:%Y-%m-%d %H:%M:%S}" for each in times)
    return f"{row['status']}{epochs}{spent}" + (f", {when} UTC" if when else "")


def _place(row: Mapping[str, Any]) -> str:
    threads = counted(row["threads"], "thread") if row["threads"] is not None else None
    return ", ".join(filter(None, (row["device"], threads, row["host"])))


def _accuracy(row: Mapping[str, Any]) -> str:
    from dwray.results.table import finite

    known = finite(row)
    return ", ".join(f"{text} {known[name]:.2f}%" for name, text in RESULTS.items() if known[name] is not None)


def _passes(records: "Records", row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The timed passes of a timing."""
    return [dict(each) for each in records.timings if each["trial_id"] == row["trial_id"]]


def _curves(records: "Records", row: Mapping[str, Any]) -> dict[str, tuple[list[float | None], str]]:
    """By name, the values and their form: of a training by epoch, of a timing by pass."""
    epochs = records.epochs_of(row)
    if len(epochs):
        return {label: (epochs.column(name), form) for name, (label, form) in CURVES.items()}
    by_contender: dict[str, tuple[list[float | None], str]] = {}
    for each in sorted(_passes(records, row), key=lambda each: each["pass_number"]):
        by_contender.setdefault(f"{each['contender']} s", ([], ".4g"))[0].append(each["seconds"])
    return by_contender


def _print_curves(console: "Console", records: "Records", row: Mapping[str, Any]) -> None:
    import math

    from rich.table import Table

    from dwray.report.sparkline import sparkline

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    curves = {
        name: (values, form)
        for name, (values, form) in _curves(records, row).items()
        if any(value is not None and math.isfinite(value) for value in values)
    }
    if not curves:
        return
    count = max(len(values) for values, _ in curves.values())
    passes = "1 pass" if count == 1 else f"{count} passes"
    for heading in ("", passes if row["stage"] == "time" else counted(count, "epoch")):
        table.add_column(heading, no_wrap=True)
    for heading in ("least", "most", "last"):
        table.add_column(heading, justify="right", no_wrap=True)
    room = min(MOST_BARS, console.width - 2 - max(map(len, curves)) - 3 * 11)
    for name, (values, form) in curves.items():
        known = [value for value in values if value is not None and math.isfinite(value)]
        last = format(values[-1], form) if values[-1] is not None else "-"
        bars = sparkline(values, max(8, room), ascii_only=console.options.ascii_only)
        table.add_row(name, bars, format(min(known), form), format(max(known), form), last)
    console.print()
    console.print(table)
