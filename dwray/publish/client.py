"""The one place that speaks to the W&B client. It runs in the publisher's process, never in a trial or a driver."""

import base64
import json
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import wandb

from dwray.errors import UserError, one_line
from dwray.publish.runs import PublishedRun
from dwray.results.table import Table

INIT_SECONDS, FINISH_SECONDS, ASK_SECONDS = 10.0, 10.0, 10.0
"""The longest that a server may take to take up a run, to take its last rows, and to answer a question."""
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
MOST_ROWS = 10_000
"""Rows of a table that are shown; the artifact has them all."""


class PublishError(UserError):
    """The server did not take something; the message says why."""


def ask_server(base_url: str, key: str) -> str:
    """Ask a server who we are, before anything is sent; returns the user's default entity.

    Raises:
        PublishError: It does not answer in time, or not with a yes.
    """
    query = json.dumps({"query": "query Viewer { viewer { id entity username } }", "operationName": "Viewer"})
    credentials = base64.b64encode(f"api:{key}".encode()).decode()
    request = urllib.request.Request(
        f"{base_url}/graphql",
        data=query.encode(),
        headers={"Content-Type": "application/json", "Authorization": f"Basic {credentials}"},
    )
    try:
        with urllib.request.urlopen(request, timeout=ASK_SECONDS) as answer:
            viewer = (json.load(answer).get("data") or {}).get("viewer")
    except urllib.error.HTTPError as error:
        hint = ": the key is not valid there; set WANDB_API_KEY" if error.code in (401, 403) else ""
        raise PublishError(f"{base_url} answers {error.code} {error.reason}{hint}") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise PublishError(f"{base_url} does not answer ({reason or type(error).__name__})") from error
    if not viewer:
        raise PublishError(f"{base_url} does not know the key; set WANDB_API_KEY")
    return str(viewer.get("entity") or viewer.get("username") or "")


class Client:
    """Replays runs into W&B, or into folders that ``wandb sync`` can send.

    Args:
        folder: Where the client keeps what it writes.
        entity: Whose project it is.
        project: Gets the runs.
        base_url: Of the server.
        key: The user's; None writes folders, and asks no server for anything.
    """

    def __init__(self, folder: Path, *, entity: str, project: str, base_url: str, key: str | None) -> None:
        self.folder, self.entity, self.project, self.key = folder, entity, project, key
        folder.mkdir(parents=True, exist_ok=True)
        wandb.setup(wandb.Settings(**self._settings(), base_url=base_url, api_key=key))
        self._open: dict[str, tuple[wandb.Run, int]] = {}
        """Runs that go on, with the rows that they were told."""

    def _settings(self) -> dict[str, Any]:
        return {
            "mode": "online" if self.key else "offline",
            "root_dir": str(self.folder),
            "init_timeout": INIT_SECONDS,
            "finish_timeout": FINISH_SECONDS,
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
                opened.log({**row, **when}, step=row.get("epoch", row.get("pass")))
            if not run.ended:
                self._open[run.id] = opened, len(steps)
                return
            opened.config.update(dict(run.config), allow_val_change=True)
            opened.summary.update(dict(run.summary))
            opened.finish(exit_code=1 if run.failed else 0)
        except Exception as error:  # the client has many, not all of them its own
            raise PublishError(f"{run.name}: {one_line(error)}") from error

    def _start(self, run: PublishedRun, **more: Any) -> wandb.Run:
        if not self.key:
            self.forget(run.id)
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
            settings=wandb.Settings(**self._settings()),
            **more,
        )
        step = "pass" if run.job_type == "time" else "epoch"
        opened.define_metric(step)
        for section in ("train", "validation", "seconds", "test_time"):
            opened.define_metric(f"{section}/*", step_metric=step)
        return opened

    def forget(self, run_id: str) -> None:
        """Remove what an earlier time wrote of a run offline: it may have been cut off in the middle."""
        for folder in self.folder.glob(f"wandb/offline-run-*-{run_id}"):
            shutil.rmtree(folder)

    def send_tables(self, run: PublishedRun, tables: Sequence[Table], files: Mapping[str, Path]) -> None:
        """The tables of a run, and its records as an artifact, as a run of their own.

        Args:
            run: Their run.
            tables: Each is a ``wandb.Table``.
            files: The artifact's, by name.

        Raises:
            PublishError: The server does not take them.
        """
        try:
            opened = self._start(run)
            opened.log({f"tables/{table.name}": _as_wandb_has_it(table) for table in tables if table.rows})
            artifact = wandb.Artifact(f"records-{run.id}", type="records", metadata=dict(run.config))
            for name, path in files.items():
                artifact.add_file(str(path), name=name)
            opened.log_artifact(artifact)
            opened.finish()
        except Exception as error:  # as above
            raise PublishError(f"{run.name}: {one_line(error)}") from error

    def arrived(self, run: str) -> dict[str, int]:
        """The server's count of rows of each run of a dwray run, by id.

        Raises:
            PublishError: It does not say.
        """
        try:
            api = wandb.Api(api_key=self.key, timeout=int(ASK_SECONDS))
            found = api.runs(f"{self.entity}/{self.project}", filters={"config.run": run}, per_page=200)
            # The count is in every answer, and the client has no other name for it.
            return {each.id: int(each._attrs.get("historyLineCount") or 0) for each in found}
        except Exception as error:  # as above
            raise PublishError(f"the runs could not be read back: {one_line(error)}") from error

    def save_report(self, report: Any, report_id: str) -> tuple[str, str]:
        """Save a report, in the place of the one with that id if there is one; its id and address.

        Raises:
            PublishError: The server does not take it.
        """
        report.id = report_id
        # The package asks the environment for the key and has no other way.
        os.environ["WANDB_API_KEY"] = self.key or ""
        try:
            report.save()
        except Exception as error:  # it raises what its server's answer made it raise
            raise PublishError(f"the report: {one_line(error)}") from error
        finally:
            del os.environ["WANDB_API_KEY"]
        return str(report.id), str(report.url)

    def end_open(self) -> None:
        """End the runs that are open, without a word on what came of them."""
        for opened, _ in self._open.values():
            opened.finish()
        self._open.clear()

    def close(self) -> None:
        """End everything."""
        self.end_open()
        wandb.teardown()


def _as_wandb_has_it(table: Table) -> wandb.Table:
    columns = [column.name for column in table.columns]
    rows = [[_plain(row[name]) for name in columns] for row in table.data()[:MOST_ROWS]]
    return wandb.Table(columns=columns, data=rows, allow_mixed_types=True)


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
