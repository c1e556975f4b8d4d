"""The publisher's process: ``python -m dwray.publish.worker``. It replays a run's Parquet files into W&B.

What to do comes as one line of JSON on standard input, so that the key is in no command line and no environment. While
the input stays open the run goes on, and its records are published as they come. Each step, and the end, is one line of
JSON on standard output; whoever started this process takes silence for a server that hangs.
"""

import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any

import pyarrow as pa

from dwray.errors import UserError, one_line
from dwray.paths import RunPaths
from dwray.publish.ledger import FAILED, OFFLINE, SENT, TOLD, Entry, Ledger, offline_size
from dwray.publish.runs import PublishedRun, published_runs, records_name, run_name, tables_run
from dwray.results.records import Records
from dwray.results.store import read_parquet
from dwray.results.table import Table
from dwray.storage import write_atomically

POLL_SECONDS = 2.0
"""Between two looks at the records of a run that goes on."""
SHARE = 0.05
"""Of one core's time that the looks may take: the rest belongs to the trials."""
NICENESS = 10
"""Whatever else runs on this machine goes before."""
MOST_OPEN = 32
"""So many runs that go on are told of while they do; the others once they ended."""
MOST_FAILURES = 2
"""After so many failures in a row the server is taken to be away."""


@dataclass(frozen=True)
class Order:
    """What to publish, and where to."""

    folder: str
    entity: str
    project: str
    base_url: str
    key: str | None
    """None writes offline runs."""
    follow: bool
    """The run goes on until the input is closed."""


def tell(**words: Any) -> None:
    """A line for whoever started this process."""
    print(json.dumps(words), flush=True)


class Publishing:
    """One run on its way to one project."""

    def __init__(self, order: Order) -> None:
        from dwray.publish.client import Client, ask_server

        self.order, self.paths = order, RunPaths(Path(order.folder))
        self.ledger = Ledger.read(self.paths.wandb)
        entity = order.entity
        if order.key:
            entity = ask_server(order.base_url, order.key, entity)
            self.ledger.moved(entity, order.project, order.base_url)
            # Before anything is sent: from now on the server may have rows of it.
            self.ledger.write(self.paths.wandb)
        self.client = Client(
            self.paths.folder, entity=entity, project=order.project, base_url=order.base_url, key=order.key
        )
        self._failures = 0
        self._open: set[str] = set()
        self._ended: set[str] = set()
        self._tried: set[str] = set()
        self._in_vain: set[str] = set()
        """What this process could not send: the client takes up no run twice, the next process will."""
        self._seen: tuple[int, ...] = ()
        self._timing, self._asked = False, 0

    def look(self) -> None:
        """Publish what is new in the records of a run that goes on, until it comes to its timings: they are alone.

        Raises:
            UserError: The server is away, or the records cannot be read.
        """
        changed = self._changed()
        if changed and changed != self._seen and not self._is_timing():
            self._seen = changed
            self._publish(Records.read(self.paths), last=False)

    def _is_timing(self) -> bool:
        """Whether the run has come to its timings; asked before each run that is sent, so that at most one disturbs."""
        written = self.paths.trials.stat().st_mtime_ns
        if not self._timing and written != self._asked:
            self._asked = written
            self._timing = "time" in read_parquet(self.paths.trials).column("stage").to_pylist()
        return self._timing

    def _changed(self) -> tuple[int, ...]:
        """When the records were written; nothing before all are there."""
        files = (self.paths.trials, self.paths.epochs, self.paths.timings)
        return tuple(path.stat().st_mtime_ns for path in files) if all(path.is_file() for path in files) else ()

    def complete(self) -> None:
        """Publish all that is there and was not published: runs, tables and report.

        Raises:
            UserError: As :meth:`look`.
        """
        from dwray.publish.layout import published_tables  # needs SciPy, and memory that a sweep's trials may want

        records = Records.read(self.paths)
        self._publish(records, last=True)
        self.client.end_open()
        tables = published_tables(records)
        self._send_tables(records, tables)
        if self.order.key:
            self._check_arrival(run_name(records))
            self.ledger.write(self.paths.wandb)
        self._report(records, tables)
        self.ledger.write(self.paths.wandb)

    def _publish(self, records: Records, *, last: bool) -> None:
        # A trial that has ended may yet be found to be the winner: at the last all are looked at.
        for run in published_runs(records, known=self._in_vain if last else self._in_vain | self._ended):
            if not last and self._is_timing():
                break
            if self._is_due(run, last=last):
                self._send(run, len(run.history), partial(self.client.replay, run))
                (self._open.discard if run.ended else self._open.add)(run.id)
            if run.ended:
                self._ended.add(run.id)
        self.ledger.write(self.paths.wandb)

    def _is_due(self, run: PublishedRun, *, last: bool) -> bool:
        entry = self.ledger.runs.get(run.id)
        if entry and entry.digest == run.digest and not self._is_to_be_sent(run.id, entry):
            return False
        if not run.ended and not last:
            return run.id in self._open or (bool(run.history) and len(self._open) < MOST_OPEN)
        return True

    def _is_to_be_sent(self, run_id: str, entry: Entry) -> bool:
        """Whether a run that has not changed has yet to be sent, for what came of it the last time."""
        if entry.state == OFFLINE:
            return self.order.key is not None or self.ledger.is_gone(run_id, self.paths.folder)
        # What another process told the server, and did not see there, may not have arrived.
        return entry.state == FAILED or (entry.state == TOLD and run_id not in self._tried)

    def _send(self, run: PublishedRun, rows: int, send: Callable[[], None]) -> None:
        """Send a run, and note what came of it.

        Raises:
            UserError: Too many in a row were sent in vain.
        """
        from dwray.publish.client import PublishError

        state = TOLD if self.order.key else OFFLINE
        entry = Entry(run.name, run.job_type, state, run.digest, rows, run.end)
        if state == OFFLINE and not self.ledger.may_be_written(run.id, self.paths.folder):
            why = "has changed since it was sent, and `wandb sync` would repeat its rows: this takes a key"
            raise UserError(f"{run.name} {why}")
        try:
            send()
            self._failures = 0
            if state == OFFLINE and run.ended:
                entry.size = offline_size(run.id, self.paths.folder)
        except PublishError as error:
            entry.state, entry.why = FAILED, str(error)
            self._failures += 1
            self._in_vain.add(run.id)
        self.ledger.runs[run.id] = entry
        self._tried.add(run.id)
        tell(run=run.name)
        if self._failures >= MOST_FAILURES:
            raise UserError(entry.why or "the server is away")

    def _send_tables(self, records: Records, tables: list[Table]) -> None:
        """The tables, and the records as an artifact."""
        from dwray.publish.client import forget, upload_seconds

        files = {path.name: path for path in (self.paths.trials, self.paths.epochs, self.paths.timings)}
        files["sweep.yaml"] = self.paths.sweep
        files |= {f"tables/{table.name}.parquet": self.paths.table(table.name) for table in tables}
        files = {name: path for name, path in files.items() if path.is_file()}
        run = tables_run(records, files)
        for key, entry in list(self.ledger.runs.items()):
            # What another time did not get through, of records that are no more.
            there = self.ledger.state_of(key, self.paths.folder)[0] == SENT
            if entry.job_type == run.job_type and key != run.id and not there:
                forget(self.paths.folder, key)
                del self.ledger.runs[key]
        if self._is_due(run, last=True):
            tell(wait=upload_seconds(files))
            name = records_name(records)
            rows = int(any(table.rows for table in tables))
            self._send(run, rows, lambda: self.client.send_tables(run, name, tables, files))

    def _check_arrival(self, run: str) -> None:
        """The client says nothing of rows that it lost: the server is asked what it has."""
        from dwray.publish.client import forget

        sent = {key: entry for key, entry in self.ledger.runs.items() if entry.state in (TOLD, SENT)}
        missing = self.client.missing(run, sent)
        for key, entry in sent.items():
            if key in missing:
                entry.state, entry.why = FAILED, f"{entry.name}: {missing[key]}"
            else:
                entry.state = SENT
                forget(self.paths.folder, key)  # or `wandb sync` would repeat its rows

    def _report(self, records: Records, tables: list[Table]) -> None:
        from dwray.publish.layout import build_report, report_spec

        sweep_file = self.paths.sweep.read_text() if self.paths.sweep.is_file() else ""
        spec = report_spec(build_report(records, tables, sweep_file))
        write_atomically(self.paths.wandb_report, spec.encode())
        if self.order.key:
            there = build_report(records, tables, sweep_file, entity=self.client.entity, project=self.client.project)
            self.ledger.report_id, self.ledger.report_url = self.client.save_report(there, self.ledger.report_id)


def publish(order: Order, closed: threading.Event) -> Mapping[str, Any]:
    """Publish a run until all of it is there; what came of it.

    Raises:
        UserError: It was given up; the ledger says of each run how far it came.
    """
    publishing = Publishing(order)
    ledger = publishing.ledger
    try:
        pause = POLL_SECONDS
        while order.follow and not closed.wait(pause):
            before = time.process_time()
            publishing.look()
            pause = max(POLL_SECONDS, (time.process_time() - before) / SHARE)
        publishing.complete()
    finally:
        ledger.write(publishing.paths.wandb)
    failed = next((entry for entry in ledger.runs.values() if entry.state == FAILED), None)
    return {
        "counts": dict(ledger.count()),
        "report": ledger.report_url,
        "project": f"{publishing.client.entity}/{order.project}",
        "why": failed and failed.why,
    }


class _NoPandas(MetaPathFinder):
    """Finds that there is no pandas."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        """Look no further."""
        if fullname == "pandas":
            raise ModuleNotFoundError("not wanted", name=fullname)


def _keep_pandas_away() -> None:
    """PyArrow looks for pandas once, at its first array: it takes 40 MB, and nothing here has a use for it."""
    finder = _NoPandas()
    sys.meta_path.insert(0, finder)
    pa.array([0])
    sys.meta_path.remove(finder)


def main() -> None:
    """Do as the first line of the input says."""
    _keep_pandas_away()
    order = Order(**json.loads(sys.stdin.readline()))
    os.nice(NICENESS)
    closed = threading.Event()

    def wait() -> None:
        sys.stdin.read()
        closed.set()

    threading.Thread(target=wait, daemon=True).start()
    try:
        tell(ended=publish(order, closed))
    except UserError as error:
        tell(error=str(error))
    except BaseException as error:
        traceback.print_exc()  # into the log
        tell(error=f"{type(error).__name__}: {one_line(error)} (more in wandb/publisher.log)")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # the client's threads may still wait for a server; its service ends with this process


if __name__ == "__main__":
    main()
