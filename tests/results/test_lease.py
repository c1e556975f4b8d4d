"""One driver a run."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dwray.errors import RunError
from dwray.results import lease as module
from dwray.results.lease import NAME, Lease, taken
from dwray.storage import Storage


@contextlib.contextmanager
def held(folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process that holds the lease."""
    script = (
        "import sys, time\nfrom dwray.results.lease import Lease\nfrom dwray.storage import Storage\n"
        f"with Lease(Storage({str(folder)!r})):\n    print('held', flush=True)\n    time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_second_driver_is_refused_until_the_first_ends(tmp_path: Path) -> None:
    with held(tmp_path) as first:
        refused = rf"another dwray works on this run \(process {first.pid} on "
        with pytest.raises(RunError, match=refused), Lease(Storage(tmp_path)):
            pass
        first.kill()
        first.wait()
        assert (tmp_path / NAME).exists(), "it was killed: its lease lies there still"
        with Lease(Storage(tmp_path)):
            assert json.loads((tmp_path / NAME).read_text())["pid"] == os.getpid()
    assert not (tmp_path / NAME).exists()


def test_of_two_drivers_that_begin_at_once_one_has_the_run(tmp_path: Path) -> None:
    leases = [Lease(Storage(tmp_path)) for _ in range(2)]
    together, both = threading.Barrier(2), threading.Barrier(2)
    refused: list[str] = []

    def drive(lease: Lease) -> None:
        together.wait(30)
        try:
            with lease:
                both.wait(30)
        except RunError as error:
            refused.append(str(error))
            both.wait(30)

    drivers = [threading.Thread(target=drive, args=(lease,)) for lease in leases]
    for driver in drivers:
        driver.start()
    for driver in drivers:
        driver.join(60)
    assert len(refused) == 1
    assert "another dwray works on this run" in refused[0]
    assert not (tmp_path / NAME).exists()


@pytest.mark.parametrize("ours", ["still there", "ended and gone"])
def test_a_driver_whose_run_was_taken_over_ends_and_leaves_the_lease_alone(tmp_path: Path, ours: str) -> None:
    script = (
        "import signal, sys, time\nfrom dwray.errors import RunError\nfrom dwray.results import lease\n"
        "from dwray.storage import Storage\nlease.BEAT_SECONDS = 0.2\n"
        "signal.signal(signal.SIGTERM, signal.default_int_handler)\n"
        f"try:\n    with lease.Lease(Storage({str(tmp_path)!r})):\n        print('held', flush=True)\n"
        "        time.sleep(600)\nexcept RunError as error:\n    print(error)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        process.send_signal(signal.SIGSTOP)
        other = json.dumps({"driver": "x", "host": "far-away", "pid": 1, "started": "y", "beat": 7})
        (tmp_path / NAME).write_text(other)
        if ours == "ended and gone":
            (tmp_path / NAME).unlink()
        process.send_signal(signal.SIGCONT)
        try:
            said, _ = process.communicate(timeout=30)
        finally:
            process.kill()
    assert "another dwray took this run over" in said
    if ours == "still there":
        assert "process 1 on far-away" in said
        assert (tmp_path / NAME).read_text() == other
    else:
        assert not (tmp_path / NAME).exists()


@pytest.mark.parametrize(
    "elsewhere",
    [
        lambda boot, space: f"{boot[::-1]}/{space}",
        lambda boot, space: f"{boot}/pid:[1]",
    ],
    ids=["another machine of the same name", "another container of the same name"],
)
def test_a_process_of_the_same_host_name_is_looked_for_only_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, elsewhere: Callable[[str, str], str]
) -> None:
    monkeypatch.setattr(module, "SILENT_SECONDS", 1.5)
    with held(tmp_path) as alive:
        lease = json.loads((tmp_path / NAME).read_text())
        assert lease["pid"] == alive.pid
        assert lease["processes"].endswith("/" + os.readlink("/proc/self/ns/pid"))
        assert Lease(Storage(tmp_path)).held_here
        lease["processes"] = elsewhere(*lease["processes"].split("/", 1))
        there = Storage(tmp_path / "there")
        there.write(NAME, json.dumps(lease).encode())
        assert not Lease(there).held_here
        with Lease(there):  # silent, so dead, whatever runs here by its number
            pass


def test_a_lease_is_taken_for_every_process_but_its_own(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    assert not taken(storage)
    with Lease(storage):
        assert not taken(storage)
    with held(tmp_path):
        assert taken(storage)


def test_a_driver_on_another_machine_is_alive_while_it_renews_its_lease(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BEAT_SECONDS", 0.2)
    monkeypatch.setattr(module, "SILENT_SECONDS", 3.0)
    far = {"driver": "x", "host": "far-away", "pid": 1, "started": "y", "beat": 1}
    (tmp_path / NAME).write_text(json.dumps(far))
    began = time.monotonic()
    with Lease(Storage(tmp_path)):
        assert time.monotonic() - began >= 3, "it was given the time to show itself"
        held = (tmp_path / NAME).read_text()
        time.sleep(1)
        assert (tmp_path / NAME).read_text() != held, "renewed"
        monkeypatch.setattr(module, "_processes", lambda: "elsewhere")
        with pytest.raises(RunError, match="another dwray"), Lease(Storage(tmp_path)):
            pass


def test_a_lease_that_is_no_lease_is_taken(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text("half a li")
    with Lease(Storage(tmp_path)):
        assert json.loads((tmp_path / NAME).read_text())["beat"] == 1
