"""Runs that are stopped, killed and starved, and go on: to the same records as a run that nothing happened to."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pyarrow.parquet as pq
import pytest
import yaml
from commands import COMMAND, INTERRUPTIBLE, dwray, in_process
from object_store import KEY, SECRET, ObjectStore
from processes import kill_all_in, trials_below
from same import assert_same_results, comparable
from tiny import DISTURBED, TINY

from dwray.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_NOT_EXCLUSIVE, EXIT_TRIALS_FAILED
from dwray.paths import RunPaths
from dwray.results.kept import find_run
from dwray.results.lease import NAME
from dwray.results.records import Records
from dwray.storage import Storage

pytestmark = pytest.mark.slow

WELL = (0, EXIT_NOT_EXCLUSIVE)


class Driver:
    """A ``dwray`` that runs a sweep, to be disturbed."""

    all: ClassVar[list["Driver"]] = []

    def __init__(self, *arguments: str, folder: Path) -> None:
        self.folder = folder
        self.log = folder / f"log-{len(list(folder.glob('log-*')))}"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen([*INTERRUPTIBLE, *arguments], cwd=folder, stdout=log, stderr=log)

        self.all.append(self)

    def wait_until(self, happened: Callable[[], bool], seconds: float = 120) -> None:
        ends = time.monotonic() + seconds
        while not happened():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < ends, self.log.read_text()
            time.sleep(0.05)

    def said(self, text: str, times: int = 1) -> Callable[[], bool]:
        return lambda: self.log.read_text().count(text) >= times

    def end(self, number: int | None = None) -> int:
        if number is not None:
            self.process.send_signal(number)
        code = self.process.wait(240)
        if number == signal.SIGKILL:
            kill_all_in(self.folder)  # Ray's servers, which end by themselves in their time
        return code


@pytest.fixture(autouse=True)
def _no_driver_is_left() -> Iterator[None]:
    yield
    while Driver.all:
        driver = Driver.all.pop()
        if driver.process.poll() is None:  # the test has failed
            driver.end(signal.SIGKILL)


def write_sweep(folder: Path, **changes: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump({**DISTURBED, **changes}))
    return path


def the_run(folder: Path) -> Path:
    (run,) = (folder / "runs" / "tiny").iterdir()
    return run


@pytest.fixture
def undisturbed(swept: tuple[subprocess.CompletedProcess[str], Path]) -> Path:
    assert swept[0].returncode in WELL, swept[0].stderr
    return the_run(swept[1])


@pytest.mark.lab
def test_killed_in_each_stage_and_resumed_it_has_the_same_results(tmp_path: Path, undisturbed: Path) -> None:
    write_sweep(tmp_path)
    driver = Driver("sweep", "tiny.yaml", folder=tmp_path)
    # In the search: a worker, then the driver itself.
    driver.wait_until(driver.said("running, epoch 1/3"))
    workers = trials_below(driver.process.pid)
    assert workers
    os.kill(workers[0], signal.SIGKILL)
    driver.wait_until(driver.said("retrying"))
    driver.wait_until(driver.said("completed", 3))
    assert driver.end(signal.SIGKILL) == -signal.SIGKILL
    run = the_run(tmp_path)

    # In the training: a worker again, and SIGTERM, as a cluster's job runner sends it. A second driver is refused.
    driver = Driver("resume", "tiny", folder=tmp_path)
    driver.wait_until(driver.said("train: started"))
    second = subprocess.run(
        [*COMMAND, "resume", "tiny"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert second.returncode == EXIT_FAILED
    assert second.stderr.count("\n") == 1
    assert "another dwray works on this run" in second.stderr
    driver.wait_until(driver.said("running, epoch 2/6"))
    for pid in trials_below(driver.process.pid):
        os.kill(pid, signal.SIGKILL)
    driver.wait_until(driver.said("retrying"))
    driver.wait_until(driver.said("running, epoch 4/6"))
    assert driver.end(signal.SIGTERM) == EXIT_INTERRUPTED
    assert f"to go on: dwray resume {run}" in driver.log.read_text()

    # The newest states are torn.
    for states in (run / "states").iterdir():
        for newest in sorted(states.iterdir())[-1:]:
            newest.write_bytes(newest.read_bytes()[:1000])

    # In the timing: Ctrl-C.
    driver = Driver("resume", f"tiny/{run.name}", folder=tmp_path)
    driver.wait_until(driver.said("test set, batch 32, with loader: completed"))
    assert driver.end(signal.SIGINT) == EXIT_INTERRUPTED
    assert "its checksum is not the one in its name" in driver.log.read_text()

    driver = Driver("resume", "tiny", folder=tmp_path)
    assert driver.end() in WELL, driver.log.read_text()
    assert_same_results(run, undisturbed)
    assert (run / "report.html").is_file()
    assert len(json.loads((run / "environment.json").read_text())["resumed"]) == 3

    # Nothing is left to do: the report again, in the time that it takes to start.
    before = pq.read_table(run / "trials.parquet")
    driver = Driver("resume", "tiny", folder=tmp_path)
    assert driver.end() in WELL
    assert pq.read_table(run / "trials.parquet") == before


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a disk to fill needs the right to mount one")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.lab
def test_a_full_disk_is_one_line_and_the_run_goes_on_when_there_is_room(tmp_path: Path, undisturbed: Path) -> None:
    before = Records.read(RunPaths(undisturbed))
    (expected,) = (
        row for row in before.of_stage("train") if row["contender"] == "DepthwiseConvNet" and row["seed"] == 0
    )
    settings = {name: expected[name] for name in ("initial_lr", "lr_decay")}
    networks = {
        "DepthwiseConvNet": {"training": settings},
        "fails": {"network": "ConvNet", "training": {"crop_padding": 10**7}},
    }
    write_sweep(tmp_path, search={}, timing=None, networks=networks, seeds=[0])
    with small_disk(tmp_path / "runs", "40m") as disk:
        driver = Driver("sweep", "tiny.yaml", folder=tmp_path)
        driver.wait_until(driver.said("train: started"))
        with (disk / "ballast").open("wb", buffering=0) as ballast, contextlib.suppress(OSError):
            while True:
                ballast.write(b"\0" * 4096)
        assert driver.end() == EXIT_FAILED, driver.log.read_text()
        lines = [line for line in driver.log.read_text().splitlines() if line.startswith("dwray: ")]
        assert len(lines) == 1
        assert "No space left on device" in lines[0]
        assert "dwray resume" in lines[0]
        assert "Traceback" not in driver.log.read_text()
        (disk / "ballast").unlink()
        resumed = dwray("resume", "tiny", "--json", folder=tmp_path)
        assert resumed.returncode == EXIT_TRIALS_FAILED, resumed.stderr
        assert "Traceback" not in resumed.stdout + resumed.stderr
        records = Records.read(RunPaths(the_run(tmp_path)))
        assert {row["contender"]: row["status"] for row in records.trials} == {
            "DepthwiseConvNet": "completed",
            "fails": "failed",
        }
        (row,) = (row for row in records.trials if row["status"] == "completed")
        assert comparable(row) == comparable(expected)
        found = [comparable(dict(epoch)) for epoch in records.epochs_of(row)]
        assert found == [comparable(dict(epoch)) for epoch in before.epochs_of(expected)]
        assert [epoch["epoch"] for epoch in found] == [*range(1, 7)]
        found = json.loads(resumed.stdout)
        assert found["run"] == str(the_run(tmp_path))
        [failed] = found["failed"]
        assert (failed["stage"], failed["trial"]) == ("train", "fails seed=0")
        assert failed["error"].startswith("RuntimeError")
        assert "epoch 6/6" in resumed.stderr, "the progress is beside the JSON"


@pytest.mark.lab
def test_the_machine_is_lost_and_the_run_goes_on_from_the_object_store(
    tmp_path: Path, undisturbed: Path, object_store: ObjectStore
) -> None:
    bucket = object_store.new_bucket()
    write_sweep(tmp_path / "first")
    where = ("--storage", f"{bucket}/runs", "--address", "local")
    driver = Driver("sweep", "tiny.yaml", *where, folder=tmp_path / "first")
    driver.wait_until(driver.said("train: started"))
    with object_store.away():  # for longer than an epoch takes
        time.sleep(6)
    driver.wait_until(driver.said("running, epoch 4/6"))
    time.sleep(3)  # the records follow within seconds
    driver.end(signal.SIGKILL)
    run_id = the_run(tmp_path / "first").name
    first, second_line, *_ = driver.log.read_text().splitlines()
    assert first == f"run {the_run(tmp_path / 'first')}"
    assert second_line == f"any machine can go on with it: dwray resume {bucket}/runs/tiny/{run_id} --address local"
    shutil.rmtree(tmp_path / "first")

    second = tmp_path / "second"
    second.mkdir()
    driver = Driver("resume", f"{bucket}/runs/tiny/{run_id}", folder=second)
    driver.wait_until(driver.said("time: started"))
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        try:
            assert driver.end() == EXIT_NOT_EXCLUSIVE, driver.log.read_text()
        finally:
            busy.kill()
    log = driver.log.read_text()
    assert "Traceback" not in log
    assert_same_results(the_run(second), undisturbed)
    # A timing beside a busy process is marked, wherever one looks.
    (line,) = [line for line in log.splitlines() if line.startswith("dwray: ")]
    assert re.search(r"\d of the timings (was|were) not alone on (its|their) device: other processes used ", line)
    assert "NOT ALONE on the device (marked *)" in log
    timings = Records.read(RunPaths(the_run(second))).timings
    assert False in {row["exclusive"] for row in timings}
    assert max(row["other_cpu_seconds"] for row in timings) > 0.1
    # All of it is in the object store, but for what is of one machine; and nothing there or here knows the keys.
    names = Storage(f"{bucket}/runs/tiny/{run_id}").names()
    assert {"report.html", "trials.parquet", "sweep.yaml"} < set(names)
    assert not {NAME, "storage.json"} & set(names)
    third = find_run(f"{bucket}/runs/tiny/{run_id}", tmp_path / "third")
    assert third.paths.html.is_file()
    assert_same_results(third.paths.folder, undisturbed)
    for path in tmp_path.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert KEY.encode() not in content
            assert SECRET.encode() not in content


@pytest.mark.slow
def test_an_interrupted_sweep_says_commands_for_a_shell_and_resumed_as_json_it_has_its_answer(tmp_path: Path) -> None:
    write_sweep(tmp_path, **{key: TINY[key] for key in ("data", "training", "search", "timing")}, seeds=[0])
    driver = Driver("sweep", "tiny.yaml", "--runs-dir", "my runs", folder=tmp_path)
    driver.wait_until(driver.said("completed"))
    assert driver.end(signal.SIGINT) == EXIT_INTERRUPTED
    (run,) = (tmp_path / "my runs" / "tiny").iterdir()
    assert f"to go on: dwray resume '{run}'; what was measured so far: dwray report '{run}'\n" in driver.log.read_text()
    (run / "environment.json").unlink()
    resumed = dwray("resume", str(run), "--json", folder=tmp_path)
    assert resumed.returncode in WELL, resumed.stderr
    assert len(json.loads(resumed.stdout)["answer"]) == 3
    assert len(json.loads((run / "environment.json").read_text())["resumed"]) == 1


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda run: (run / "sweep.yaml").unlink(), "sweep.yaml: there is no such file"),
        (lambda run: (run / "sweep.yaml").write_text("networks: ["), "sweep.yaml"),
        (lambda run: (run / "epochs.parquet").write_bytes(b"PAR1"), "epochs.parquet: cannot be read as Parquet"),
        (lambda run: (run / "environment.json").write_text("{"), "environment.json: cannot be read as JSON"),
        (lambda run: (run / "storage.json").write_text("[]"), "storage.json: does not say where the run is kept"),
    ],
)
def test_a_run_that_is_spoilt_is_one_line(
    tmp_path: Path, undisturbed: Path, spoil: Callable[[Path], Any], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "runs" / "tiny" / undisturbed.name
    shutil.copytree(undisturbed, run)
    spoil(run)
    code, _, error = in_process("resume", str(run), "-q", capsys=capsys)
    assert code in (1, 2)
    assert error.startswith("dwray: ")
    assert said in error
    assert error.count("\n") == 1
