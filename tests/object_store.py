"""An S3 server on the loopback (moto's), behind a door that can be shut: an object store that is away for a while."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from pyarrow.fs import FileSystem

KEY, SECRET = "AKIA-of-the-tests", "secret-of-the-tests"


class Door:
    """Hands connections on to a port, or, while it is shut, ends them."""

    def __init__(self, port: int) -> None:
        self._to = port
        self.shut = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                outer, _ = self._listener.accept()
            except OSError:
                return
            if self.shut:
                outer.close()
                continue
            threading.Thread(target=self._join, args=(outer,), daemon=True).start()

    def _join(self, outer: socket.socket) -> None:
        with outer, socket.create_connection(("127.0.0.1", self._to)) as inner:
            self._pairs.append((outer, inner))
            back = threading.Thread(target=self._copy, args=(inner, outer), daemon=True)
            back.start()
            self._copy(outer, inner)
            back.join()

    def _copy(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while content := source.recv(65536):
                target.sendall(content)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close_all(self) -> None:
        """End every connection that goes through."""
        for pair in self._pairs:
            for end in pair:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
        self._pairs.clear()

    def remove(self) -> None:
        """No further connection."""
        self._listener.close()
        self.close_all()

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Nothing gets through for a while."""
        self.shut = True
        self.close_all()
        try:
            yield
        finally:
            self.shut = False


class ObjectStore:
    """What the fixture gives: buckets, and outages."""

    def __init__(self, door: Door) -> None:
        self.door = door
        self.away = door.away
        self._numbers = count(1)

    def new_bucket(self) -> str:
        """The URI of an empty bucket."""
        name = f"bucket-{next(self._numbers)}-{os.getpid()}"
        system, _ = FileSystem.from_uri(f"s3://{name}/?allow_bucket_creation=true")
        system.create_dir(name)
        return f"s3://{name}"


def free_port() -> int:
    """A port of the loopback on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@contextlib.contextmanager
def settings(**variables: str) -> Iterator[None]:
    """Environment variables of this process and its children, for a while."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def serve(log: Path) -> Iterator[ObjectStore]:
    """Start the server, and point the environment of this process, and its children's, at it."""
    port = free_port()
    with log.open("wb") as out:
        server = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], stdout=out, stderr=out
        )
    door = Door(port)
    variables = {
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{door.port}",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    try:
        with settings(**variables):
            ends = time.monotonic() + 60
            while True:
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/moto-api/", timeout=2).close()
                    break
                except OSError:
                    assert time.monotonic() < ends, log.read_text()
                    time.sleep(0.2)
            yield ObjectStore(door)
    finally:
        door.remove()
        server.terminate()
        server.wait(10)
