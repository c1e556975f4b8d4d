"""Every trial of a run in one table: what it was, what became of it, and why it failed."""

from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from dwray.results.records import Records
from dwray.results.schema import STATUSES
from dwray.results.table import Column, Row, Table, finite

_COLUMNS = (
    Column("stage", "stage", pa.string()),
    Column("trial", "trial", pa.string()),
    Column("trial_id", "id", pa.string(), shown=False),
    Column("contender", "network", pa.string()),
    Column("seed", "seed", pa.int64(), shown=False),
    Column("status", "status", pa.string()),
    Column("epochs_done", "epochs", pa.int64()),
    Column("validation_accuracy_percent", "val. %", pa.float64(), ".2f"),
    Column("test_accuracy_percent", "test %", pa.float64(), ".2f"),
    Column("seconds", "seconds", pa.float64(), ",.1f"),
    Column("device", "device", pa.string()),
    Column("host", "host", pa.string()),
    Column("failures", "failures", pa.int64(), wide=True),
    Column("error", "error", pa.string(), wide=True),
)


def failures_first(trials: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of trials.parquet: those that failed, then what else did not complete, then the order of the run."""
    urgent = {status: order for order, status in enumerate(("failed", "diverged", "interrupted", "running"))}
    return sorted(trials, key=lambda row: urgent.get(row["status"], len(urgent)))


def trials_table(records: Records) -> Table:
    """A row for each trial: those that failed first, then what else did not complete, then the order of the run."""
    rows = failures_first(records.trials)
    statuses = [row["status"] for row in records.trials]
    counts = ", ".join(f"{statuses.count(each):,} {each}" for each in STATUSES if each in statuses)
    return Table(
        "trials",
        "Trials",
        _COLUMNS,
        tuple(_row(records, row) for row in rows),
        (
            f"{len(rows):,} trials: {counts}. Accuracies after the last epoch, the test set's as the protocol scores "
            "it; seconds from the start to the end, with retries. dwray show takes a trial's name.",
        )
        if rows
        else (),
    )


def _row(records: Records, trial: Row) -> dict[str, Any]:
    row = {column.name: trial.get(column.name) for column in _COLUMNS}
    row |= {"trial": trial["trial"] or trial["trial_id"], "test_accuracy_percent": records.test_accuracy(trial)}
    return {name: finite(value) for name, value in row.items()}
