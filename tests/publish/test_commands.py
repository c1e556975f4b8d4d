"""``dwray report --wandb``, and where the options of ``dwray publish`` and it send a run."""

import subprocess
from pathlib import Path

import pytest
from commands import dwray
from publishing import (
    assert_all_there,
    assert_all_written,
    contents,
    environment,
    inspect_all,
    offline_folders,
    publish,
)
from records import make_run
from wandb_server import WandbServer, serve

from dwray.paths import RunPaths

pytestmark = [pytest.mark.slow, pytest.mark.client_contract]


def report(paths: RunPaths, server: WandbServer | None, *options: str) -> "subprocess.CompletedProcess[str]":
    folder = paths.folder.parent
    return dwray("report", str(paths.folder), *options, folder=folder, **environment(folder, server))


def test_a_report_is_published_with_its_run_and_again_sends_nothing_new(tmp_path: Path) -> None:
    paths = make_run(tmp_path)
    with serve() as server:
        done = report(paths, server, "--wandb")
        assert (done.returncode, done.stderr) == (0, "")
        assert "W&B: 7 runs in testers/dwray; report: " in done.stdout.splitlines()[-1]
        assert paths.table("accuracy").is_file()  # an artifact has what the report wrote before
        assert_all_there(server, paths)
        told = {run.name: (run.lines, run.config, run.files) for run in server.runs.values()}
        artifacts, [saved] = len(server.artifacts), server.reports.values()

        del server.requests[:]
        again = report(paths, server, "--wandb", "online")
        assert (again.returncode, again.stderr) == (0, "")
        assert again.stdout.splitlines()[-1] == done.stdout.splitlines()[-1]
        assert_all_there(server, paths)
        assert {run.name: (run.lines, run.config, run.files) for run in server.runs.values()} == told
        assert len(server.artifacts) == artifacts
        assert not {"UpsertBucket", "CreateArtifact"} & set(server.requests)
        [report_now] = server.reports.values()
        assert (report_now.id, report_now.saves) == (saved.id, 2)


def test_a_report_is_written_offline_though_there_is_a_key(tmp_path: Path) -> None:
    paths = make_run(tmp_path)
    with serve() as server:
        done = report(paths, server, "--wandb", "offline")
        assert (done.returncode, done.stderr) == (0, "")
        said = " ".join(done.stdout.split())
        assert f"W&B: 7 runs written offline to {paths.wandb_folder}, the report to wandb-report.json" in said
        assert server.requests == []
    assert_all_written(paths)
    written = {folder: contents(folder) for folder in offline_folders(paths)}
    assert report(paths, None, "--wandb", "offline").returncode == 0
    assert {folder: contents(folder) for folder in offline_folders(paths)} == written


def test_the_options_say_whose_project_it_is(tmp_path: Path) -> None:
    paths = make_run(tmp_path)
    with serve() as server:
        done = publish(paths, server, "--offline", "--entity", "them", "--project", "theirs")
        assert (done.returncode, done.stderr, server.requests) == (0, "", [])
        whose = {(said["run"][0]["entity"], said["run"][0]["project"]) for said in inspect_all(paths).values()}
        assert whose == {("them", "theirs")}
        done = publish(paths, server, "--entity", "them", "--project", "theirs")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(f"W&B: 7 runs in them/theirs; report: {server.url}/them/theirs/reports/")
        assert_all_there(server, paths)
        assert {(run.entity, run.project) for run in server.runs.values()} == {("them", "theirs")}
        [saved] = server.reports.values()
        assert (saved.entity, saved.project) == ("them", "theirs")
