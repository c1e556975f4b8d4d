"""A run's records on disk: written atomically, whole, and readable at any moment while the run goes on."""

import json
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import dwray
from dwray.errors import RunError, one_line
from dwray.paths import RunPaths
from dwray.results.mirror import Mirror
from dwray.results.schema import EPOCHS, LATER, SCHEMA_VERSION, TIMINGS, TRIALS, to_table
from dwray.results.sound import fault_of_table
from dwray.storage import Storage, write_atomically

PASS_KIND = ("batch_size", "set", "loader", "batch_statistics", "notebook_loader", "mode")
"""The columns that tell one kind of timed pass from another."""

ENDS = ("completed", "diverged", "failed")
"""Statuses of a trial that will not go on."""

COPY_AGAIN = "copy it again from where the run was made, or sweep again"
"""What mends a file that is damaged."""

PACK_ROWS = 4096
"""Rows of epochs that are packed at a time."""


def write_parquet(path: Path, table: pa.Table) -> None:
    """Write a table atomically."""
    write_atomically(path, as_parquet(table))


def as_parquet(table: pa.Table) -> pa.Buffer:
    """The content of a table's file."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, write_page_checksum=True)
    return sink.getvalue()


def read_parquet(path: Path, schema: pa.Schema | None = None) -> pa.Table:
    """Read a table that :func:`write_parquet` wrote.

    Args:
        path: The file.
        schema: If given, the columns that the table must have, with their types.

    Raises:
        RunError: The file is missing, damaged, of another schema version, lacks a column, or holds what no run writes.
    """
    try:
        # read_table would import the datasets, and take folders named a=b for columns
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            table = file.read()
    except FileNotFoundError as error:
        raise RunError(f"{path}: there is no such file; is {path.parent} the folder of a run?") from error
    except (OSError, ValueError, pa.ArrowException) as error:  # ValueError: column names that are no text
        raise RunError(f"{path}: cannot be read as Parquet ({one_line(error)}); {COPY_AGAIN}") from error
    if schema is None:
        return table
    version = (table.schema.metadata or {}).get(b"schema_version", b"").decode(errors="replace")
    if version != str(SCHEMA_VERSION):
        raise RunError(
            f"{path}: has schema version {version or 'none'}, this dwray ({dwray.__version__}) "
            f"reads version {SCHEMA_VERSION}; use the dwray that wrote it"
        )
    for field in schema:
        if field.name not in table.schema.names and LATER.encode() in (field.metadata or {}):
            table = table.append_column(field, pa.nulls(len(table), field.type))
        index = table.schema.get_field_index(field.name)  # -1 if there is none, or more than one
        if index < 0 or table.schema.field(index).type != field.type:
            raise RunError(f"{path}: has no column {field.name!r} of type {field.type}; {COPY_AGAIN}")
    table = table.select(schema.names)
    if fault := fault_of_table(table, schema):
        raise RunError(f"{path}: {fault}; {COPY_AGAIN}")
    return table


class EpochLog:
    """The epochs of a run: as rows while their trial runs, as Arrow columns (a tenth of the memory) once it has ended.

    Args:
        identity: Metadata of the table.
        pack_rows: At least so many rows are packed at a time: small tables would cost more than their rows.
    """

    def __init__(self, identity: Mapping[str, str], pack_rows: int = PACK_ROWS) -> None:
        self._identity, self._pack_rows = identity, pack_rows
        self._open: dict[tuple[str, int], dict[str, Any]] = {}
        self._packed: list[pa.Table] = []
        self._packed_trials: set[str] = set()

    def add(self, row: Mapping[str, Any]) -> None:
        """Add an epoch; it replaces the row of the same trial and epoch."""
        if row["trial_id"] in self._packed_trials:
            self._unpack(row["trial_id"])
        self._open[row["trial_id"], row["epoch"]] = dict(row)

    def has(self, trial_id: str, epoch: int) -> bool:
        """The epoch is there."""
        return (trial_id, epoch) in self._open or (
            trial_id in self._packed_trials
            and any(
                pc.any(pc.and_(pc.equal(table["trial_id"], trial_id), pc.equal(table["epoch"], epoch))).as_py()
                for table in self._packed
            )
        )

    def take_up(self, table: pa.Table) -> None:
        """The rows of an earlier driver."""
        self._packed.append(table.replace_schema_metadata({"schema_version": str(SCHEMA_VERSION), **self._identity}))
        self._packed_trials |= set(table.column("trial_id").unique().to_pylist())

    def pack(self, ended: Collection[str]) -> None:
        """Pack the rows of trials that have ended, once there are enough of them."""
        done = {key: row for key, row in self._open.items() if key[0] in ended}
        if len(done) >= self._pack_rows:
            self._packed.append(to_table(EPOCHS, done.values(), self._identity))
            self._packed_trials |= {trial_id for trial_id, _ in done}
            self._open = {key: row for key, row in self._open.items() if key not in done}

    def table(self) -> pa.Table:
        """All the rows."""
        return pa.concat_tables([*self._packed, to_table(EPOCHS, self._open.values(), self._identity)])

    def _unpack(self, trial_id: str) -> None:
        """A trial goes on after all: its rows can be replaced again."""
        mask = [pc.equal(table.column("trial_id"), trial_id) for table in self._packed]
        for table, own in zip(self._packed, mask, strict=True):
            self._open |= {(trial_id, row["epoch"]): row for row in table.filter(own).to_pylist()}
        self._packed = [table.filter(pc.invert(own)) for table, own in zip(self._packed, mask, strict=True)]
        self._packed_trials.discard(trial_id)


class RunStore:
    """The records of a running sweep, in memory and on disk.

    A row has a key; a later row of the same key replaces the earlier one, so a trial that is retried from a checkpoint
    leaves one row an epoch, the last. :meth:`flush` writes the tables that changed, whole: a caller that flushes often
    does well to wait longer the longer it takes.

    Args:
        paths: The run's files.
        identity: Metadata of every file, beside the schema version.
        mirror: Is told of each file that was written.
    """

    def __init__(self, paths: RunPaths, identity: Mapping[str, str], mirror: Mirror | None = None) -> None:
        self.paths, self.mirror = paths, mirror
        self._folder = Storage(paths.folder)
        """A file server that is away for a while is waited for."""
        self.identity = {"dwray_version": dwray.__version__, "run_id": paths.run_id, **identity}
        self._trials: dict[str, dict[str, Any]] = {}
        self._epochs = EpochLog(self.identity)
        self._timings: dict[tuple[Any, ...], dict[str, Any]] = {}
        self._changed = {"trials", "epochs", "timings"}

    def take_up(self) -> None:
        """Take up what an earlier driver of the run wrote.

        What ran as it ended was interrupted; so, for who goes on, was a training whose epochs are not all there.

        Raises:
            RunError: A file is missing, damaged or of another version.
        """
        epochs = read_parquet(self.paths.epochs, EPOCHS)
        there = {each["values"]: each["counts"] for each in epochs["trial_id"].value_counts().to_pylist()}
        for row in read_parquet(self.paths.trials, TRIALS).to_pylist():
            lacking = (row["epochs_done"] or 0) - there.get(row["trial_id"], 0)
            short = lacking > 0 and row["status"] in ("completed", "diverged")
            status = "interrupted" if short or row["status"] == "running" else row["status"]
            self._trials[row["trial_id"]] = {**row, "status": status}
        self._epochs.take_up(epochs)
        for row in read_parquet(self.paths.timings, TIMINGS).to_pylist():
            self.add_timing(row)
        self._changed |= {"trials", "epochs", "timings"}

    def update_trial(self, trial_id: str, **values: Any) -> None:
        """Set columns of a trial's row, made if it is new."""
        self._trials.setdefault(trial_id, {"trial_id": trial_id, "failures": 0, "winner": None}).update(values)
        self._changed.add("trials")

    def trial(self, trial_id: str) -> Mapping[str, Any]:
        """The row of a trial, empty if there is none."""
        return self._trials.get(trial_id, {})

    def drop_trials(self, stage: str, *, keep: Collection[str]) -> None:
        """Forget the trials of a stage that are none of these, with their timings: what is to be run has changed."""
        dropped = {key for key, row in self._trials.items() if row["stage"] == stage and key not in keep}
        for trial_id in dropped:
            del self._trials[trial_id]
        self._timings = {key: row for key, row in self._timings.items() if row["trial_id"] not in dropped}
        self._changed |= {"trials", "timings"} if dropped else set()

    def trials(self, stage: str) -> list[Mapping[str, Any]]:
        """The rows of a stage, in the order in which its trials began."""
        return [row for row in self._trials.values() if row["stage"] == stage]

    def end(self) -> None:
        """Nothing runs any more: mark what still ran as interrupted, and write every table that has changed."""
        for trial_id, row in self._trials.items():
            if row["status"] == "running":
                self.update_trial(trial_id, status="interrupted")
        self.flush()

    def has_epoch(self, trial_id: str, epoch: int) -> bool:
        """The trial's epoch has its row."""
        return self._epochs.has(trial_id, epoch)

    def add_epoch(self, row: Mapping[str, Any]) -> None:
        """Add an epoch's row."""
        self._epochs.add(row)
        self._changed.add("epochs")

    def add_timing(self, row: Mapping[str, Any]) -> None:
        """Add a timed pass's row."""
        key = tuple(row.get(name) for name in (*PASS_KIND, "contender", "pass_number"))
        self._timings[key] = dict(row)
        self._changed.add("timings")

    def flush(self) -> None:
        """Write every table that has changed since the last time."""
        tables: dict[str, tuple[Path, Callable[[], pa.Table]]] = {
            "trials": (self.paths.trials, lambda: to_table(TRIALS, self._trials.values(), self.identity)),
            "epochs": (self.paths.epochs, self._epochs.table),
            "timings": (self.paths.timings, lambda: to_table(TIMINGS, self._timings.values(), self.identity)),
        }
        self._epochs.pack({trial_id for trial_id, row in self._trials.items() if row.get("status") in ENDS})
        for name in sorted(self._changed):
            path, table = tables[name]
            self._folder.write(path.name, as_parquet(table()))
            self._changed.discard(name)
            if self.mirror:
                self.mirror.put(path)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write plain values as indented JSON, atomically."""
    write_atomically(path, (json.dumps(value, indent=2) + "\n").encode())
