"""Replays a run's Parquet files into W&B: what is due, in which order, and what came of it."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from dwray.errors import UserError
from dwray.paths import RunPaths
from dwray.publish.ledger import FAILED, OFFLINE, SENT, TOLD, Entry, Ledger, offline_size
from dwray.publish.order import Order, tell
from dwray.publish.runs import REPORT, PublishedRun, published_runs, records_name, run_name, tables_run
from dwray.publish.server import PublishError, ask_server
from dwray.results.records import Records
from dwray.results.store import read_parquet
from dwray.results.table import Table
from dwray.storage import write_atomically

MOST_OPEN = 32
"""So many runs that go on are told of while they do; the others once they ended."""
MOST_FAILURES = 2
"""After so many failures in a row the server is taken to be away."""
LOOKS, BETWEEN_LOOKS_SECONDS = 3, 2.0
"""So often is a server asked for rows that it does not show yet: it may have taken them, and count them later."""
NOTE_SECONDS = 5.0
"""What was sent is written into the ledger at least so often, in case this process is killed."""
COMPUTE_SECONDS = 30.0
"""Reading records, making tables or a report takes less, and no server is at fault meanwhile."""


class Publishing:
    """One run on its way to one project."""

    def __init__(self, order: Order) -> None:
        from dwray.publish.client import Client

        self.order, self.paths = order, RunPaths(Path(order.folder))
        self.ledger = Ledger.read(self.paths.wandb)
        self._noted = time.monotonic()
        entity = self._ask()
        self._cut_off = self.ledger.cut_off
        if order.key:
            self.ledger.moved(entity, order.project, order.base_url)
            self._cut_off = self.ledger.cut_off
            # Before anything is sent: from now on the server may have rows of it.
            self.ledger.cut_off = True
            self._note()
        self.client = Client(
            self.paths.folder,
            entity=entity,
            project=order.project,
            base_url=order.base_url,
            key=order.key,
            heard=lambda: tell(heard=True),
        )
        self._last = False
        self.refused: str | None = None
        """Why something was not written offline."""
        self._failures = 0
        self._open: set[str] = set()
        self._ended: set[str] = set()
        self._tried: set[str] = set()
        self._in_vain: set[str] = set()
        """What this process could not send: the client takes up no run twice, the next process will."""
        self._seen: tuple[int, ...] = ()
        self._timing, self._asked = False, 0

    def _ask(self) -> str:
        """Ask the server, if there is one, whether it is there and takes the key; returns whose project it is."""
        order = self.order
        return ask_server(order.base_url, order.key, order.entity) if order.key else order.entity

    def _note(self) -> None:
        """Write the ledger."""
        self.ledger.write(self.paths.wandb)
        self._noted = time.monotonic()

    def close(self) -> None:
        """Note how far it came; all that was sent has its entry."""
        self.ledger.cut_off = self._cut_off
        self._note()

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

        tell(wait=COMPUTE_SECONDS)
        self._last = True
        records = Records.read(self.paths)
        tell(read="records")
        self._publish(records, last=True)
        self._end_open()
        tell(wait=COMPUTE_SECONDS)
        tables = published_tables(records)
        tell(made="tables")
        self._send_tables(records, tables)
        if self.order.key:
            self._cut_off = False  # whatever another time may have sent has its entry now
            self._check_arrival(run_name(records))
            self._note()
        self._report(records, tables)

    def _publish(self, records: Records, *, last: bool) -> None:
        there = set(self._in_vain)
        # A trial that has ended may yet be found to be the winner: at the last all are looked at.
        for run in published_runs(records, known=self._in_vain if last else self._in_vain | self._ended):
            there.add(run.id)
            if not last and self._is_timing():
                break
            if self._is_due(run, last=last):
                self._send(run, len(run.history), partial(self.client.replay, run))
            if run.ended:
                self._ended.add(run.id)
        if last:
            self._drop(lambda key, entry: entry.job_type != REPORT and key not in there)
        self._note()

    def _drop(self, is_gone: Callable[[str, Entry], bool]) -> None:
        """Forget what another time did not get through, of trials and records that are no more."""
        from dwray.publish.client import forget

        for key, entry in list(self.ledger.runs.items()):
            if is_gone(key, entry) and self.ledger.state_of(key, self.paths.folder)[0] != SENT:
                forget(self.paths.folder, key)
                del self.ledger.runs[key]

    def _end_open(self) -> None:
        for run_id in sorted(self._open - self._in_vain):
            entry = self.ledger.runs[run_id]
            self._try(run_id, entry, partial(self.client.end, run_id))
            entry.open = False
            self._measure(run_id, entry)
        self._open.clear()

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
            cut_short = entry.open and run_id not in self._open
            return self.order.key is not None or cut_short or self.ledger.is_gone(run_id, self.paths.folder)
        # What another process told the server, and did not see there, may not have arrived.
        return entry.state == FAILED or (entry.state == TOLD and run_id not in self._tried)

    def _send(self, run: PublishedRun, rows: int, send: Callable[[], None]) -> None:
        """Send a run, and note what came of it.

        Raises:
            UserError: Too many in a row were sent in vain.
        """
        if not self.order.key and not self.ledger.may_be_written(run.id, self.paths.folder):
            why = "was told to a server before, and `wandb sync` would repeat its rows: this takes a key"
            self.refused = self.refused or f"{run.name} {why}"
            return
        state = TOLD if self.order.key else OFFLINE
        entry = Entry(run.name, run.job_type, state, run.digest, rows, run.end, open=not run.ended)
        self.ledger.runs[run.id] = entry
        (self._open.discard if run.ended else self._open.add)(run.id)
        self._try(run.id, entry, send)

    def _try(self, run_id: str, entry: Entry, send: Callable[[], None]) -> None:
        self._tried.add(run_id)
        try:
            send()
        except PublishError as error:
            entry.state, entry.why = FAILED, str(error)
            self._in_vain.add(run_id)
            self._count(error)
        else:
            self._measure(run_id, entry)
            self._hear(entry.name)
        if time.monotonic() - self._noted > NOTE_SECONDS:
            self._note()

    def _measure(self, run_id: str, entry: Entry) -> None:
        """Note the size of an offline file that has its end: if it is ever less, the file is damaged."""
        if entry.state == OFFLINE and not entry.open:
            entry.size = offline_size(run_id, self.paths.folder)

    def _hear(self, name: str) -> None:
        """Say that a run was sent, if the server answers: without that its client ends a run as if all were well."""
        try:
            if self._last:  # while the run goes on, there is time for a server that is away for a moment
                self._ask()
        except PublishError as error:
            self._count(error)
        else:
            self._failures = 0
            tell(run=name)

    def _count(self, error: UserError) -> None:
        """Count what was sent in vain."""
        self._failures += 1
        if self._failures >= MOST_FAILURES:
            raise UserError(str(error)) from error

    def _send_tables(self, records: Records, tables: list[Table]) -> None:
        """The tables, and the records as an artifact."""
        from dwray.publish.client import upload_seconds

        files = {path.name: path for path in (self.paths.trials, self.paths.epochs, self.paths.timings)}
        files["sweep.yaml"] = self.paths.sweep
        files |= {f"tables/{table.name}.parquet": self.paths.table(table.name) for table in tables}
        files = {name: path for name, path in files.items() if path.is_file()}
        run = tables_run(records, files)
        self._drop(lambda key, entry: entry.job_type == REPORT and key != run.id)
        if self._is_due(run, last=True):
            tell(wait=upload_seconds(files.values()))
            name = records_name(records)
            rows = int(any(table.rows for table in tables))
            self._send(run, rows, lambda: self.client.send_tables(run, name, tables, files))

    def _check_arrival(self, run: str) -> None:
        """The client says nothing of rows that it lost: the server is asked what it has."""
        from dwray.publish.client import forget

        sent = {key: entry for key, entry in self.ledger.runs.items() if entry.state in (TOLD, SENT)}
        missing = self.client.missing(run, sent)
        for _ in range(LOOKS - 1):
            tell(asked=run)
            if not missing:
                break
            time.sleep(BETWEEN_LOOKS_SECONDS)
            missing = self.client.missing(run, sent)
        for key, entry in sent.items():
            if key in missing:
                entry.state, entry.why = FAILED, f"{entry.name}: {missing[key]}"
            else:
                entry.state = SENT
                forget(self.paths.folder, key)  # or `wandb sync` would repeat its rows

    def _report(self, records: Records, tables: list[Table]) -> None:
        from dwray.publish.layout import build_report, report_spec

        tell(wait=COMPUTE_SECONDS)
        sweep_file = self.paths.sweep.read_text() if self.paths.sweep.is_file() else ""
        spec = report_spec(build_report(records, tables, sweep_file))
        write_atomically(self.paths.wandb_report, spec.encode())
        if self.order.key:
            there = build_report(records, tables, sweep_file, entity=self.client.entity, project=self.client.project)
            tell(made="report")
            ledger, client = self.ledger, self.client
            ledger.report_id, ledger.report_url = client.save_report(there, ledger.report_id, run_name(records))
