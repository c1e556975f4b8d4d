"""Parquet as it lies on disk: typed, described, atomic, and refused when it is not what it should be."""

import errno
import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from records import identity, make_run

from dwray import storage
from dwray.errors import RunError
from dwray.paths import RunPaths
from dwray.results.records import Records
from dwray.results.schema import EPOCHS, SCHEMA_VERSION, TIMINGS, TRIALS, to_table
from dwray.results.store import RunStore, read_parquet, write_parquet
from dwray.storage import write_atomically


def test_every_file_has_its_schema_its_version_and_the_runs_identity(tmp_path: Path) -> None:
    paths = make_run(tmp_path)
    for path, schema in ((paths.trials, TRIALS), (paths.epochs, EPOCHS), (paths.timings, TIMINGS)):
        found = pq.read_schema(path)
        assert found.names == schema.names
        assert found.types == schema.types
        assert found.metadata[b"schema_version"] == str(SCHEMA_VERSION).encode()
        assert found.metadata[b"run_id"] == paths.run_id.encode()
        assert found.metadata[b"sweep"] == b"hand"
        assert all(field.metadata[b"description"] for field in found)


@pytest.mark.parametrize("schema", [TRIALS, EPOCHS, TIMINGS])
def test_units_are_in_the_names_and_every_record_says_whether_it_is_synthetic(schema: pa.Schema) -> None:
    assert "synthetic" in schema.names
    for field in schema:
        if "accuracy" in field.name:
            assert field.name.endswith("_percent")
        if pa.types.is_timestamp(field.type):
            assert field.name.endswith("_at")
            assert field.type.tz == "UTC"


def test_pandas_and_anybody_else_can_read_it(tmp_path: Path) -> None:
    table = pq.read_table(make_run(tmp_path).trials)
    assert table.num_rows == 6
    assert table.column("test_accuracy_percent").null_count == 4, "what was not measured is null, not zero"


def test_a_later_row_of_the_same_epoch_replaces_the_earlier_one(tmp_path: Path) -> None:
    store = RunStore(RunPaths.create(tmp_path, "x"), identity("x", ["A"]))
    for loss in (2.0, 1.0):
        store.add_epoch({"trial_id": "t", "epoch": 1, "train_loss": loss})
    store.flush()
    assert read_parquet(store.paths.epochs, EPOCHS).column("train_loss").to_pylist() == [1.0]


def test_a_file_server_that_is_away_for_a_while_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = RunStore(RunPaths.create(tmp_path, "x"), identity("x", ["A"]))
    failures = iter([OSError(errno.ESTALE, "Stale file handle"), OSError(errno.EIO, "Input/output error")])

    def replace_file(path: Path, content: bytes) -> None:
        for failure in failures:
            raise failure
        path.write_bytes(content)

    monkeypatch.setattr(storage, "replace_file", replace_file)
    monkeypatch.setattr(storage, "FIRST_PAUSE_SECONDS", 0.01)
    store.flush()
    assert Records.read(store.paths).trials == []


def test_a_training_whose_epochs_are_not_all_there_was_interrupted(tmp_path: Path) -> None:
    store = RunStore(RunPaths.create(tmp_path, "x"), identity("x", ["A"]))
    for key, done in {"whole": 2, "short": 3, "none": 1}.items():
        store.update_trial(key, stage="train", status="completed", epochs_done=done)
    store.update_trial("failed", stage="train", status="failed", epochs_done=9)
    store.update_trial("timed", stage="time", status="completed")
    for key in ("whole", "short"):
        for epoch in (1, 2):
            store.add_epoch({"trial_id": key, "epoch": epoch})
    store.flush()
    again = RunStore(store.paths, identity("x", ["A"]))
    again.take_up()
    assert {key: again.trial(key)["status"] for key in ("whole", "short", "none", "failed", "timed")} == {
        "whole": "completed",
        "short": "interrupted",
        "none": "interrupted",
        "failed": "failed",
        "timed": "completed",
    }


def test_what_still_runs_at_the_end_is_marked_interrupted(tmp_path: Path) -> None:
    store = RunStore(RunPaths.create(tmp_path, "x"), identity("x", ["A"]))
    store.update_trial("a", stage="train", status="running")
    store.update_trial("b", stage="train", status="completed")
    store.end()
    assert [row["status"] for row in Records.read(store.paths).trials] == ["interrupted", "completed"]


def test_a_row_with_an_unknown_column_is_a_mistake() -> None:
    with pytest.raises(KeyError, match="no column for"):
        to_table(EPOCHS, [{"train_los": 1.0}], {})


def test_a_reader_sees_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "trials.parquet"
    stop = threading.Event()
    write_parquet(path, pa.table({"a": [0] * 1000}))

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            write_parquet(path, pa.table({"a": [number] * 1000}))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(200):
            values = read_parquet(path).column("a").to_pylist()
            assert len(values) == 1000
            assert len(set(values)) == 1
    finally:
        stop.set()
        writer.join()
    assert [each.name for each in tmp_path.iterdir()] == ["trials.parquet"], "no temporary file stays"


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"good")
    with pytest.raises(TypeError):
        write_atomically(path, "text is not bytes")  # type: ignore[arg-type]
    assert path.read_bytes() == b"good"
    assert list(tmp_path.iterdir()) == [path]


def test_a_truncated_a_missing_and_a_foreign_file_are_one_line_each(tmp_path: Path) -> None:
    paths = make_run(tmp_path)
    whole = paths.trials.read_bytes()
    paths.trials.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RunError, match=r"trials.parquet: cannot be read as Parquet") as caught:
        Records.read(paths)
    assert "\n" not in str(caught.value)
    paths.trials.unlink()
    with pytest.raises(RunError, match=r"trials.parquet: there is no such file"):
        Records.read(paths)
    write_parquet(paths.trials, pa.table({"a": [1]}))
    with pytest.raises(RunError, match="has schema version none"):
        Records.read(paths)
    write_parquet(paths.trials, pa.table({"a": [1]}).replace_schema_metadata({"schema_version": str(SCHEMA_VERSION)}))
    with pytest.raises(RunError, match="has no column 'trial_id' of type string"):
        Records.read(paths)
    newer = to_table(TRIALS, [], {}).replace_schema_metadata({"schema_version": str(SCHEMA_VERSION + 1)})
    write_parquet(paths.trials, newer)
    with pytest.raises(RunError, match=f"has schema version {SCHEMA_VERSION + 1}"):
        Records.read(paths)


def test_a_run_is_found_by_folder_by_id_and_by_the_sweeps_name(tmp_path: Path) -> None:
    first, second = make_run(tmp_path), make_run(tmp_path)
    assert first.run_id < second.run_id, "runs of the same second have folders of their own, in order"
    assert RunPaths.find(str(first.folder), Path("elsewhere")) == first
    assert RunPaths.find(f"hand/{first.run_id}", tmp_path) == first
    assert RunPaths.find("hand", tmp_path) == second
    with pytest.raises(RunError, match=r"other: neither the folder of a run \(with trials.parquet\) nor a sweep in"):
        RunPaths.find("other", tmp_path)


def test_timings_go_with_the_trials_that_are_dropped(tmp_path: Path) -> None:
    paths = make_run(tmp_path)
    store = RunStore(paths, identity("hand", ["A", "B"]))
    store.take_up()
    store.drop_trials("time", keep={"m0"})
    store.flush()
    assert len(Records.read(paths).timings) == 6
    store.drop_trials("time", keep=set())
    store.flush()
    assert Records.read(paths).timings == []
    assert Records.read(paths).of_stage("time") == []
    assert len(Records.read(paths).of_stage("train")) == 3
