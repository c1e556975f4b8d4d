"""The publisher's process: ``python -m dwray.publish.worker``. It replays a run's Parquet files into W&B.

What to do comes as one line of JSON on standard input, so that the key is in no command line and no environment. While
the input stays open the run goes on, and its records are published as they come. Each step, and the end, is one line of
JSON on standard output; whoever started this process takes silence for a server that hangs.
"""

import json
import os
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dwray.errors import UserError, one_line
from dwray.paths import RunPaths
from dwray.publish.ledger import FAILED, OFFLINE, SENT, Entry, Ledger
from dwray.publish.runs import PublishedRun, published_runs, run_name, tables_run
from dwray.results.records import Records
from dwray.results.tables import make_tables
from dwray.storage import write_atomically

POLL_SECONDS = 5.0
"""Between two looks at the records of a run that goes on."""
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
            entity = entity or ask_server(order.base_url, order.key)
            self.ledger.moved(entity, order.project, order.base_url)
        self.client = Client(
            self.paths.folder, entity=entity, project=order.project, base_url=order.base_url, key=order.key
        )
        self.state = SENT if order.key else OFFLINE
        self._failures = 0
        self._open: set[str] = set()

    def look(self, *, last: bool) -> None:
        """Publish what is new in the records.

        Raises:
            UserError: The server is away, or the records cannot be read.
        """
        records = Records.read(self.paths)
        for run in published_runs(records):
            if self._is_due(run, last=last):
                self._send(run)
                tell(run=run.name)
        self.ledger.write(self.paths.wandb)
        if last:
            self._finish(records)

    def _is_due(self, run: PublishedRun, *, last: bool) -> bool:
        entry = self.ledger.runs.get(run.id)
        if entry and entry.digest == run.digest and self.ledger.state_of(run.id, self.paths.folder)[0] != FAILED:
            return self.order.key is not None and entry.state == OFFLINE and last
        if not run.ended and not last:
            return run.id in self._open or (bool(run.history) and len(self._open) < MOST_OPEN)
        return True

    def _send(self, run: PublishedRun) -> None:
        from dwray.publish.client import PublishError

        entry = Entry(run.name, run.job_type, self.state, run.digest, len(run.history))
        try:
            self.client.replay(run)
            self._failures = 0
        except PublishError as error:
            entry.state, entry.why = FAILED, str(error)
            self._failures += 1
        self.ledger.runs[run.id] = entry
        (self._open.discard if run.ended else self._open.add)(run.id)
        if self._failures >= MOST_FAILURES:
            self.ledger.write(self.paths.wandb)
            raise UserError(entry.why or "the server is away")

    def _finish(self, records: Records) -> None:
        """The tables and the report, once all runs are there."""
        from dwray.publish.client import PublishError

        self.client.end_open()
        tables = make_tables(records)
        files = {path.name: path for path in (self.paths.trials, self.paths.epochs, self.paths.timings)}
        if self.paths.sweep.is_file():
            files["sweep.yaml"] = self.paths.sweep
        files |= {f"tables/{table.name}.parquet": self.paths.table(table.name) for table in tables}
        files = {name: path for name, path in files.items() if path.is_file()}
        run = tables_run(records, files)
        if self._is_due(run, last=True):
            entry = Entry(run.name, run.job_type, self.state, run.digest, 1)
            try:
                self.client.send_tables(run, tables, files)
            except PublishError as error:
                entry.state, entry.why = FAILED, str(error)
            self.ledger.runs[run.id] = entry
            tell(run=run.name)
        if self.order.key:
            self._check_arrival(run_name(records))
        self._report(records)
        self.ledger.write(self.paths.wandb)

    def _check_arrival(self, run: str) -> None:
        """The client says nothing of rows that it lost: the server is asked what it has."""
        there = self.client.arrived(run)
        for run_id, entry in self.ledger.runs.items():
            if entry.state == SENT and there.get(run_id, -1) < entry.rows:
                entry.state = FAILED
                entry.why = f"{there[run_id]} of {entry.rows} rows arrived" if run_id in there else "it did not arrive"

    def _report(self, records: Records) -> None:
        from dwray.publish.layout import build_report, report_spec

        sweep_file = self.paths.sweep.read_text() if self.paths.sweep.is_file() else ""
        tables = make_tables(records)
        spec = report_spec(build_report(records, tables, sweep_file))
        write_atomically(self.paths.wandb_report, spec.encode())
        if self.order.key:
            there = build_report(records, tables, sweep_file, entity=self.client.entity, project=self.client.project)
            self.ledger.report_id, self.ledger.report_url = self.client.save_report(there, self.ledger.report_id)

    def close(self) -> None:
        """Write down what is known, and end the client."""
        self.ledger.write(self.paths.wandb)
        self.client.close()


def publish(order: Order, closed: threading.Event) -> Mapping[str, Any]:
    """Publish a run until all of it is there; what came of it."""
    publishing = Publishing(order)
    try:
        while order.follow and not closed.wait(POLL_SECONDS):
            if publishing.paths.trials.is_file():
                publishing.look(last=False)
        publishing.look(last=True)
    finally:
        publishing.close()
    ledger = publishing.ledger
    failed = next((entry for entry in ledger.runs.values() if entry.state == FAILED), None)
    return {
        "counts": dict(ledger.count()),
        "report": ledger.report_url,
        "project": f"{publishing.client.entity}/{order.project}",
        "why": failed and failed.why,
    }


def main() -> None:
    """Do as the first line of the input says."""
    order = Order(**json.loads(sys.stdin.readline()))
    closed = threading.Event()

    def wait() -> None:
        sys.stdin.read()
        closed.set()

    threading.Thread(target=wait, daemon=True).start()
    try:
        tell(ended=publish(order, closed))
    except (UserError, OSError) as error:
        tell(error=str(error) if isinstance(error, UserError) else one_line(error))
    sys.stdout.flush()
    os._exit(0)  # the client's threads may still wait for a server


if __name__ == "__main__":
    main()
