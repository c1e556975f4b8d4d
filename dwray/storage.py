"""Files by name under one place, a folder or an object store's bucket: each is written whole, or not at all.

Object stores go through ``pyarrow.fs``. Credentials come from the environment (``AWS_*``, instance profiles, Google's
application default credentials), never from a location, which is written into logs and files.
"""

import errno
import os
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit
from uuid import uuid4

from dwray.errors import RunError

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

T = TypeVar("T")

SCHEMES = ("s3", "gs")
PATIENCE_SECONDS = 300.0
"""So long a store that fails is tried again; an outage of seconds to minutes costs time and nothing else."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 15.0
PASSING = {
    errno.EIO,
    errno.ESTALE,
    errno.ETIMEDOUT,
    errno.ENOTCONN,
    errno.ECONNREFUSED,
    errno.ECONNRESET,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.ENETUNREACH,
    errno.EAGAIN,
    errno.EBUSY,
}
"""Errors of a file system that may pass (a file server that is away); all others, a full disk say, are told at once."""
REFUSALS = ("ACCESS_DENIED", "NO_SUCH_BUCKET", "INVALID_ACCESS_KEY", "SIGNATURE", "TOKEN", "credentials", "Credentials")
"""What an object store's error holds where trying again does not help."""


def replace_file(path: Path, content: bytes) -> None:
    """Write a file in a folder that exists, under a temporary name, then move it.

    A reader sees the old file or the new one, and after a power cut, too.
    """
    temporary = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes) -> None:
    """As :func:`replace_file`; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, content)


class Storage:
    """Files by name in one place.

    Args:
        location: A folder, or ``s3://bucket/prefix`` or ``gs://bucket/prefix``.
        patience_seconds: So long an operation is tried again where its failure may pass.

    Raises:
        RunError: The location is of no known kind, or holds a password.
    """

    def __init__(self, location: str | Path, *, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self.location = str(location).rstrip("/") or "/"
        self.patience_seconds = patience_seconds
        scheme, found, _ = self.location.partition("://")
        self.remote = bool(found)
        if not self.remote:
            self.location = str(Path(self.location).absolute())
        elif scheme not in SCHEMES:
            raise RunError(f"{self.location}: storage is a folder, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX")
        elif "@" in urlsplit(self.location).netloc:
            raise RunError(
                f"{scheme}://...: a location must not hold credentials; set AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY (or an instance profile) instead"
            )

    def __str__(self) -> str:
        return self.location

    def __reduce__(self) -> tuple[type["Storage"], tuple[str]]:
        """By its location alone: whoever unpickles it has credentials of its own."""
        return Storage, (self.location,)

    def within(self, name: str) -> "Storage":
        """The files whose names begin with ``name/``."""
        before, found, options = self.location.partition("?")
        return Storage(f"{before}/{name}{found}{options}", patience_seconds=self.patience_seconds)

    def read(self, name: str) -> bytes:
        """A file's content.

        Raises:
            FileNotFoundError: There is no such file.
            OSError: It cannot be read.
        """

        def remote() -> bytes:
            with self._system.open_input_file(self._path(name)) as stream:
                content: bytes = stream.read()
                return content

        return self._patiently(remote if self.remote else (Path(self.location) / name).read_bytes)

    def write(self, name: str, content: bytes) -> None:
        """Write a file, whole or not at all.

        Raises:
            OSError: It cannot be written.
        """

        def remote() -> None:
            with self._system.open_output_stream(self._path(name)) as stream:
                stream.write(content)

        local = Path(self.location) / name
        self._patiently(remote if self.remote else lambda: write_atomically(local, content))

    def delete(self, name: str) -> None:
        """Delete a file; that there is none is no error."""

        def remote() -> None:
            try:
                self._system.delete_file(self._path(name))
            except FileNotFoundError:
                return

        local = Path(self.location) / name
        self._patiently(remote if self.remote else lambda: local.unlink(missing_ok=True))

    def names(self) -> list[str]:
        """The names of all files, in their order; those being written are none of them."""

        def remote() -> list[str]:
            from pyarrow.fs import FileSelector, FileType

            selector = FileSelector(self._root, allow_not_found=True, recursive=True)
            infos = self._system.get_file_info(selector)
            return [info.path[len(self._root) + 1 :] for info in infos if info.type == FileType.File]

        def local() -> list[str]:
            root = Path(self.location)
            files = (path for path in root.rglob("*") if path.is_file())
            return [path.relative_to(root).as_posix() for path in files if not path.name.endswith(".tmp")]

        return sorted(self._patiently(remote if self.remote else local))

    def check_writable(self) -> None:
        """Write a file and delete it again.

        Raises:
            RunError: That failed; the message says where and how.
        """
        probe, name = Storage(self.location, patience_seconds=0), f".probe-{uuid4().hex}"
        try:
            probe.write(name, b"dwray")
            probe.delete(name)
        except OSError as error:
            check = "the bucket's name, your credentials and the network" if self.remote else "its rights"
            raise RunError(f"{self}: cannot be written ({one_line(error)}); check {check}") from error

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    @cached_property
    def _root(self) -> str:
        return self._opened[1]

    @cached_property
    def _system(self) -> "FileSystem":
        return self._opened[0]

    @cached_property
    def _opened(self) -> "tuple[FileSystem, str]":
        from pyarrow import ArrowInvalid
        from pyarrow.fs import FileSystem

        try:
            system, root = FileSystem.from_uri(self.location)
        except ArrowInvalid as error:
            raise RunError(f"{self.location}: is no location of a store ({one_line(error)})") from error
        return system, root.rstrip("/")

    def _patiently(self, operation: Callable[[], T]) -> T:
        """An operation's result, tried again with growing pauses while its failure may pass."""
        ends, pause = time.monotonic() + self.patience_seconds, FIRST_PAUSE_SECONDS
        while True:
            try:
                return operation()
            except OSError as error:
                if not self._may_pass(error) or time.monotonic() + pause > ends:
                    raise
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def _may_pass(self, error: OSError) -> bool:
        if isinstance(error, FileNotFoundError | PermissionError):
            return False
        if self.remote:
            return not any(word in str(error) for word in REFUSALS)
        return error.errno in PASSING


def one_line(error: BaseException) -> str:
    """An error's message in a line, or its name if it has none."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
