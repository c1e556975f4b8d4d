"""Runs that storage keeps: what is discarded and what never is, whose number is free, and how one goes on with them."""

import contextlib
import importlib
import json
import shutil
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from commands import COMMAND
from object_store import ObjectStore
from records import identity, make_run
from tiny import DISTURBED

from dwray.cli.runs import new_run
from dwray.errors import EXIT_FAILED, RunError
from dwray.paths import RunPaths
from dwray.report.documents import write_report
from dwray.results.kept import KeptRun, find_run
from dwray.results.lease import NAME
from dwray.results.mirror import Mirror, fetch, remember
from dwray.results.records import Records
from dwray.results.store import RunStore
from dwray.storage import Storage
from dwray.tune.client import _scratch

command = importlib.import_module("dwray.cli.sweep")  # by its name alone it is the command of that name
FOREIGN = json.dumps({"driver": "x", "host": "far-away", "pid": 1, "started": "y", "beat": 1})


def not_begun(folder: Path) -> KeptRun:
    """A run as it is before its first trial, here and in storage."""
    run = KeptRun(RunPaths.create(folder / "runs", "tiny"), Storage(folder / "kept"))
    run.paths.sweep.touch()
    RunStore(run.paths, identity("tiny", ["A", "B"])).end()
    copy(run)
    return run


def copy(run: KeptRun) -> None:
    assert run.storage
    with Mirror(run.paths, run.storage) as mirror:
        mirror.put_all()


def test_a_run_without_trials_is_discarded_here_and_there(tmp_path: Path) -> None:
    run = not_begun(tmp_path)
    assert run.storage
    assert run.storage.names() == ["epochs.parquet", "sweep.yaml", "timings.parquet", "trials.parquet"]
    assert run.discard_unless_begun()
    assert not run.paths.folder.exists()
    assert not run.storage.names()


def test_a_run_whose_records_are_in_storage_alone_is_not_discarded(tmp_path: Path) -> None:
    kept = Storage(tmp_path / "kept")
    copy(KeptRun(make_run(tmp_path / "head"), kept))
    names = kept.names()
    here = KeptRun(RunPaths.create(tmp_path / "runs", "tiny"), kept)
    assert not here.discard_unless_begun()
    assert kept.names() == names
    assert here.paths.folder.is_dir()


@pytest.mark.parametrize(
    ("name", "content"),
    [(NAME, FOREIGN), ("states/a/epoch", "state"), ("checkpoints/A-seed0.pt", "weights"), ("trials.parquet", "PAR1")],
    ids=["the lease of another driver", "a saved state", "a checkpoint", "what cannot be read"],
)
def test_what_may_be_of_another_driver_is_not_discarded(tmp_path: Path, name: str, content: str) -> None:
    run = not_begun(tmp_path)
    assert run.storage
    run.storage.write(name, content.encode())
    names = run.storage.names()
    assert not run.discard_unless_begun()
    assert run.storage.names() == names
    assert run.paths.folder.is_dir()


def test_a_run_here_that_another_driver_works_on_is_not_discarded(tmp_path: Path) -> None:
    run = KeptRun(not_begun(tmp_path).paths, None)
    (run.paths.folder / NAME).write_text(FOREIGN)
    assert not run.discard_unless_begun()
    (run.paths.folder / NAME).unlink()
    assert run.discard_unless_begun()
    assert not run.paths.folder.exists()


def test_a_run_is_not_discarded_while_its_storage_is_away(tmp_path: Path) -> None:
    run = KeptRun(RunPaths.create(tmp_path / "runs", "tiny"), Storage(tmp_path / "kept"))
    (tmp_path / "kept" / "trials.parquet").mkdir(parents=True)  # reading it is an error
    (tmp_path / "kept" / "trials.parquet" / "trials.parquet").touch()
    assert not run.discard_unless_begun()
    assert run.paths.folder.is_dir()


def test_the_report_and_nothing_else_is_copied_at_the_end(tmp_path: Path) -> None:
    run = KeptRun(make_run(tmp_path / "runs"), Storage(tmp_path / "kept"))
    assert run.storage
    (run.paths.folder / "checkpoints").mkdir()
    run.paths.weights("A", 0).write_bytes(b"weights")
    write_report(run.paths)
    run.paths.figure("x").parent.mkdir(exist_ok=True)
    run.paths.figure("x").touch()
    command.keep_report(run)
    names = run.storage.names()
    made = [path for path in run.paths.folder.rglob("*") if path.is_file() and path.suffix != ".pt"]
    assert set(names) == {path.relative_to(run.paths.folder).as_posix() for path in made} - {
        *("trials.parquet", "epochs.parquet", "timings.parquet")
    }
    assert {"report.html", "report.md", "report.tex"} < set(names)
    assert {name.partition("/")[0] for name in names if "/" in name} == {"tables", "figures"}


def test_a_report_that_cannot_be_copied_is_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "REPORT_SECONDS", 0.2)
    (tmp_path / "file").touch()
    run = KeptRun(make_run(tmp_path / "runs"), Storage(tmp_path / "file" / "kept"))
    write_report(run.paths)
    command.keep_report(run)
    said = capsys.readouterr().err
    assert said.startswith("dwray: the report is not kept with the run: ")
    assert said.count("\n") == 1


def test_a_scratch_folder_stays_while_it_has_the_only_copy(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for storage, stays in ((Storage(tmp_path / "kept"), False), (Storage(tmp_path / "file" / "kept"), True)):
        with _scratch(storage, ("tiny", "1")) as paths:
            shutil.copytree(make_run(tmp_path / "runs").folder, paths.folder, dirs_exist_ok=True)
            with contextlib.suppress(RunError), Mirror(paths, storage, last_seconds=1) as mirror:
                mirror.put_all()
        assert paths.folder.exists() == stays
    assert (paths.folder.parent.name, paths.folder.name) == ("tiny", "1")
    shutil.rmtree(paths.folder.parents[1])


def test_a_scratch_folder_in_which_nothing_was_measured_goes(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with _scratch(Storage(tmp_path / "file" / "kept"), ("tiny", "1")) as paths:
        RunStore(paths, identity("tiny", ["A"])).end()
    assert not paths.folder.parents[1].exists()


@pytest.mark.slow
def test_two_machines_that_begin_in_one_second_have_a_run_each(tmp_path: Path, object_store: ObjectStore) -> None:
    bucket = object_store.new_bucket()
    found = set()
    for number in range(3):  # as fast as they can, so twice in one second; each with files of its own
        run = new_run("tiny", tmp_path / f"machine-{number}", bucket)
        assert run.storage
        run.storage.write("sweep.yaml", b"")
        found.add(run.name)
        assert [path.name for path in (tmp_path / f"machine-{number}" / "tiny").iterdir()] == [run.paths.run_id]
        assert json.loads(run.paths.storage.read_text()) == {"location": run.name}
    assert len(found) == 3


@pytest.mark.slow
def test_a_run_goes_on_from_the_newer_records_by_its_folder_or_its_uri(
    tmp_path: Path, object_store: ObjectStore
) -> None:
    paths = make_run(tmp_path / "runs", name="tiny")
    storage = Storage(object_store.new_bucket()).within(f"tiny/{paths.run_id}")
    copy(KeptRun(paths, storage))
    storage.write("storage.json", b'{"location": "s3://elsewhere/tiny/x"}')
    other = RunPaths(tmp_path / "other" / "tiny" / paths.run_id)
    fetch(storage, other)
    store = RunStore(paths, identity("tiny", ["A", "B"]))
    store.take_up()
    store.add_epoch({**Records.read(paths).epochs[0], "epoch": 3})
    store.end()
    remember(storage, paths)
    newer = paths.epochs.read_bytes()
    for name in (str(paths.folder), storage.location):
        run = find_run(name, tmp_path / "runs", resume=True)
        assert run.paths == paths
        assert run.name == storage.location
        assert paths.epochs.read_bytes() == newer
    copy(KeptRun(paths, storage))
    assert find_run(storage.location, tmp_path / "other", resume=True).paths == other
    assert other.epochs.read_bytes() == newer


@pytest.mark.slow
@pytest.mark.lab
def test_a_sweep_that_is_taken_over_ends_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(DISTURBED))
    with subprocess.Popen(
        [*COMMAND, "sweep", "tiny.yaml"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as driver:
        try:
            assert driver.stdout
            for line in driver.stdout:
                if "running, epoch 2/3" in line:
                    break
            (run,) = (tmp_path / "runs" / "tiny").iterdir()
            (run / NAME).write_text(FOREIGN)
            said, _ = driver.communicate(timeout=60)
        finally:
            driver.kill()
    assert driver.returncode == EXIT_FAILED, said
    (line,) = [line for line in said.splitlines() if line.startswith("dwray: ")]
    assert "another dwray took this run over (process 1 on far-away)" in line
    assert line.endswith(f"dwray resume {run}")
    assert (run / NAME).read_text() == FOREIGN


@pytest.mark.slow
def test_a_store_that_cannot_be_listed_is_a_line(tmp_path: Path, object_store: ObjectStore) -> None:
    began = time.monotonic()
    with pytest.raises(RunError, match="s3://no-such-bucket: cannot be written"):
        new_run("tiny", tmp_path / "runs", "s3://no-such-bucket")
    assert time.monotonic() - began < 20
    assert not (tmp_path / "runs").exists()
