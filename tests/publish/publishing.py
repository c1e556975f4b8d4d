"""Publishing runs to the stand-in, and what must be there then."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from commands import COMMAND, dwray
from expected import assert_told, expected, without_places
from wandb_backend import Run
from wandb_server import WandbServer

from dwray import paper
from dwray.paths import RunPaths
from dwray.publish.runs import METRICS

Rows = list[dict[str, Any]]

MEASURED = Path(__file__).parents[2] / "results" / "corrected-cifar10-reduced"
"""A run of 6 trainings and 8 timings, with the paper beside it: 560 rows and more."""


def a_copy(folder: Path) -> RunPaths:
    """The run in a folder of its own."""
    return RunPaths(Path(shutil.copytree(MEASURED, folder / "run")))


def environment(folder: Path, server: WandbServer | None = None) -> dict[str, str]:
    """Variables for the publisher. Without a server there is no key: not even the one that the user's home may have."""
    return {"HOME": str(folder)} if server is None else server.environment(folder)


def publish(
    paths: RunPaths, server: WandbServer | None = None, *options: str, **variables: str
) -> "subprocess.CompletedProcess[str]":
    """``dwray publish`` of a run, as a user does it."""
    folder = paths.folder.parent
    return dwray("publish", str(paths.folder), *options, folder=folder, **environment(folder, server) | variables)


@contextlib.contextmanager
def publishing(paths: RunPaths, server: WandbServer | None = None) -> Iterator["subprocess.Popen[str]"]:
    """The same while it goes on."""
    folder = paths.folder.parent
    with subprocess.Popen(
        [*COMMAND, "publish", str(paths.folder)],
        cwd=folder,
        env={**os.environ, **environment(folder, server)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def worker_of(folder: Path) -> int | None:
    """The publisher's process that works on a run in a folder: its client keeps what it writes there."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended, or is another's
            if b"dwray.publish.worker" in (process / "cmdline").read_bytes() and _keeps_in(process, folder):
                return int(process.name)
    return None


def _keeps_in(process: Path, folder: Path) -> bool:
    return f"WANDB_CACHE_DIR={folder}/".encode() in (process / "environ").read_bytes()


def kill_worker(folder: Path) -> None:
    worker = worker_of(folder)
    assert worker is not None
    os.kill(worker, signal.SIGKILL)


def measured_rows(paths: RunPaths) -> dict[str, Rows]:
    """The rows that each trial must have, by its name: straight from the Parquet files."""
    epochs, timings = (pq.read_table(file).to_pylist() for file in (paths.epochs, paths.timings))
    found: dict[str, Rows] = {}
    for trial in pq.read_table(paths.trials).to_pylist():
        passes: dict[int, dict[str, Any]] = {}
        for row in timings:
            if row["trial_id"] == trial["trial_id"]:
                number = row["pass_number"]
                step = passes.setdefault(number, {"_step": number, "pass": number})
                step[f"test_time/{row['contender']}"] = row["seconds"]
        own = [row for row in epochs if row["trial_id"] == trial["trial_id"]]
        found[trial["trial"]] = [*map(_as_row, own), *passes.values()]
    return found


def _as_row(epoch: Mapping[str, Any]) -> dict[str, Any]:
    row = {"_step": epoch["epoch"], "epoch": epoch["epoch"]}
    row |= {name: epoch[column] for column, name in METRICS.items() if epoch.get(column) is not None}
    return row | ({"_timestamp": epoch["reported_at"].timestamp()} if epoch.get("reported_at") else {})


def notebook_rows() -> dict[str, Rows]:
    return {
        f"{network} notebook {dataset}": [_as_row(epoch) for epoch in paper.curve(dataset, network)]
        for dataset in ("cifar10", "cifar100")
        for network in ("ConvNet", "DepthwiseConvNet")
    }


def assert_rows(found: Rows, expected: Rows, *, repeated: bool = False) -> None:
    """The same rows with the same values, beside what the client adds.

    Args:
        found: What the server has.
        expected: What the Parquet files say.
        repeated: Epochs were trained again after a failure: a row that was there stays, with its own time.
    """
    assert [row["_step"] for row in found] == [row["_step"] for row in expected]
    for row, wanted in zip(found, expected, strict=True):
        added = {"_runtime"} if "_timestamp" in wanted else {"_runtime", "_timestamp"}
        if repeated:
            added |= {
                "_timestamp",
                "train/images_per_second",
                *(name for name in wanted if name.startswith("seconds/")),
            }
        same = {name: value for name, value in wanted.items() if name not in added}
        assert {name: value for name, value in row.items() if name not in added} == same


def by_name(server: WandbServer) -> dict[str, Run]:
    return {run.name: run for run in server.runs.values()}


def files_of(paths: RunPaths) -> dict[str, Path]:
    """The files of the artifact, by their names there."""
    files = {path.name: path for path in (paths.trials, paths.epochs, paths.timings, paths.sweep) if path.is_file()}
    return files | {f"tables/{path.name}": path for path in (paths.folder / "tables").glob("*.parquet")}


def assert_all_there(server: WandbServer, paths: RunPaths, *, with_paper: bool = False, repeated: bool = False) -> None:
    """Every row of every trial and notebook, once, with what was told of it; the files' bytes; one report."""
    runs = by_name(server)
    assert len(runs) == len(server.runs)
    _assert_runs(runs, paths, with_paper=with_paper, repeated=repeated)
    [records] = [artifact for artifact in server.artifacts if artifact.type == "records"]
    assert records.committed
    assert records.files == {name: path.read_bytes() for name, path in files_of(paths).items()}
    [report] = server.reports.values()
    assert without_places(report.spec) == without_places(json.loads(paths.wandb_report.read_text()))
    assert server.unknown == []


def _assert_runs(runs: Mapping[str, Run], paths: RunPaths, *, with_paper: bool = False, repeated: bool = False) -> None:
    rows = measured_rows(paths) | (notebook_rows() if with_paper else {})
    wanted = expected(paths, files_of(paths), with_paper=with_paper)
    assert set(runs) == set(wanted) == {*rows, "tables"}
    for name, run in runs.items():
        assert_told(run, wanted[name])
        if name in rows:
            assert_rows(run.history, rows[name], repeated=repeated)
    assert len(runs["tables"].history) == 1


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def offline_folders(paths: RunPaths) -> list[Path]:
    return sorted(paths.wandb_folder.glob("offline-run-2*"))


def inspect(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """What an offline run says, by the type of its records."""
    written = subprocess.run(
        [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(folder)],
        env={**os.environ, "WANDB_ERROR_REPORTING": "false", "HOME": str(folder.parent)},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    found: dict[str, list[dict[str, Any]]] = {}
    for line in map(json.loads, written.splitlines()):
        found.setdefault(line["type"], []).append(line[line["type"]])
    return found


def as_run(said: Mapping[str, Rows]) -> Run:
    """An offline run as a server would have it, but for its files."""
    [run], [end] = said["run"], said["exit"]
    updates = [run["config"]["update"], *(each.get("update", {}) for each in said.get("config", []))]
    config = {name: {"value": value} for update in updates for name, value in update.items()}
    summary = {name: value for each in said.get("summary", []) for name, value in each.get("update", {}).items()}
    rows = [json.dumps(row["item"]) for row in said.get("history", [])]
    lines = {"wandb-summary.json": {0: json.dumps(summary)}, "wandb-history.jsonl": dict(enumerate(rows))}
    return Run(
        "",
        run["project"],
        run["run_id"],
        run["display_name"],
        run["run_group"],
        run["job_type"],
        run["tags"],
        config_entries=config,
        lines=lines,
        exit_code=end["exit_code"],
    )


def inspect_all(paths: RunPaths) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Every offline run, by its name."""
    with ThreadPoolExecutor(2) as two:
        said = list(two.map(inspect, offline_folders(paths)))
    found = {each["run"][0]["display_name"]: each for each in said}
    assert len(found) == len(said)
    return found


def assert_all_written(paths: RunPaths, *, with_paper: bool = False) -> dict[str, Run]:
    """The same of what was written offline, as the client itself reads it; the runs by their names."""
    runs = {name: as_run(said) for name, said in inspect_all(paths).items()}
    _assert_runs(runs, paths, with_paper=with_paper)
    return runs
