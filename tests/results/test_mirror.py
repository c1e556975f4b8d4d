"""A run's copy in storage: what is copied there and back, and which of two copies of the records is kept."""

import json
import platform
from pathlib import Path

import pyarrow as pa
import pytest
from records import identity, make_run

from dwray.errors import RunError
from dwray.paths import RunPaths
from dwray.results import mirror as module
from dwray.results.lease import NAME, Lease
from dwray.results.mirror import Mirror, fetch, is_ahead, remember, remembered
from dwray.results.records import Records
from dwray.results.store import RunStore
from dwray.storage import Storage

FOREIGN = {"driver": "x", "host": "far-away", "pid": 1, "started": "y", "beat": 1}


@pytest.fixture
def run(tmp_path: Path) -> RunPaths:
    return make_run(tmp_path / "runs")


@pytest.fixture
def kept(tmp_path: Path) -> Storage:
    return Storage(tmp_path / "kept")


def copy(run: RunPaths, kept: Storage) -> None:
    with Mirror(run, kept) as mirror:
        mirror.put_all()


def go_on(run: RunPaths) -> None:
    """Another epoch, by another driver."""
    store = RunStore(run, identity("hand", ["A", "B"]))
    store.take_up()
    store.add_epoch({**Records.read(run).epochs[0], "epoch": 3})
    store.end()


def epochs(run: RunPaths) -> int:
    return len(Records.read(run).epochs)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_where_a_run_is_kept_is_noted_beside_it(run: RunPaths) -> None:
    assert remembered(run) is None
    remember(Storage("s3://bucket/runs/hand/1"), run)
    noted = remembered(run)
    assert noted is not None
    assert noted.location == "s3://bucket/runs/hand/1"


@pytest.mark.parametrize("note", ["", "{", "[]", "3", '"s3://bucket"', "{}", '{"location": 3}', '{"location": null}'])
def test_a_note_that_says_no_place_is_one_line(run: RunPaths, note: str) -> None:
    run.storage.write_text(note)
    with pytest.raises(RunError, match=r"storage\.json: does not say where the run is kept; delete it if"):
        remembered(run)


def test_what_speaks_of_one_place_is_neither_copied_nor_fetched(run: RunPaths, kept: Storage, tmp_path: Path) -> None:
    for name in (NAME, "storage.json", "states/a/epoch", "wandb/log", ".half.tmp", "checkpoints/A-seed0.pt"):
        write(run.folder / name, "here")
    copy(run, kept)
    assert kept.names() == ["checkpoints/A-seed0.pt", "epochs.parquet", "timings.parquet", "trials.parquet"]
    for name in (NAME, "storage.json", "states/a/epoch", "wandb/log"):
        kept.write(name, json.dumps({"location": "s3://elsewhere/runs"}).encode())
    second = RunPaths(tmp_path / "second")
    fetch(kept, second)
    names = {path.relative_to(second.folder).as_posix() for path in second.folder.rglob("*") if path.is_file()}
    assert names == {
        *("checkpoints/A-seed0.pt", "epochs.parquet", "timings.parquet", "trials.parquet"),
        "storage.json",
    }
    assert json.loads(second.storage.read_text()) == {"location": kept.location}, "the one that was opened"


def test_records_that_are_further_here_stay_and_are_copied_by_the_next_driver(
    run: RunPaths, kept: Storage, tmp_path: Path
) -> None:
    write(run.sweep, "sweep")
    copy(run, kept)
    (run.folder / "sweep.yaml").write_text("as it is here")
    kept.write("checkpoints/A-seed0.pt", b"weights")
    assert not is_ahead(run, kept)
    go_on(run)
    measured = epochs(run)
    assert is_ahead(run, kept)
    fetch(kept, run)
    assert epochs(run) == measured
    assert run.sweep.read_text() == "as it is here"
    assert (run.folder / "checkpoints" / "A-seed0.pt").read_bytes() == b"weights", "what is there alone is fetched"
    copy(run, kept)
    second = RunPaths(tmp_path / "second")
    fetch(kept, second)
    assert epochs(second) == measured


def test_records_that_are_further_there_are_fetched(run: RunPaths, kept: Storage, tmp_path: Path) -> None:
    copy(run, kept)
    second = RunPaths(tmp_path / "second")
    fetch(kept, second)
    go_on(second)
    copy(second, kept)
    assert epochs(run) < epochs(second)
    fetch(kept, run)
    assert epochs(run) == epochs(second)
    assert not is_ahead(run, kept)


def test_a_trial_that_ended_here_is_further_than_one_that_runs_there(run: RunPaths, kept: Storage) -> None:
    store = RunStore(run, identity("hand", ["A", "B"]))
    store.take_up()
    for status in ("running", "completed"):
        store.update_trial("t2", status=status)
        store.flush()
        if status == "running":
            copy(run, kept)
    fetch(kept, run)
    assert {row["trial_id"]: row["status"] for row in Records.read(run).trials}["t2"] == "completed"


@pytest.mark.parametrize("name", ["trials.parquet", "epochs.parquet", "timings.parquet"])
@pytest.mark.parametrize("damage", [b"", b"PAR1", None])
def test_damaged_records_are_no_further_than_any(run: RunPaths, kept: Storage, name: str, damage: bytes | None) -> None:
    copy(run, kept)
    go_on(run)
    if damage is None:
        (run.folder / name).unlink()
    else:
        (run.folder / name).write_bytes(damage)
    fetch(kept, run)
    assert (run.folder / name).read_bytes() == kept.read(name)


def test_a_run_whose_storage_was_always_away_goes_on_from_here(run: RunPaths, kept: Storage, tmp_path: Path) -> None:
    fetch(kept, run)
    assert epochs(run)
    with pytest.raises(RunError, match="holds no run"):
        fetch(kept, RunPaths(tmp_path / "none"))


def test_a_name_that_leads_out_of_the_run_is_refused(run: RunPaths, tmp_path: Path) -> None:
    class Leading(Storage):
        def names(self) -> list[str]:
            return [*super().names(), "../x"]

    copy(run, Storage(tmp_path / "kept"))
    with pytest.raises(RunError, match="outside of the run"):
        fetch(Leading(tmp_path / "kept"), RunPaths(tmp_path / "in" / "second"))
    assert not (tmp_path / "in" / "x").exists()


def test_nothing_is_copied_over_what_another_driver_writes(
    run: RunPaths, kept: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.05)
    copy(run, kept)
    before = kept.read("epochs.parquet")
    kept.write(NAME, json.dumps(FOREIGN).encode())
    go_on(run)
    with (
        pytest.raises(RunError, match="another dwray works on this run"),
        Mirror(run, kept, last_seconds=0.5) as mirror,
    ):
        mirror.put_all()
    assert kept.read("epochs.parquet") == before
    kept.delete(NAME)
    with Lease(kept):
        copy(run, kept)
    assert kept.read("epochs.parquet") != before, "its own lease is no other's"


def test_no_trial_is_ahead_of_its_epochs_in_the_copy(
    run: RunPaths, kept: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever goes on from the copy alone takes a trial that ended for one whose epochs are there."""
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.01)
    written: list[str] = []
    failures = iter([pa.ArrowInvalid("?"), OSError("away"), None, OSError("away"), None])

    class Away(Storage):
        """Does not take the epochs, but for now and then."""

        def write(self, name: str, content: bytes) -> None:
            if name == run.epochs.name and (failure := next(failures)):
                raise failure
            super().write(name, content)
            written.append(name)
            if written == [run.timings.name, run.epochs.name]:
                go_on(run)  # the driver goes on while the trials wait for their turn
                for path in (run.epochs, run.trials):
                    mirror.put(path)

    monkeypatch.setattr(module, "Storage", Away)
    with Mirror(run, kept) as mirror:
        for path in (run.epochs, run.timings, run.trials):
            mirror.put(path)
    assert written == [run.timings.name, run.epochs.name, run.epochs.name, run.trials.name]
    assert kept.read(run.epochs.name) == run.epochs.read_bytes()
    assert kept.read(run.trials.name) == run.trials.read_bytes()


def test_what_could_not_be_copied_is_said_with_where_it_is(
    run: RunPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.05)
    (tmp_path / "file").touch()
    away = Storage(tmp_path / "file" / "kept")
    with (
        pytest.raises(RunError, match=rf"3 files .* are all in {run.folder} on {platform.node()}$"),
        Mirror(run, away, last_seconds=0.5) as mirror,
    ):
        mirror.put_all()
    assert is_ahead(run, away), "it cannot be told"
    empty = RunPaths.create(tmp_path, "new")
    RunStore(empty, identity("hand", ["A", "B"])).end()
    assert not is_ahead(empty, away), "nothing was measured"
