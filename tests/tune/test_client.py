"""``--address ray://...``: the driver on the head of a cluster, its user in another process with other files."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import yaml
from commands import INTERRUPTIBLE
from object_store import ObjectStore
from processes import kill_all_in
from same import assert_same_results
from tiny import DISTURBED

from dwray.paths import RunPaths
from dwray.results.records import Records
from dwray.storage import Storage

pytestmark = [pytest.mark.slow, pytest.mark.lab]


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        return int(free.getsockname()[1])


@contextmanager
def head(folder: Path) -> Iterator[str]:
    """A cluster of one node with a server for clients; its address for them."""
    ports = {"port": free_port(), "ray-client-server-port": free_port()}
    folder.mkdir()
    # A busy machine may take longer for a client's own server than Ray waits by default.
    patient = {"RAY_CLIENT_SERVER_CHECK_CHANNEL_TIMEOUT_S": "120", "RAY_USAGE_STATS_ENABLED": "0"}
    options = {**ports, "node-ip-address": "127.0.0.1", "num-cpus": 2, "include-dashboard": "false"}
    command = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, *(f"--{name}={value}" for name, value in options.items())],
            cwd=folder,
            env={**os.environ, "RAY_AUTH_MODE": "disabled", **patient},
            stdout=log,
            stderr=log,
        )
    try:
        ends = time.monotonic() + 90
        while True:
            try:
                socket.create_connection(("127.0.0.1", ports["ray-client-server-port"]), 1).close()
            except OSError:
                assert process.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < ends, (folder / "log").read_text()
                time.sleep(0.3)
            else:
                break
        yield f"ray://127.0.0.1:{ports['ray-client-server-port']}"
    finally:
        process.terminate()
        process.wait(60)
        kill_all_in(folder)


def dwray(*arguments: str, folder: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*INTERRUPTIBLE, *arguments],
        cwd=folder,
        env={**os.environ, "RAY_AUTH_MODE": "disabled", "COLUMNS": "80"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def until_kept(bucket: str, name: str) -> bool:
    """Wait for a file of a run, which is copied beside the trainings; whether it came."""
    ends = time.monotonic() + 60
    while not any(found.endswith(name) for found in Storage(bucket).names()):
        if time.monotonic() > ends:
            return False
        time.sleep(0.2)
    return True


def test_a_sweep_through_the_client_is_interrupted_and_resumed_to_the_same_results(
    tmp_path: Path, object_store: ObjectStore, swept: tuple[subprocess.CompletedProcess[str], Path]
) -> None:
    bucket, user = object_store.new_bucket(), tmp_path / "user"
    user.mkdir()
    (user / "tiny.yaml").write_text(yaml.safe_dump(DISTURBED))
    with head(tmp_path / "head") as address:
        refused = dwray("sweep", "tiny.yaml", "--address", address, folder=user)
        said, _ = refused.communicate(timeout=120)
        assert refused.returncode == 1
        assert re.search(r"ray://: the driver runs on the cluster's head.*--storage s3://", said)

        first = dwray("sweep", "tiny.yaml", "--storage", bucket, "--address", address, folder=user)
        assert first.stdout is not None
        lines = []
        for line in first.stdout:
            lines.append(line)
            if "running, epoch 2/3" in line:
                first.send_signal(signal.SIGINT)
                break
        said = "".join(lines) + first.communicate(timeout=120)[0]
        assert first.returncode == 130, said
        assert "Traceback" not in said
        kept = re.search(rf"to go on: dwray resume ({bucket}/tiny/\S+) --address {address};", said)
        assert kept, said
        assert f"any machine can go on with it: dwray resume {kept[1]} --address {address}\n" in said
        (folder,) = (user / "runs" / "tiny").glob("*")
        assert {row["status"] for row in Records.read(RunPaths(folder)).trials} & {"running", "interrupted"}

        again = dwray("resume", kept[1], "--address", address, folder=user)
        said, _ = again.communicate(timeout=300)
    assert again.returncode in (0, 4), said
    assert "Traceback" not in said
    (expected,) = (swept[1] / "runs" / "tiny").glob("*")
    assert_same_results(folder, expected)
    assert (folder / "report.html").is_file()


def test_a_head_that_is_lost_costs_no_record(tmp_path: Path, object_store: ObjectStore) -> None:
    bucket, user = object_store.new_bucket(), tmp_path / "user"
    user.mkdir()
    (user / "tiny.yaml").write_text(yaml.safe_dump(DISTURBED))
    with head(tmp_path / "head") as address:
        driver = dwray("sweep", "tiny.yaml", "--storage", bucket, "--address", address, folder=user)
        assert driver.stdout is not None
        lines = []
        for line in driver.stdout:
            lines.append(line)
            if "running, epoch 2/3" in line:
                break
        assert until_kept(bucket, "epochs.parquet")
        kill_all_in(tmp_path / "head")
    said = "".join(lines) + driver.communicate(timeout=120)[0]
    assert driver.returncode == 1, said
    assert (user / "runs" / "tiny").is_dir(), said
    (run,) = (user / "runs" / "tiny").glob("*")
    name = f"{bucket}/tiny/{run.name}"
    (line,) = [line for line in said.splitlines() if line.startswith("dwray: ")]
    assert "the driver on the head was lost" in line
    assert line.endswith(f"to go on once that is mended: dwray resume {name} --address {address}")
    assert {"trials.parquet", "sweep.yaml"} < set(Storage(name).names())
