"""``dwray runs``: every run with its state, the newest first, whatever is wrong with another."""

import json
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from commands import in_process
from hypothesis import given
from hypothesis import strategies as st
from object_store import ObjectStore
from records import make_run
from test_status_command import SWEEP, change, disturb

from dwray.cli.listing import _age, _size
from dwray.paths import RunPaths
from dwray.publish.ledger import SENT, TOLD, Entry, Ledger
from dwray.results import lease
from dwray.results.lease import Lease
from dwray.storage import Storage


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("DWRAY_STORAGE", raising=False)
    return tmp_path / "runs"


def a_run(runs: Path, run_id: str, **changed: Any) -> RunPaths:
    """A run with this id; which trials have failed, say, is changed in its records."""
    made = make_run(runs / ".made")
    made.sweep.write_text(yaml.safe_dump(SWEEP))
    change(made, **changed)
    folder = runs / "hand" / run_id
    folder.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(made.folder, folder)
    shutil.rmtree(runs / ".made")
    return RunPaths(folder)


def listed(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    code, out, error = in_process("runs", *arguments, "--json", capsys=capsys)
    assert (code, error) == (0, "")
    found: list[dict[str, Any]] = json.loads(out)
    return found


def test_runs_are_listed_with_their_state_the_newest_first(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    well = {"t2": {"status": "completed"}}
    a_run(runs, "20260101-000000", **well)
    a_run(runs, "20260301-000000-2")
    a_run(runs, "20260201-000000", t1={"status": "running"}, **well)
    driven = a_run(runs, "20260401-000000", t1={"status": "running"}, **well)
    with Lease(Storage(driven.folder)):
        found = listed(capsys, "--runs-dir", str(runs))
    assert [(each["run"], each["state"]) for each in found] == [
        ("hand/20260401-000000", "running"),
        ("hand/20260301-000000-2", "failed"),
        ("hand/20260201-000000", "interrupted"),
        ("hand/20260101-000000", "completed"),
    ]
    last = found[-1]
    size = sum(path.stat().st_size for path in (runs / "hand" / "20260101-000000").iterdir())
    assert last == {
        "run": "hand/20260101-000000",
        "state": "completed",
        "why": None,
        "started": datetime(2026, 1, 1, tzinfo=UTC).isoformat(),
        "stages_done": 3,
        "stages": 3,
        "trials_done": 6,
        "trials_at_most": 9,
        "failed": 0,
        "diverged": 0,
        "disturbed": 0,
        "seeds": [0, 1],
        "wandb": None,
        "bytes": size,
    }
    assert (found[2]["stages_done"], found[2]["trials_done"]) == (1, 4)


def test_the_list_fits_80_columns(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = a_run(runs, "20260101-000000", t2={"status": "completed"})
    out = in_process("runs", "--runs-dir", str(runs), capsys=capsys)[1]
    assert "W&B" not in out, "nothing was published"
    Ledger(
        runs={key: Entry("n", "train", state, "d", 1, "finished") for key, state in (("a", SENT), ("b", TOLD))}
    ).write(paths.wandb)
    out = in_process("runs", "--runs-dir", str(runs), capsys=capsys)[1]
    row = next(line for line in out.splitlines() if line.startswith("hand/"))
    assert row.split()[:2] == ["hand/20260101-000000", "completed"]
    assert row.split()[4:8] == ["3/3", "6/9", "2", "told"], "sent is only what all of it is"
    assert len(row) <= 80


def test_what_is_amiss_with_a_run_that_is_completed_stands_below_the_list(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = a_run(runs, "20260101-000000", t2={"status": "completed"}, s1={"status": "diverged"})
    disturb(paths)
    out = in_process("runs", "--runs-dir", str(runs), capsys=capsys)[1]
    assert out.splitlines()[-1] == "hand/20260101-000000: 1 trial diverged, 1 timing disturbed"
    (found,) = listed(capsys, "--runs-dir", str(runs))
    assert (found["state"], found["failed"], found["diverged"], found["disturbed"]) == ("completed", 0, 1, 1)


def test_a_damaged_run_is_one_line_and_hides_no_other(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a_run(runs, "20260101-000000")
    damaged = a_run(runs, "20260201-000000")
    damaged.trials.write_bytes(b"no Parquet")
    empty = a_run(runs, "20260301-000000")
    empty.environment.touch()
    empty.trials.unlink()
    ledger = a_run(runs, "20260401-000000")
    ledger.wandb.write_text("{")
    unfinished = a_run(runs, "20260501-000000", t1={"status": "running"})
    unfinished.storage.write_text("[]")
    (runs / "hand" / "notes").mkdir()
    code, out, error = in_process("runs", "--runs-dir", str(runs), capsys=capsys)
    assert (code, error) == (0, "")
    lines = out.splitlines()
    assert any(line.startswith("hand/20260101-000000 ") for line in lines)
    assert lines[-1] == "hand/20260101-000000: 1 trial failed"
    assert [line.partition(": unreadable: ")[0] for line in lines[-5:-1]] == [
        "hand/20260501-000000",
        "hand/20260401-000000",
        "hand/20260301-000000",
        "hand/20260201-000000",
    ]
    assert "cannot be read as Parquet" in lines[-2]
    assert "notes" not in out


def test_a_run_that_lies_in_the_folder_by_itself_is_listed(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = a_run(runs, "20260101-000000")
    shutil.move(made.folder, runs / "kept")
    (found,) = listed(capsys, "--storage", str(runs))
    assert found["run"] == "kept"
    assert found["started"].startswith("2026-01-02T03:04:05"), "of its first trial: its name says nothing"


def test_no_runs_are_said_to_be_none(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, error = in_process("runs", "--runs-dir", str(runs), capsys=capsys)
    assert (code, out, error) == (0, f"no runs in {runs}\n", "")


def test_a_lease_that_was_not_renewed_for_long_is_not_waited_for(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = a_run(runs, "20260101-000000", t1={"status": "running"})
    held = paths.folder / lease.NAME
    held.write_text(json.dumps({"driver": "x", "host": "elsewhere", "processes": "other", "pid": 1, "started": "1"}))
    os.utime(held, (0, 0))
    began = datetime.now(UTC)
    (found,) = listed(capsys, "--runs-dir", str(runs))
    assert found["state"] == "interrupted"
    assert (datetime.now(UTC) - began).total_seconds() < lease.SILENT_SECONDS / 2


def test_runs_in_an_object_store_are_listed(
    runs: Path, object_store: ObjectStore, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = a_run(runs, "20260101-000000", t2={"status": "completed"})
    bucket = object_store.new_bucket()
    for path in paths.folder.iterdir():
        Storage(bucket).write(f"hand/{paths.run_id}/{path.name}", path.read_bytes())
    Storage(bucket).write("hand/20260202-000000/trials.parquet", b"no Parquet")
    found = listed(capsys, "--storage", bucket)
    assert [(each["run"], each["state"]) for each in found] == [
        ("hand/20260202-000000", "unreadable"),
        (f"hand/{paths.run_id}", "completed"),
    ]
    code, out, error = in_process("runs", "--storage", "s3://no-such-bucket-anywhere", capsys=capsys)
    assert (code, out, error) == (0, "no runs in s3://no-such-bucket-anywhere\n", "")
    with object_store.away():
        code, out, error = in_process("runs", "--storage", bucket, capsys=capsys)
    assert (code, out, error.count("\n")) == (1, "", 1)
    assert error.startswith(f"dwray: {bucket}: cannot be read (")


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "now"), (59, "now"), (60, "1 min"), (7199, "1 h"), (86400 * 2.9, "2 d")]
)
def test_an_age_is_in_its_largest_unit(seconds: float, said: str) -> None:
    assert _age(seconds) == said


@given(st.integers(0, 999 * 10**12))
def test_a_size_is_in_its_largest_unit(count: int) -> None:
    text = _size(count)
    assert text
    number, unit = text.split(" ")
    factor = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}[unit]
    assert float(number) * factor == pytest.approx(count, rel=0.006)
    assert float(number) < 1000
    assert len(text) <= 7
