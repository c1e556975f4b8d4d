"""``dwray status``: how a run stands that goes on elsewhere, was interrupted, or has ended."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from commands import in_process
from object_store import ObjectStore
from records import make_run

from dwray.paths import RunPaths
from dwray.publish.ledger import OFFLINE, Entry, Ledger
from dwray.results.lease import Lease
from dwray.results.progress import Capacity
from dwray.results.run_standing import noted_capacity
from dwray.results.schema import TIMINGS, TRIALS, to_table
from dwray.results.store import read_parquet, write_parquet
from dwray.storage import Storage

DISTURBANCE = "other processes used 2.2 s of processor time in 3.1 s"
SWEEP: dict[str, Any] = {
    "name": "hand",
    "networks": {"A": {"network": "ConvNet"}, "B": {"network": "DepthwiseConvNet"}},
    "data": {"source": "digits"},
    "training": {"epochs": 2, "batch_size": 32, "initial_lr": 0.1},
    "search": {"axes": {"initial_lr": [0.1, 0.2]}},
    "seeds": [0, 1],
    "timing": {"batch_sizes": [4], "sets": ["test"], "loader": [False]},
}


def change(paths: RunPaths, *dropped_stages: str, metadata: dict[str, str] | None = None, **changed: Any) -> None:
    """Write the trials again, without those of some stages, and with columns of others changed."""
    table = read_parquet(paths.trials, TRIALS)
    identity = {key.decode(): value.decode() for key, value in table.schema.metadata.items() if b"ARROW" not in key}
    rows = [
        {**row, **changed.get(row["trial_id"], {})} for row in table.to_pylist() if row["stage"] not in dropped_stages
    ]
    write_parquet(paths.trials, to_table(TRIALS, rows, {**identity, **(metadata or {})}))


def disturb(paths: RunPaths) -> None:
    """Write the timings again, as of a device that others used too."""
    rows = [{**row, "exclusive": False, "disturbance": DISTURBANCE} for row in read_parquet(paths.timings).to_pylist()]
    write_parquet(paths.timings, to_table(TIMINGS, rows, {}))


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunPaths:
    """A run of which B's training failed: nothing is left to do."""
    monkeypatch.setenv("COLUMNS", "80")
    paths = make_run(tmp_path)
    paths.sweep.write_text(yaml.safe_dump(SWEEP))
    return paths


def test_a_run_that_goes_on_is_shown_as_its_driver_shows_it(run: RunPaths, capsys: pytest.CaptureFixture[str]) -> None:
    capacity = noted_capacity("train", Capacity("GPU", 8, 0.5, 2))
    running = {"status": "running", "epochs_done": 1}
    change(
        run, "time", metadata=capacity, t1=running, t2={"stage": "search", "status": "completed", "axis": "initial_lr"}
    )
    with Lease(Storage(run.folder)):
        code, out, error = in_process("status", str(run.folder), capsys=capsys)
        data = json.loads(in_process("status", str(run.folder), "--json", capsys=capsys)[1])
    assert (code, error) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith(f"hand/{run.run_id}: running on ")
    assert lines[1:7] == [
        "search: done, 3 trials",
        "  best: A validation 80.00% (initial_lr 0.1)",
        "train: 1 done, 1 running, 0 left, GPUs 0.5/8, about 2 s left",
        "best so far: A validation 94.00% (seed=1)",
        "network varies epoch val. % s/epoch img/s   left",
        "A       seed=0   2/2  90.00    2.50    33   done",
    ]
    assert lines[7].split() == ["A", "seed=1", "1/2", "94.00", "2.50", "50", "2.50", "s"]
    assert lines[-1] == f"what was measured so far: dwray report {run.folder}"
    assert (data["state"], data["stage"], data["driver"]["process"]) == ("running", "train", os.getpid())
    train = data["stages"][-1]
    assert (train["planned"], train["done"], train["running"], train["left"]) == (2, 1, 1, 0)
    assert [trial["name"] for trial in train["trials"]] == ["A seed=1"]
    assert max(map(len, lines[:-1])) <= 80


def test_an_interrupted_run_says_how_to_go_on(run: RunPaths, capsys: pytest.CaptureFixture[str]) -> None:
    change(run, "time", t1={"status": "running"})  # and no driver: it was killed
    code, out, error = in_process("status", str(run.folder), capsys=capsys)
    assert (code, error) == (0, "")
    assert out.startswith(f"hand/{run.run_id}: interrupted, 1 trial failed\n")
    assert f"\nto go on: dwray resume {run.folder}\n" in out
    assert " running on" not in out


def test_a_run_with_failed_trials_names_them_and_says_what_to_do(
    run: RunPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    out = in_process("status", str(run.folder), capsys=capsys)[1]
    assert out.startswith(f"hand/{run.run_id}: failed, 1 trial failed\n")
    assert "train: B seed=0 (tried 2 times): RuntimeError: [bold]out of | memory" in out
    assert f"\nto try trainings and timings that failed again: dwray resume {run.folder}\n" in out
    change(run, t2={"status": "completed"})
    run.html.touch()
    out = in_process("status", str(run.folder), capsys=capsys)[1]
    assert out.startswith(f"hand/{run.run_id}: completed\n")
    assert out.endswith(f"\nreport: {run.html}\n")


def test_what_is_amiss_with_a_run_that_is_completed_is_said(run: RunPaths, capsys: pytest.CaptureFixture[str]) -> None:
    change(run, t2={"status": "completed"}, s1={"status": "diverged", "epochs_done": 1})
    disturb(run)
    code, out, error = in_process("status", str(run.folder), capsys=capsys)
    assert (code, error) == (0, "")
    lines = out.splitlines()
    assert lines[0] == f"hand/{run.run_id}: completed, 1 trial diverged, 1 timing disturbed"
    assert "search: done, 2 trials (1 diverged)" in lines
    assert "  search: A initial_lr=0.2 in epoch 1 of 2" in lines
    assert "time: done, 1 trial" in lines
    assert any(line.startswith(f"1 of the timings was not alone on its device: {DISTURBANCE}; end ") for line in lines)
    data = json.loads(in_process("status", str(run.folder), "--json", capsys=capsys)[1])
    assert data["stages"][0]["diverged"] == 1
    assert data["diverged"] == [{"stage": "search", "trial": "A initial_lr=0.2"}]
    assert data["disturbed"] == [{"trial": "test set, batch 4, network alone", "disturbance": DISTURBANCE}]


def test_without_a_sweep_file_that_can_be_read_the_records_say_what_they_can(
    run: RunPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    run.sweep.write_text("networks: {A: {}}\nunknown: 1\n")
    code, out, error = in_process("status", str(run.folder), capsys=capsys)
    assert (code, error) == (0, "")
    assert "train: done, 3 trials (1 failed)" in out
    assert "what is left to do is not known: " in out


def test_what_wandb_has_is_shown_where_anything_was_published(
    run: RunPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "W&B" not in in_process("status", str(run.folder), capsys=capsys)[1]
    Ledger(runs={"x": Entry("tables", "report", OFFLINE, "digest", 1, "finished")}).write(run.wandb)
    out = in_process("status", str(run.folder), capsys=capsys)[1]
    assert "W&B" in out
    assert "its offline folder is gone" in " ".join(out.split())


def test_a_run_in_an_object_store_is_fetched_whoever_wrote_it(
    run: RunPaths, object_store: ObjectStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    storage = Storage(f"{object_store.new_bucket()}/hand/{run.run_id}")

    def put() -> None:
        for path in (run.sweep, run.trials, run.epochs, run.timings):
            storage.write(path.name, path.read_bytes())

    def look(where: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(in_process("status", where, "--json", "--runs-dir", runs, capsys=capsys)[1])
        return found

    runs = str(tmp_path / "elsewhere")
    whole = run.trials.read_bytes()
    change(run, "time", "train")
    put()
    assert look(storage.location)["stage"] == "train"
    run.trials.write_bytes(whole)
    put()
    local = str(tmp_path / "elsewhere" / "hand" / run.run_id)
    assert look(local)["stages"][1]["done"] == 3, "what another machine has done since"
    with Lease(storage):
        assert look(local)["state"] == "running"
    with object_store.away():
        found = look(local)
    assert found["doubt"].startswith("as it was last known here: ")
    assert found["stages"][1]["done"] == 3
