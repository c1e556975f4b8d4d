"""The one place that speaks to the W&B client. It runs in the publisher's process, never in a trial or a driver."""

import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import wandb
from wandb import util

from dwray.errors import one_line
from dwray.publish.ledger import Entry
from dwray.publish.runs import PublishedRun, published_id
from dwray.publish.server import ASK_SECONDS, PublishError, ask
from dwray.results.table import Table

INIT_SECONDS, FINISH_SECONDS = 10.0, 10.0
"""The longest that a server may take to take up a run, and to take its last rows."""
RETRIES = {
    f"x_{what}_{name}": value
    for what in ("graphql", "file_stream", "file_transfer")
    for name, value in {
        "retry_max": 2,
        "retry_wait_min_seconds": 0.5,
        "retry_wait_max_seconds": 2,
        "timeout_seconds": 10,
    }.items()
}
"""Without these an artifact on its way to a server that hangs takes minutes, whatever is said of the end of a run."""
SLOWEST_BYTES_A_SECOND = 200_000
"""A connection that takes files more slowly is taken to hang."""
SAVES = 2
"""So often a report is tried to be saved."""
_VIEWS = """query ProjectViews($entityName: String!, $projectName: String!, $name: String) {
    project(name: $projectName, entityName: $entityName) {
        allViews(viewType: "runs", viewName: $name) { edges { node { id name } } }
    }
}"""
MOST_ROWS = 10_000
"""Rows of a table that are shown; the artifact has them all."""


util.pd_available = False
"""Otherwise the client imports pandas, 40 MB, to ask of each value whether it is a DataFrame: none is."""


class Client:
    """Replays runs into W&B, or into folders that ``wandb sync`` can send.

    Args:
        folder: Where the client keeps what it writes.
        entity: Whose project it is.
        project: Gets the runs.
        base_url: Of the server.
        key: The user's; None writes folders, and asks no server for anything.
        heard: Called when the server has answered, and more of the same run or the tables is to come.
    """

    def __init__(
        self, folder: Path, *, entity: str, project: str, base_url: str, key: str | None, heard: Callable[[], None]
    ) -> None:
        self.folder, self.entity, self.project, self.key = folder, entity, project, key
        self._base_url, self._heard = base_url, heard
        folder.mkdir(parents=True, exist_ok=True)
        wandb.setup(wandb.Settings(**self._settings(), base_url=base_url, api_key=key))
        self._open: dict[str, tuple[wandb.Run, int]] = {}
        """Runs that go on, with the rows that they were told."""

    def _settings(self, upload_seconds: float = ASK_SECONDS) -> dict[str, Any]:
        """Of the client.

        Args:
            upload_seconds: The longest that a file may take.
        """
        return {
            "mode": "online" if self.key else "offline",
            "root_dir": str(self.folder),
            "init_timeout": INIT_SECONDS,
            "finish_timeout": max(FINISH_SECONDS, upload_seconds),
            "finish_timeout_raises": True,
            "x_transaction_log_flush_interval": 1,
            # Nothing about this machine or the user's code is sent beside what a run's records say.
            "x_disable_stats": True,
            "x_disable_meta": True,
            "x_disable_machine_info": True,
            "x_save_requirements": False,
            "disable_git": True,
            "disable_code": True,
            "console": "off",
            "silent": True,
            **RETRIES,
            "x_file_transfer_timeout_seconds": upload_seconds,
        }

    def replay(self, run: PublishedRun) -> None:
        """Tell all that is known of a run and was not told; one that goes on stays open.

        Rows that the server has from an earlier time are not added again: each has its step.

        Raises:
            PublishError: The server does not take it.
        """
        try:
            opened, told = self._open.pop(run.id) if run.id in self._open else (self._start(run), 0)
            steps = list(zip(run.history, run.timestamps, strict=True))
            for row, moment in steps[told:]:
                when = {"_timestamp": moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()} if moment else {}
                # Committed, or the client would keep it back until the next row comes.
                opened.log({**row, **when}, step=row.get("epoch", row.get("pass")), commit=True)
            if not run.ended:
                self._open[run.id] = opened, len(steps)
                return
            if set(opened.tags or ()) != set(run.tags):  # it was told while it went on
                opened.tags = run.tags
            opened.config.update(dict(run.config), allow_val_change=True)
            opened.summary.update(dict(run.summary))
            self._end(opened, failed=run.failed)
        except Exception as error:  # the client has many, not all of them its own
            raise PublishError(f"{run.name}: {one_line(error)}") from error

    def _start(self, run: PublishedRun, *, upload_seconds: float = ASK_SECONDS) -> wandb.Run:
        if not self.key:
            forget(self.folder, run.id)
        opened = wandb.init(
            entity=self.entity or None,
            project=self.project,
            id=run.id,
            name=run.name,
            group=run.group,
            job_type=run.job_type,
            tags=list(run.tags),
            config=dict(run.config),
            resume="allow" if self.key else None,
            reinit="create_new",
            settings=wandb.Settings(**self._settings(upload_seconds)),
        )
        self._heard()
        step = "pass" if run.job_type == "time" else "epoch"
        opened.define_metric(step)
        for section in ("train", "validation", "seconds", "test_time"):
            opened.define_metric(f"{section}/*", step_metric=step)
        return opened

    def _end(self, opened: wandb.Run, *, failed: bool) -> None:
        """End a run; of one that was sent nothing is kept here, where ``wandb sync`` could send it once more."""
        opened.finish(exit_code=1 if failed else 0)
        if self.key:
            shutil.rmtree(Path(opened.dir).parent, ignore_errors=True)

    def send_tables(self, run: PublishedRun, name: str, tables: Sequence[Table], files: Mapping[str, Path]) -> None:
        """The tables of a run, and its records as an artifact, as a run of their own.

        Args:
            run: Their run.
            name: Of the artifact.
            tables: Each is a ``wandb.Table``.
            files: The artifact's, by name.

        Raises:
            PublishError: The server does not take them.
        """
        seconds = ASK_SECONDS + upload_seconds(files.values())
        try:
            opened = self._start(run, upload_seconds=seconds)
            shown = {f"tables/{table.name}": _as_wandb_has_it(table) for table in tables if table.rows}
            # A step of its own: told again, it is no other row.
            if shown:
                opened.log(shown, step=0)
            artifact = wandb.Artifact(name, type="records", metadata=dict(run.config))
            for inside, path in files.items():
                artifact.add_file(str(path), name=inside)
            opened.log_artifact(artifact)
            if self.key:
                artifact.wait(timeout=int(seconds))  # the end of a run says nothing of what became of it
            self._heard()
            self._end(opened, failed=False)
        except Exception as error:  # as above
            raise PublishError(f"{run.name}: {one_line(error)}") from error

    def missing(self, run: str, sent: Mapping[str, Entry]) -> dict[str, str]:
        """What of the runs has not arrived, by id: the client says nothing of rows that it lost.

        Args:
            run: The dwray run.
            sent: What should be there, by id.

        Raises:
            PublishError: The server does not say.
        """
        there = self._there(run)
        return {key: why for key, entry in sent.items() if (why := _lacks(entry, there.get(key)))}

    def _there(self, run: str) -> dict[str, tuple[str, int]]:
        """The state and the number of rows of all that the server has of a dwray run, by id."""
        try:
            api = wandb.Api(api_key=self.key, timeout=int(ASK_SECONDS))
            found = api.runs(f"{self.entity}/{self.project}", filters={"config.run": run}, per_page=200)
            # The count is in every answer, and the client has no other name for it.
            return {each.id: (each.state, int(each._attrs.get("historyLineCount") or 0)) for each in found}
        except Exception as error:  # as above
            raise PublishError(f"the runs could not be read back: {one_line(error)}") from error

    def save_report(self, report: Any, report_id: str, run: str) -> tuple[str, str]:
        """Save a report, in the place of the one that is there; its id and address.

        Args:
            report: Of a dwray run.
            report_id: Of the one that is there; "" if that is not known, and the server is asked.
            run: The dwray run.

        Raises:
            PublishError: The server does not take it.
        """
        # The package asks the environment for the key and has no other way.
        os.environ["WANDB_API_KEY"] = self.key or ""
        try:
            model = report._to_model()  # as for its specification
            for more in reversed(range(SAVES)):
                try:
                    report.id = self._save(model, report_id, published_id(run)[:12])
                    break
                except PublishError as error:
                    if not more:
                        raise PublishError(f"the report: {error}") from error
            return str(report.id), str(report.url)
        except PublishError:
            raise
        except Exception as error:  # as above
            raise PublishError(f"the report: {one_line(error)}") from error
        finally:
            del os.environ["WANDB_API_KEY"]

    def _save(self, model: Any, report_id: str, name: str) -> str:
        """Save a report under a name of its own, and at once: the package draws its names, and repeats what is lost."""
        from wandb_workspaces.reports.v2 import gql  # much memory, which the trials of a sweep may want until then

        there = {"entityName": self.entity, "projectName": self.project}
        if not report_id:
            views = ask(self._base_url, self.key or "", _VIEWS, **there, name=name)["project"]["allViews"]["edges"]
            report_id = next((view["node"]["id"] for view in views if view["node"]["name"] == name), "")
        saved = ask(
            self._base_url,
            self.key or "",
            gql.upsert_view,
            id=report_id or None,
            name=name,
            **there,
            displayName=model.display_name,
            description=model.description,
            type="runs",
            spec=model.spec.model_dump_json(by_alias=True, exclude_none=True),
        )
        return str(saved["upsertView"]["view"]["id"])

    def end(self, run_id: str) -> None:
        """End a run that is open: nothing more will come of it now.

        Raises:
            PublishError: The server does not take it.
        """
        opened, _ = self._open.pop(run_id)
        try:
            self._end(opened, failed=False)
        except Exception as error:  # as above
            raise PublishError(f"{opened.name}: {one_line(error)}") from error


def upload_seconds(files: Iterable[Path]) -> float:
    """The longest that the bytes of files may take to the server, beside its answers."""
    return sum(path.stat().st_size for path in files) / SLOWEST_BYTES_A_SECOND


def forget(folder: Path, run_id: str) -> None:
    """Remove what was written of a run offline.

    Args:
        folder: The dwray run's.
        run_id: Of the W&B run.
    """
    for written in folder.glob(f"wandb/offline-run-*-{run_id}"):
        shutil.rmtree(written, ignore_errors=True)


def _lacks(entry: Entry, there: tuple[str, int] | None) -> str | None:
    """What a run lacks at the server, which has this state and so many rows of it."""
    if there is None:
        return "it did not arrive"
    state, rows = there
    if rows != entry.rows:
        return f"it has {rows} rows there, not {entry.rows}"
    return None if state == entry.end else f"its end did not arrive: it is {state} there, not {entry.end}"


def _as_wandb_has_it(table: Table) -> wandb.Table:
    columns = [column.name for column in table.columns]
    rows = [[_plain(row[name]) for name in columns] for row in table.data()[:MOST_ROWS]]
    return wandb.Table(columns=columns, data=rows, allow_mixed_types=True)


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
