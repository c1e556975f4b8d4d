"""A Google Cloud Storage server (an emulator) on the loopback."""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from object_store import free_port, settings

BUCKET = "lab"


def write_key(path: Path) -> None:
    """A service account's key, as Google gives one away: with it the client signs its requests by itself."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    account = {
        "type": "service_account",
        "project_id": "tests",
        "private_key_id": "1",
        "private_key": private.decode(),
        "client_email": "tests@tests.iam.gserviceaccount.com",
        "client_id": "1",
        "token_uri": "http://127.0.0.1:1/token",
    }
    path.write_text(json.dumps(account))


class GoogleStore:
    """What the fixture gives: places in a bucket."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._numbers = count(1)

    def new_place(self) -> str:
        """A location with nothing in it."""
        return f"gs://{BUCKET}/{next(self._numbers)}?scheme=http&endpoint_override=127.0.0.1:{self.port}"


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[GoogleStore]:
    """Start the server, and give this process, and its children, a key."""
    write_key(folder / "key.json")
    port = free_port()
    program = str(Path(sys.executable).with_name("gcp-storage-emulator"))
    options = ("--host=127.0.0.1", f"--port={port}", "--in-memory", f"--default-bucket={BUCKET}")
    with (folder / "log").open("wb") as out:
        server = subprocess.Popen([program, "start", *options], stdout=out, stderr=out)
    try:
        with settings(GOOGLE_APPLICATION_CREDENTIALS=str(folder / "key.json")):
            ends = time.monotonic() + 60
            while "started" not in (log := (folder / "log").read_text()):
                assert server.poll() is None, log
                assert time.monotonic() < ends, log
                time.sleep(0.1)
            yield GoogleStore(port)
    finally:
        server.terminate()
        server.wait(10)
