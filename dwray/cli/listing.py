"""``dwray runs``: every run, and how it stands."""

import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dwray.cli.options import EPILOG, JSON, RUNS_DIR, print_json
from dwray.cli.status import planned_of
from dwray.errors import RunError, UserError, one_line
from dwray.paths import RunPaths

if TYPE_CHECKING:
    from dwray.results.table import Table
    from dwray.storage import Storage

FORGOTTEN_SECONDS = 600.0
"""A lease that was not renewed for so long is nobody's, whatever the clocks of two machines differ by."""
PATIENCE_SECONDS = 5.0
"""So long a storage is asked again that is away: somebody waits for the list."""
READERS = 16
"""Runs that are looked at at once: most of that is waiting, for a storage or for a driver to renew its lease."""


@click.command("runs", epilog=EPILOG)
@RUNS_DIR
@click.option(
    "--storage",
    envvar="DWRAY_STORAGE",
    metavar="FOLDER|URI",
    help="List the runs kept there: a folder, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX. By default --runs-dir.",
)
@JSON
def runs_(runs_dir: Path, storage: str | None, as_json: bool) -> None:
    """List all runs, the newest first: state, age, stages and trials that are done, seeds, W&B, size."""
    from rich.console import Console

    from dwray.report.terminal import print_table

    if storage and "://" in storage:
        where, found = storage, _in_storage(storage)
    else:
        folder = Path(storage) if storage else runs_dir
        where, found = str(folder), _in_folder(folder)
    listed = sorted(found, key=lambda run: run.started or datetime.min.replace(tzinfo=UTC), reverse=True)
    if as_json:
        print_json([run.data() for run in listed])
        return
    console = Console()
    if not listed:
        console.print(f"no runs in {where}", soft_wrap=True, highlight=False, markup=False)
        return
    readable = [run for run in listed if not run.why]
    if readable:
        print_table(console, _table(where, readable))
    for run in listed:
        if trouble := f"unreadable: {run.why}" if run.why else run.amiss:
            console.print(f"{run.name}: {trouble}", soft_wrap=True, highlight=False, markup=False)


@dataclass(frozen=True)
class Listed:
    """A run, as a list shows it. What is not known is None."""

    name: str
    """What to give to other commands, beside the folder of all runs."""
    state: str = "unreadable"
    why: str | None = None
    """Of a run that cannot be read."""
    started: datetime | None = None
    stages: tuple[int, int | None] = (0, None)
    """Those that are done, and all."""
    trials: tuple[int, int | None] = (0, None)
    """Those that have ended, and the most there can be."""
    failed: int = 0
    diverged: int = 0
    disturbed: int = 0
    """Timings that did not have their device to themselves."""
    amiss: str = ""
    """The last three in words."""
    seeds: tuple[int, ...] = ()
    wandb: str | None = None
    bytes: int | None = None

    def data(self) -> dict[str, Any]:
        """For programs."""
        return {
            "run": self.name,
            "state": self.state,
            "why": self.why,
            "started": self.started.isoformat(timespec="seconds") if self.started else None,
            "stages_done": self.stages[0],
            "stages": self.stages[1],
            "trials_done": self.trials[0],
            "trials_at_most": self.trials[1],
            "failed": self.failed,
            "diverged": self.diverged,
            "disturbed": self.disturbed,
            "seeds": list(self.seeds),
            "wandb": self.wandb,
            "bytes": self.bytes,
        }


def _in_folder(runs_dir: Path) -> Iterator[Listed]:
    """The runs in a folder: ``SWEEP/RUN-ID``, and what lies there as a run by itself."""
    folders = [path for path in runs_dir.glob("*") if path.is_dir()]
    folders += [path for folder in folders for path in folder.glob("*") if path.is_dir()]
    begun = [RunPaths(path.absolute()) for path in folders]
    found = [
        paths for paths in begun if paths.trials.is_file() or (paths.sweep.is_file() and paths.environment.is_file())
    ]
    base = runs_dir.absolute()
    return _listed((paths.folder.relative_to(base).as_posix(), nullcontext(paths), None) for paths in found)


def _in_storage(location: str) -> Iterator[Listed]:
    """The runs in an object store."""
    from dwray.storage import Storage

    storage = Storage(location, patience_seconds=PATIENCE_SECONDS)
    try:
        names = storage.names()
    except OSError as error:
        raise RunError(
            f"{location}: cannot be read ({one_line(error)}); check its name and your credentials"
        ) from error
    runs = sorted(
        {name.rpartition("/")[0] for name in names if name.count("/") == 2 and name.endswith("/trials.parquet")}
    )
    return _listed((run, _copied(storage.within(run)), storage.within(run)) for run in runs)


@contextmanager
def _copied(storage: "Storage") -> Iterator[RunPaths]:
    """What is read of a run in storage, for a while."""
    with tempfile.TemporaryDirectory(prefix="dwray-runs-") as folder:
        paths = RunPaths(Path(folder))
        for path in (paths.sweep, paths.trials, paths.epochs, paths.timings, paths.wandb):
            try:
                path.write_bytes(storage.read(path.name))
            except FileNotFoundError:
                continue
        yield paths


def _listed(runs: Iterable[tuple[str, Any, "Storage | None"]]) -> Iterator[Listed]:
    """Each run by its name, the context that opens its folder, and the storage that keeps it."""

    def look(run: tuple[str, Any, "Storage | None"]) -> Listed:
        name, opened, storage = run
        try:
            with opened as paths:
                return _look(name, paths, storage)
        except (UserError, OSError, ValueError, KeyError) as error:  # a damaged run hides no other
            return Listed(name, why=one_line(error), started=_time_in(name))

    with ThreadPoolExecutor(READERS) as readers:
        yield from readers.map(look, runs)


def _look(name: str, paths: RunPaths, storage: "Storage | None") -> Listed:
    from dwray.results.records import Records
    from dwray.results.run_standing import run_standing

    records, planned = Records.read(paths), None
    with suppress(UserError):  # what it planned, another dwray may have to be asked
        planned = planned_of(paths)
    standing = run_standing(records, planned, driven=False)
    if standing.stage and _is_driven(paths, storage):
        standing = run_standing(records, planned, driven=True)
    begun = [row["started_at"] for row in records.trials if row["started_at"]]
    work = planned.work if planned else {}
    most = [each.trials for stage in work.values() for each in stage]
    return Listed(
        name,
        standing.state,
        started=_time_in(name) or min(begun, default=None),
        stages=(sum(each.stage != standing.stage for each in standing.stages), len(work) or len(standing.stages)),
        trials=(standing.done, None if None in most or not most else sum(filter(None, most))),
        failed=standing.failed,
        diverged=standing.diverged,
        disturbed=standing.disturbed,
        amiss=standing.amiss,
        seeds=tuple(sorted({row["seed"] for row in records.of_stage("train")})),
        wandb=_wandb_state(paths),
        bytes=None if storage else sum(path.stat().st_size for path in paths.folder.rglob("*") if path.is_file()),
    )


def _is_driven(paths: RunPaths, storage: "Storage | None") -> bool:
    """A driver works on a run; one whose storage is away is not known of."""
    from dwray.results import lease
    from dwray.results.mirror import remembered
    from dwray.results.run_standing import driver_of
    from dwray.storage import Storage

    if storage is None and (noted := remembered(paths)):
        storage = Storage(noted.location, patience_seconds=0)
    file = paths.folder / lease.NAME
    if storage is None and file.is_file() and time.time() - file.stat().st_mtime > FORGOTTEN_SECONDS:
        return False
    try:
        return driver_of(storage or Storage(paths.folder)) is not None
    except OSError:
        return False


def _time_in(name: str) -> datetime | None:
    """When a run began, by its id."""
    try:
        return datetime.strptime(name.rpartition("/")[2][:15], "%Y%m%d-%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None


def _wandb_state(paths: RunPaths) -> str | None:
    """The least that W&B's runs of a run have come to: failed, offline, told or sent; None if nothing is published."""
    from dwray.publish.ledger import FAILED, OFFLINE, SENT, TOLD, Ledger

    ledger = Ledger.read(paths.wandb)
    states = {ledger.state_of(key, paths.folder)[0] for key in ledger.runs}
    return next((state for state in (FAILED, OFFLINE, TOLD, SENT) if state in states), None)


def _table(where: str, runs: Iterable[Listed]) -> "Table":
    import pyarrow as pa

    from dwray.results.table import Column, Table

    now, text = datetime.now(UTC), pa.string()
    columns = (
        Column("run", "run", text),
        Column("state", "state", text),
        Column("age", "age", text),
        Column("stages", "stages", text),
        Column("trials", "trials", text),
        Column("seeds", "seeds", pa.int64(), "d"),
        Column("wandb", "W&B", text),
        Column("size", "size", text),
    )
    rows = [
        {
            "run": run.name,
            "state": run.state,
            "age": _age((now - run.started).total_seconds()) if run.started else None,
            "stages": _of(*run.stages),
            "trials": _of(*run.trials),
            "seeds": len(run.seeds) or None,
            "wandb": run.wandb,
            "size": _size(run.bytes),
        }
        for run in runs
    ]
    # A terminal has no room for a column that says nothing.
    told = tuple(column for column in columns if any(row[column.name] is not None for row in rows))
    return Table("runs", f"Runs in {where}", told, tuple(rows))


def _of(done: int, planned: int | None) -> str:
    return f"{done}/{planned}" if planned is not None else str(done)


def _age(seconds: float) -> str:
    """A time that has passed, in its largest unit: ``5 min``."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length:.0f} {unit}"
    return "now"


def _size(count: int | None) -> str | None:
    """Bytes in their largest unit: ``1.2 MB``."""
    if count is None:
        return None
    size, units = float(count), ["B", "kB", "MB", "GB", "TB"]
    while size >= 999.5 and len(units) > 1:
        size, units = size / 1000, units[1:]
    return f"{size:.3g} {units[0]}"
