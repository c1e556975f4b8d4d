"""``wandb sync`` of what was written offline: it ends well whatever came of it, and ``dwray status`` knows better."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from commands import dwray
from publishing import assert_all_there, by_name, environment, offline_folders, publish
from records import make_searched_run
from wandb_server import WandbServer, serve

from dwray.paths import RunPaths

pytestmark = [pytest.mark.slow, pytest.mark.lab, pytest.mark.client_contract]

CUT = "A initial_lr=0.2 weight_decay=0.0"


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> RunPaths:
    paths = make_searched_run(tmp_path_factory.mktemp("offline"))
    assert publish(paths).returncode == 0
    return paths


def sync(paths: RunPaths, server: WandbServer, **variables: str) -> str:
    """``wandb sync`` of all that was written offline, as a user may do it instead; what it said."""
    folder = paths.folder.parent
    done = subprocess.run(
        [sys.executable, "-m", "wandb", "sync", *map(str, offline_folders(paths))],
        env={**os.environ, **environment(folder, server), **variables},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,  # it says that all was well
    )
    return done.stderr


def status(paths: RunPaths) -> dict[str, tuple[str, str]]:
    """Of each run, where it is and why."""
    done = dwray("status", str(paths.folder), "--json", folder=paths.folder.parent, **environment(paths.folder.parent))
    assert (done.returncode, done.stderr) == (0, "")
    return {row["run"]: (row["wandb"], row["why"] or "") for row in json.loads(done.stdout)["runs"]}


def assert_publishing_completes(server: WandbServer, paths: RunPaths) -> None:
    done = publish(paths, server)
    assert (done.returncode, done.stderr) == (0, "")
    assert_all_there(server, paths)
    assert set(status(paths).values()) == {("sent", "")}
    assert offline_folders(paths) == []


@pytest.mark.parametrize("case", ["a wrong key", "a file that was cut", "all is well"])
def test_status_tells_what_wandb_sync_does_not(case: str, offline: RunPaths, tmp_path: Path) -> None:
    paths = RunPaths(Path(shutil.copytree(offline.folder, tmp_path / "run", symlinks=True)))
    before = status(paths)
    assert set(before.values()) == {("offline", "")}
    with serve() as server:
        if case == "a wrong key":
            assert "user is not logged in" in sync(paths, server, WANDB_API_KEY="wrong" * 10)
            assert server.runs == {}
            assert status(paths) == before
        elif case == "all is well":
            sync(paths, server)
            assert set(status(paths)) == set(by_name(server))
            assert set(status(paths).values()) == {("sent", "")}
        else:
            id_of = {entry["name"]: key for key, entry in json.loads(paths.wandb.read_text())["runs"].items()}
            [file] = paths.wandb_folder.glob(f"offline-run-*-{id_of[CUT]}/run-*.wandb")
            written = file.read_bytes()
            second_epoch = written.index(b"train/loss", written.index(b"train/loss") + 1)
            file.write_bytes(written[:second_epoch])
            assert "the file ends with an incomplete record" in sync(paths, server)
            assert len(by_name(server)[CUT].history) < 2
            found = status(paths)
            state, why = found.pop(CUT)
            assert (state, why.split(",")[0]) == ("failed", "its offline file is damaged")
            assert set(found.values()) == {("sent", "")}
            written = file.read_bytes()
            assert publish(paths).returncode == 0  # without a key nothing is written that would come twice
            assert file.read_bytes() == written
        assert_publishing_completes(server, paths)
