"""``dwray publish`` with the real W&B client: offline, online to a stand-in, and when that fails."""

import json
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from processes import wait_until
from publishing import (
    a_copy,
    assert_all_there,
    assert_all_written,
    assert_rows,
    by_name,
    contents,
    kill_worker,
    measured_rows,
    notebook_rows,
    offline_folders,
    publish,
    publishing,
)
from records import make_run, make_searched_run
from wandb_backend import Run
from wandb_server import KEY, Fault, WandbServer, serve

from dwray.paths import RunPaths
from dwray.publish.ledger import Ledger
from dwray.publish.process import STALL_SECONDS
from dwray.results.crossings import crossings_table
from dwray.results.records import Records
from dwray.results.schema import TRIALS, to_table
from dwray.results.store import read_parquet, write_parquet

pytestmark = [pytest.mark.slow, pytest.mark.client_contract]


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> RunPaths:
    """A run that was published without a key: the first time its publisher was killed in the middle."""
    paths = a_copy(tmp_path_factory.mktemp("offline"))
    with publishing(paths) as process:
        wait_until(lambda: len(offline_folders(paths)) > 3)
        kill_worker(paths.folder)
        _, error = process.communicate(timeout=60)
    assert process.returncode == 1
    assert error.splitlines() == [
        f"W&B: not all was sent: its process was ended; to send the rest: dwray publish {paths.folder}"
    ]
    done = publish(paths)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        f"W&B: 19 runs written offline to {paths.wandb_folder}, the report to wandb-report.json; "
        f"to send them: set WANDB_API_KEY, then dwray publish {paths.folder}"
    ]
    return paths


def test_what_is_written_offline_is_the_parquet_row_by_row(offline: RunPaths) -> None:
    assert sum(map(len, notebook_rows().values())) == 470
    runs = assert_all_written(offline, with_paper=True)
    assert {run.exit_code for run in runs.values()} == {0}
    assert all("_timestamp" in row for row in measured_rows(offline)["ConvNet seed=1"])
    assert json.loads(offline.wandb_report.read_text())["blocks"]


def test_published_offline_again_nothing_changes(offline: RunPaths) -> None:
    written = {folder: contents(folder) for folder in offline_folders(offline)}
    report, ledger = offline.wandb_report.read_bytes(), offline.wandb.read_bytes()
    assert publish(offline).returncode == 0
    assert {folder: contents(folder) for folder in offline_folders(offline)} == written
    assert offline.wandb_report.read_bytes() == report
    assert offline.wandb.read_bytes() == ledger


def test_what_was_written_offline_is_sent_once_there_is_a_key(offline: RunPaths, tmp_path: Path) -> None:
    paths = RunPaths(Path(shutil.copytree(offline.folder, tmp_path / "run", symlinks=True)))
    with serve() as server:
        done = publish(paths, server)
        assert (done.returncode, done.stderr) == (0, "")
        assert_all_there(server, paths, with_paper=True)
    assert offline_folders(paths) == []  # `wandb sync` would send them once more
    assert {entry.state for entry in Ledger.read(paths.wandb).runs.values()} == {"sent"}


def test_the_candidates_of_a_search_are_published_with_their_epochs(tmp_path: Path) -> None:
    paths = make_searched_run(tmp_path)
    assert publish(paths).returncode == 0
    runs = assert_all_written(paths)
    assert {len(run.history) for name, run in runs.items() if name != "tables"} == {2}
    with serve() as server:
        done = publish(paths, server)
        assert (done.returncode, done.stderr) == (0, "")
        assert_all_there(server, paths)
        runs = by_name(server)
        assert {run.job_type for name, run in runs.items() if name != "tables"} == {"search"}
        won = runs["B initial_lr=0.2 weight_decay=0.0"]
        assert (won.config["axis"], won.config["winner"], won.config["initial_lr"]) == ("initial_lr", True, 0.2)
        assert won.summary["validation_accuracy_percent"] == 70.0


@pytest.fixture(scope="module")
def online(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[WandbServer, RunPaths]]:
    """A run that was published to a server: the first time its publisher was killed in the middle."""
    paths = a_copy(tmp_path_factory.mktemp("online"))
    with serve() as server:
        with publishing(paths, server) as process:
            wait_until(lambda: sum(len(run.history) for run in list(server.runs.values())) > 15)
            kill_worker(paths.folder)
            _, error = process.communicate(timeout=60)
        assert (process.returncode, error.count("\n")) == (1, 1)
        assert len(server.runs) < 10
        done = publish(paths, server)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(f"W&B: 19 runs in testers/dwray; report: {server.url}/testers/dwray/reports/")
        yield server, paths


def test_all_arrives(online: tuple[WandbServer, RunPaths]) -> None:
    server, paths = online
    assert_all_there(server, paths, with_paper=True)
    runs = by_name(server)
    trained = runs["ConvNet seed=1"]
    assert (trained.group, trained.job_type, trained.state) == ("paper-cifar10 ConvNet", "train", "finished")
    assert {"ConvNet", "completed"} < set(trained.tags)
    [trial] = [row for row in pq.read_table(paths.trials).to_pylist() if row["trial"] == "ConvNet seed=1"]
    for name in ("seed", "epochs", "batch_size", "initial_lr", "lr_decay", "weight_decay", "network", "parameters"):
        assert trained.config[name] == trial[name]
    for name in ("test_accuracy_percent", "validation_accuracy_percent", "seconds", "status"):
        assert trained.summary[name] == trial[name]
    notebook = runs["DepthwiseConvNet notebook cifar10"]
    assert (notebook.job_type, notebook.group) == ("paper", "paper-cifar10 DepthwiseConvNet")
    shown = tables_of(runs["tables"])
    kept = {path.stem: pq.read_table(path) for path in (paths.folder / "tables").glob("*.parquet")}
    assert set(shown) == {*(name for name, table in kept.items() if len(table)), "crossings"}
    for name, table in kept.items():
        if len(table):
            assert shown[name] == {"columns": table.column_names, "data": as_json(table.to_pylist())}
    crossings = crossings_table(Records.read(paths)).data()
    assert [row["where"] for row in crossings][1] == "between 4 and 256 (about 10)"
    assert shown["crossings"] == {"columns": list(crossings[0]), "data": as_json(crossings)}
    [report] = server.reports.values()
    assert report.title == "dwray paper-cifar10: 20261123-135344"
    assert {"panel-grid", "markdown-block"} <= {block["type"] for block in report.spec["blocks"]}
    [records] = [artifact.name.rpartition("/")[2] for artifact in server.artifacts if artifact.type == "records"]
    assert f"the artifact `{records}` in its latest version" in json.dumps(report.spec)


def tables_of(run: Run) -> dict[str, dict[str, list[Any]]]:
    """The tables that a run has, by their names."""
    files = {name: json.loads(file) for name, file in run.files.items() if name.startswith("media/table/tables/")}
    return {
        name.split("/")[-1].rsplit("_", 2)[0]: {part: table[part] for part in ("columns", "data")}
        for name, table in files.items()
    }


def as_json(rows: Iterable[Mapping[str, Any]]) -> list[list[Any]]:
    return list(json.loads(json.dumps([list(row.values()) for row in rows], default=datetime.isoformat)))


def test_the_key_is_in_no_file_of_the_run(online: tuple[WandbServer, RunPaths]) -> None:
    written = [path for path in online[1].folder.parent.rglob("*") if path.is_file()]
    assert online[1].wandb in written
    assert [path for path in written if KEY.encode() in path.read_bytes()] == []


def test_published_twice_is_published_once_and_a_change_sends_what_is_new(
    online: tuple[WandbServer, RunPaths],
) -> None:
    server, paths = online
    del server.requests[:]
    assert publish(paths, server).returncode == 0
    assert_all_there(server, paths, with_paper=True)
    asked = set(server.requests)
    viewing = {"Viewer", "GetViewer", "GetDefaultEntity"}
    assert asked - viewing == {"Runs", "ProjectInternalId", "upsertView"}
    assert [report.saves for report in server.reports.values()] == [2]

    table = read_parquet(paths.trials, TRIALS)
    rows = table.to_pylist()
    rows[0]["test_accuracy_percent"] = 12.5
    identity = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
    write_parquet(paths.trials, to_table(TRIALS, rows, identity))
    del server.requests[:]
    assert publish(paths, server).returncode == 0
    changed = by_name(server)[rows[0]["trial"]]
    assert changed.summary["test_accuracy_percent"] == 12.5
    assert_rows(changed.history, measured_rows(paths)[rows[0]["trial"]])
    # One trial, and the run of the tables; the records are another version of the same artifact.
    assert server.requests.count("RunResumeStatus") == 2
    assert len({artifact.name for artifact in server.artifacts if artifact.type == "records"}) == 1
    assert len([artifact for artifact in server.artifacts if artifact.type == "records"]) == 2
    assert [report.saves for report in server.reports.values()] == [3]


def test_a_trial_that_changed_after_it_was_sent_is_not_written_offline(
    online: tuple[WandbServer, RunPaths], tmp_path: Path
) -> None:
    """``wandb sync`` of it would repeat its rows."""
    paths = RunPaths(Path(shutil.copytree(online[1].folder, tmp_path / "run", symlinks=True)))
    ledger = Ledger.read(paths.wandb)
    next(iter(ledger.runs.values())).digest = "another"
    ledger.write(paths.wandb)
    done = publish(paths)
    assert done.returncode == 1
    assert "`wandb sync` would repeat its rows" in done.stderr
    assert offline_folders(paths) == []


FAULTS: tuple[Fault, ...] = ("401", "429", "500", "hang", "reset", "refuse")


def publish_to_failing(paths: RunPaths, server: WandbServer) -> None:
    """It gives up within a bound, with one line."""
    began = time.monotonic()
    failed = publish(paths, server)
    assert time.monotonic() - began < 2 * STALL_SECONDS
    assert (failed.returncode, failed.stdout) == (1, "")
    [line] = failed.stderr.splitlines()
    assert line.startswith("W&B: not all was sent")
    assert line.endswith(f"to send the rest: dwray publish {paths.folder}")
    assert KEY not in line


def publish_to_failing_and_mended(fault: Fault, after: int, folder: Path) -> None:
    """Once the server is mended the rest is sent, and nothing twice."""
    paths = make_run(folder / f"{fault} {after}")
    with serve() as server:
        server.fail(fault, after=after)
        publish_to_failing(paths, server)
        if after:
            assert server.runs
            server.mend()
            done = publish(paths, server)
            assert (done.returncode, done.stderr) == (0, "")
            assert_all_there(server, paths)
        else:
            assert not server.runs


@pytest.mark.lab
@pytest.mark.parametrize(
    "cases", [[(fault, 0) for fault in FAULTS], [*((fault, 12) for fault in FAULTS), ("401", 40)]], ids=["", "midway"]
)
def test_a_server_that_fails_loses_nothing(cases: list[tuple[Fault, int]], tmp_path: Path) -> None:
    with ThreadPoolExecutor(len(cases)) as all_at_once:
        for result in [all_at_once.submit(publish_to_failing_and_mended, *case, tmp_path) for case in cases]:
            result.result()


def test_what_ends_the_publisher_is_told_in_a_line(tmp_path: Path) -> None:
    def line_of(paths: RunPaths) -> str:
        done: subprocess.CompletedProcess[str] = publish(paths)
        assert done.returncode == 1
        [line] = done.stderr.splitlines()
        return line

    damaged = make_run(tmp_path / "damaged")
    damaged.wandb.write_text("{")
    assert f"{damaged.wandb}: cannot be read" in line_of(damaged)

    in_the_way = make_run(tmp_path / "in the way")
    in_the_way.wandb_report.mkdir()
    assert "(more in wandb/publisher.log)" in line_of(in_the_way)
    assert "Traceback" in (in_the_way.wandb_folder / "publisher.log").read_text()

    not_a_folder = make_run(tmp_path / "no folder")
    not_a_folder.wandb_folder.write_text("")
    assert "the publisher could not be started" in line_of(not_a_folder)


def test_a_run_that_cannot_be_read_does_not_stop_the_others(tmp_path: Path) -> None:
    paths = make_run(tmp_path)
    done = publish(paths, None, "no-such-run")
    assert done.returncode == 1
    assert done.stderr.startswith("dwray: no-such-run: neither the folder of a run")
    assert done.stdout.startswith("W&B: 7 runs written offline")
