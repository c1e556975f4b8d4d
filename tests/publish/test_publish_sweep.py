"""``dwray sweep --wandb``: it publishes while it goes on, and whatever becomes of that, the sweep is the same."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from commands import COMMAND, dwray
from processes import kill_all_in, suspended, trials_below, wait_until
from publishing import assert_all_there, environment, kill_worker, publish, worker_of
from same import assert_same_results
from tiny import TINY
from wandb_server import KEY, Fault, WandbServer, serve

from dwray.errors import EXIT_NOT_EXCLUSIVE
from dwray.paths import RunPaths
from dwray.publish.process import LEAST_SECONDS, SHARE
from dwray.results.records import Records
from dwray.results.store import read_parquet

pytestmark = [pytest.mark.slow, pytest.mark.lab, pytest.mark.client_contract]

WELL = (0, EXIT_NOT_EXCLUSIVE)
COMPUTING_SECONDS = 8
"""More than the publisher needs to read records and to make the tables, while its server is not asked for anything."""
SWEEP = {
    **TINY,
    "networks": ["ConvNet"],
    "training": {"epochs": 150, "batch_size": 32, "initial_lr": 0.05},
    "search": {},
    "seeds": [0],  # a timing's id depends on which of several ended first
}


@dataclass
class Sweep:
    """A ``dwray sweep`` that goes on, or has ended."""

    process: "subprocess.Popen[bytes]"
    folder: Path

    @property
    def said(self) -> str:
        return (self.folder / "log").read_text()

    @property
    def wandb_lines(self) -> list[str]:
        return [line for line in self.said.splitlines() if re.match(r"W&B: \S", line)]

    @property
    def paths(self) -> RunPaths:
        (run,) = (self.folder / "runs" / "tiny").iterdir()
        return RunPaths(run)

    @property
    def last_trial_ended(self) -> float:
        return max(row["ended_at"].replace(tzinfo=UTC) for row in Records.read(self.paths).trials).timestamp()

    def end(self) -> float:
        """Wait for it; the seconds from the end of its last trial to its own."""
        self.process.wait(240)
        assert self.process.returncode in WELL, self.said
        return datetime.now(UTC).timestamp() - self.last_trial_ended


@contextmanager
def sweeping(folder: Path, server: WandbServer | None) -> Iterator[Sweep]:
    folder.mkdir(exist_ok=True)
    (folder / "tiny.yaml").write_text(yaml.safe_dump(SWEEP))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*COMMAND, "sweep", "tiny.yaml", *(["--wandb"] if server else [])],
            cwd=folder,
            env={**os.environ, **environment(folder, server)},
            stdout=log,
            stderr=log,
        )
    try:
        yield Sweep(process, folder)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
            kill_all_in(folder)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sweep, float]:
    """The sweep without W&B, and the seconds that it took after its last trial."""
    with sweeping(tmp_path_factory.mktemp("alone"), None) as sweep:
        seconds = sweep.end()
    assert sweep.wandb_lines == []
    assert not sweep.paths.wandb_folder.exists()
    return sweep, seconds


@contextmanager
def held(sweep: Sweep) -> Iterator[None]:
    """Suspend its training once there are epochs: what is published until it goes on, is published during the sweep."""
    wait_until(lambda: (sweep.folder / "runs" / "tiny").is_dir() and sweep.paths.epochs.is_file())
    wait_until(lambda: len(read_parquet(sweep.paths.epochs)) > 0)
    with suspended(trials_below(sweep.process.pid)):
        yield
        assert "completed" not in [row["status"] for row in Records.read(sweep.paths).trials]


def processes_of(folder: Path) -> list[Path]:
    """All that was started below a sweep in a folder, which is their home: Ray's, the trials', the publisher's."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"HOME={folder}\0".encode() in (process / "environ").read_bytes() + b"\0":
                found.append(process)
    return found


def said_of(process: Path) -> bytes:
    """What anyone on the machine may see of a process."""
    with suppress(OSError):
        return (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
    return b""


def files_with_the_key(*folders: Path) -> list[Path]:
    found = []
    for path in (path for folder in folders for path in folder.rglob("*")):
        with suppress(OSError):
            if path.is_file() and KEY.encode() in path.read_bytes():
                found.append(path)
    return found


def test_runs_arrive_during_the_sweep_and_the_key_is_nowhere(tmp_path: Path, alone: tuple[Sweep, float]) -> None:
    with serve() as server, sweeping(tmp_path, server) as sweep:
        with held(sweep):
            wait_until(lambda: any(run.history for run in list(server.runs.values())))
            said = [said_of(process) for process in processes_of(tmp_path)]
        sweep.end()
        assert_all_there(server, sweep.paths)
    [line] = sweep.wandb_lines
    assert line.startswith("W&B: 4 runs in testers/dwray; report: ")
    assert_same_results(sweep.paths.folder, alone[0].paths.folder)

    together = b"\n".join(said)
    for name in (b"raylet", b"dwray.publish.worker", b"wandb-core", b"ray::", b"sweep\0tiny.yaml"):
        assert name in together
    assert KEY.encode() not in together
    sessions = {Path(found.decode()) for found in re.findall(rb"(/[^\0\n= ]*/session_[0-9_-]+)", together)}
    assert any((session / "logs").is_dir() for session in sessions)
    assert files_with_the_key(tmp_path, *sessions) == []


FAULTS: list[tuple[Fault, int]] = [
    *(("401", 0), ("refuse", 0)),
    *(("hang", 12), ("500", 12)),  # while trials run
    *(("hang", 40), ("reset", 40)),  # most of it after the last trial
]


@pytest.mark.parametrize(("fault", "after"), FAULTS)
def test_a_server_that_fails_changes_nothing_of_the_sweep(
    fault: Fault, after: int, tmp_path: Path, alone: tuple[Sweep, float]
) -> None:
    undisturbed, seconds = alone
    began = time.monotonic()
    with serve() as server:
        server.fail(fault, after=after)
        with sweeping(tmp_path, server) as sweep:
            took = sweep.end()
        assert took < seconds + max(LEAST_SECONDS, SHARE * (time.monotonic() - began)) + COMPUTING_SECONDS
        [line] = sweep.wandb_lines
        assert line.startswith("W&B: not all was sent")
        assert line.endswith(f"to send the rest: dwray publish {sweep.paths.folder}")
        assert_same_results(sweep.paths.folder, undisturbed.paths.folder)
        assert files_with_the_key(tmp_path) == []
        if after:
            assert server.runs
            server.mend()
            assert publish(sweep.paths, server).returncode == 0
            assert_all_there(server, sweep.paths)


def test_a_publisher_that_is_killed_changes_nothing_of_the_sweep(tmp_path: Path, alone: tuple[Sweep, float]) -> None:
    undisturbed, seconds = alone
    with serve() as server:
        with sweeping(tmp_path, server) as sweep:
            wait_until(lambda: any(run.history for run in list(server.runs.values())))
            kill_worker(tmp_path)
            assert sweep.end() < seconds + LEAST_SECONDS
        [line] = sweep.wandb_lines
        assert line.startswith("W&B: not all was sent: its process was ended; to send the rest: dwray publish ")
        assert_same_results(sweep.paths.folder, undisturbed.paths.folder)
        assert publish(sweep.paths, server).returncode == 0
        assert_all_there(server, sweep.paths)


def test_a_driver_that_is_killed_leaves_no_publisher_and_the_resumed_run_publishes_all(
    tmp_path: Path, alone: tuple[Sweep, float]
) -> None:
    with serve() as server:
        with sweeping(tmp_path, server) as sweep:
            with held(sweep):
                wait_until(lambda: any(run.history for run in list(server.runs.values())))
                assert worker_of(tmp_path)
                sweep.process.send_signal(signal.SIGKILL)
                wait_until(lambda: worker_of(tmp_path) is None, seconds=60)
            sweep.process.wait()
            kill_all_in(tmp_path)  # Ray's servers, which end by themselves in their time
        resumed = dwray("resume", str(sweep.paths.folder), "--wandb", folder=tmp_path, **environment(tmp_path, server))
        assert resumed.returncode in WELL, resumed.stderr
        assert "W&B: 4 runs in testers/dwray; report: " in resumed.stdout
        assert_same_results(sweep.paths.folder, alone[0].paths.folder)
        assert_all_there(server, sweep.paths, repeated=True)
