"""One driver a run."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dwray.errors import RunError
from dwray.results import lease as module
from dwray.results.lease import NAME, Lease
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
        monkeypatch.setattr("platform.node", lambda: "elsewhere")
        with pytest.raises(RunError, match="another dwray"), Lease(Storage(tmp_path)):
            pass


def test_a_lease_that_is_no_lease_is_taken(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text("half a li")
    with Lease(Storage(tmp_path)):
        assert json.loads((tmp_path / NAME).read_text())["beat"] == 1
