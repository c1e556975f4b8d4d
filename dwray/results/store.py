"""A run's records on disk: written atomically, whole, and readable at any moment while the run goes on."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

import dwray
from dwray.errors import RunError
from dwray.paths import RunPaths
from dwray.results.schema import EPOCHS, SCHEMA_VERSION, TIMINGS, TRIALS, to_table

PASS_KIND = ("batch_size", "set", "loader", "batch_statistics", "notebook_loader")
"""The columns that tell one kind of timed pass from another."""


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file under a temporary name beside it, then move it: a reader sees the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_parquet(path: Path, table: pa.Table) -> None:
    """Write a table atomically."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    write_atomically(path, sink.getvalue().to_pybytes())


def read_parquet(path: Path, schema: pa.Schema | None = None) -> pa.Table:
    """Read a table that :func:`write_parquet` wrote.

    Args:
        path: The file.
        schema: If given, the columns that the table must have, with their types.

    Raises:
        RunError: The file is missing, truncated, of a later schema version, or lacks a column.
    """
    try:
        table = pq.read_table(path)
    except FileNotFoundError as error:
        raise RunError(f"{path}: there is no such file; is {path.parent} the folder of a run?") from error
    except (OSError, pa.ArrowException) as error:
        raise RunError(f"{path}: cannot be read as Parquet ({str(error).splitlines()[0]})") from error
    if schema is None:
        return table
    version = (table.schema.metadata or {}).get(b"schema_version", b"").decode()
    if version != str(SCHEMA_VERSION):
        raise RunError(
            f"{path}: has schema version {version or 'none'}, this dwray ({dwray.__version__}) "
            f"reads version {SCHEMA_VERSION}; use the dwray that wrote it"
        )
    for field in schema:
        if field.name not in table.schema.names or table.schema.field(field.name).type != field.type:
            raise RunError(f"{path}: has no column {field.name!r} of type {field.type}")
    return table.select(schema.names)


class RunStore:
    """The records of a running sweep, in memory and on disk.

    A row has a key; a later row of the same key replaces the earlier one, so a trial that is retried from a checkpoint
    leaves one row an epoch, the last. :meth:`flush` writes the tables that changed.

    Args:
        paths: The run's files.
        identity: Metadata of every file, beside the schema version.
    """

    def __init__(self, paths: RunPaths, identity: Mapping[str, str]) -> None:
        self.paths = paths
        self.identity = {"dwray_version": dwray.__version__, "run_id": paths.run_id, **identity}
        self._trials: dict[str, dict[str, Any]] = {}
        self._epochs: dict[tuple[str, int], dict[str, Any]] = {}
        self._timings: dict[tuple[Any, ...], dict[str, Any]] = {}
        self._changed = {"trials", "epochs", "timings"}

    def update_trial(self, trial_id: str, **values: Any) -> None:
        """Set columns of a trial's row, made if it is new."""
        self._trials.setdefault(trial_id, {"trial_id": trial_id, "failures": 0, "winner": None}).update(values)
        self._changed.add("trials")

    def trial(self, trial_id: str) -> Mapping[str, Any]:
        """The row of a trial, empty if there is none."""
        return self._trials.get(trial_id, {})

    def trials(self, stage: str) -> list[Mapping[str, Any]]:
        """The rows of a stage, in the order in which its trials began."""
        return [row for row in self._trials.values() if row["stage"] == stage]

    def end(self) -> None:
        """Nothing runs any more: mark what still ran as interrupted, and write every table that has changed."""
        for trial_id, row in self._trials.items():
            if row["status"] == "running":
                self.update_trial(trial_id, status="interrupted")
        self.flush()

    def add_epoch(self, row: Mapping[str, Any]) -> None:
        """Add an epoch's row."""
        self._epochs[row["trial_id"], row["epoch"]] = dict(row)
        self._changed.add("epochs")

    def add_timing(self, row: Mapping[str, Any]) -> None:
        """Add a timed pass's row."""
        key = tuple(row[name] for name in (*PASS_KIND, "contender", "pass_number"))
        self._timings[key] = dict(row)
        self._changed.add("timings")

    def flush(self) -> None:
        """Write every table that has changed since the last time."""
        tables: dict[str, tuple[Path, pa.Schema, Any]] = {
            "trials": (self.paths.trials, TRIALS, self._trials),
            "epochs": (self.paths.epochs, EPOCHS, self._epochs),
            "timings": (self.paths.timings, TIMINGS, self._timings),
        }
        for name in sorted(self._changed):
            path, schema, rows = tables[name]
            write_parquet(path, to_table(schema, rows.values(), self.identity))
            self._changed.discard(name)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write plain values as indented JSON, atomically."""
    write_atomically(path, (json.dumps(value, indent=2) + "\n").encode())
