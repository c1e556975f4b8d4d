"""Files by name under one place, a folder or an object store's bucket: each is written whole, or not at all.

Object stores go through ``pyarrow.fs``. Credentials come from the environment (``AWS_*``, instance profiles, Google's
application default credentials), never from a location, which is written into logs and files.
"""

import errno
import os
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

from dwray.errors import RunError, one_line

T = TypeVar("T")

SCHEMES = ("s3", "gs")
OPTIONS = {"region", "endpoint_override", "scheme", "allow_bucket_creation", "retry_limit_seconds", "project_id"}
"""Of a location, as pyarrow.fs takes them; there are others, for keys, which have no place in a location."""
PATIENCE_SECONDS = 300.0
"""So long a store that fails is tried again; an outage of seconds to minutes costs time and nothing else."""
GOOGLES_PATIENCE = "retry_limit_seconds"
"""Google's client tries for a quarter of an hour by itself, whoever waits for it."""
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
REFUSALS = (
    *("ACCESS_DENIED", "NO_SUCH_BUCKET", "INVALID_ACCESS_KEY", "SIGNATURE", "TOKEN", "credentials", "Credentials"),
    *("PERMISSION_DENIED", "UNAUTHENTICATED"),  # Google Cloud Storage's
)
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


class _Folder:
    """Files below a folder."""

    def __init__(self, location: str) -> None:
        self._root = Path(location)

    def read(self, name: str) -> bytes:
        return (self._root / name).read_bytes()

    def write(self, name: str, content: bytes) -> None:
        write_atomically(self._root / name, content)

    def delete(self, name: str) -> None:
        (self._root / name).unlink(missing_ok=True)

    def names(self) -> list[str]:
        files = (path for path in self._root.rglob("*") if path.is_file())
        return [path.relative_to(self._root).as_posix() for path in files if not path.name.endswith(".tmp")]


class _ObjectStore:
    """Objects below a prefix of a bucket."""

    def __init__(self, location: str) -> None:
        from pyarrow import ArrowInvalid
        from pyarrow.fs import FileSystem

        if location.startswith("gs://") and GOOGLES_PATIENCE not in location:
            location += f"{'&' if '?' in location else '?'}{GOOGLES_PATIENCE}=5"
        try:
            self._system, root = FileSystem.from_uri(location)
        except ArrowInvalid as error:
            raise RunError(
                f"{location}: is no location of a store ({one_line(error)}); it is s3://BUCKET/PREFIX or gs://BUCKET/PREFIX"
            ) from error
        self._root = root.rstrip("/")

    def read(self, name: str) -> bytes:
        with self._system.open_input_file(f"{self._root}/{name}") as stream:
            content: bytes = stream.read()
            return content

    def write(self, name: str, content: bytes) -> None:
        with self._system.open_output_stream(f"{self._root}/{name}") as stream:
            stream.write(content)

    def delete(self, name: str) -> None:
        with suppress(FileNotFoundError):
            self._system.delete_file(f"{self._root}/{name}")

    def names(self) -> list[str]:
        from pyarrow.fs import FileSelector, FileType

        selector = FileSelector(self._root, allow_not_found=True, recursive=True)
        infos = self._system.get_file_info(selector)
        return [info.path[len(self._root) + 1 :] for info in infos if info.type == FileType.File]


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
        elif "@" in self.location or not self._options <= OPTIONS:
            # Said without a word of it: what it holds may be a password.
            raise RunError(
                f"{scheme}://...: a location must not hold credentials, or options but {', '.join(sorted(OPTIONS))}; "
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or an instance profile) instead"
            )
        elif scheme not in SCHEMES:
            raise RunError(f"{self.location}: storage is a folder, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX")

    @property
    def _options(self) -> set[str]:
        return set(parse_qs(urlsplit(self.location).query, keep_blank_values=True))

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
        return self._patiently(lambda: self._files.read(name))

    def write(self, name: str, content: bytes) -> None:
        """Write a file, whole or not at all.

        Raises:
            OSError: It cannot be written.
        """
        self._patiently(lambda: self._files.write(name, content))

    def delete(self, name: str) -> None:
        """Delete a file; that there is none is no error."""
        self._patiently(lambda: self._files.delete(name))

    def names(self) -> list[str]:
        """The names of all files, in their order; those being written are none of them."""
        return sorted(self._patiently(lambda: self._files.names()))  # noqa: PLW0108 - it may be opened only then

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
            reason = one_line(error) if self.remote else error.strerror  # without the name of what was tried with
            raise RunError(f"{self}: cannot be written ({reason}); check {check}") from error

    @cached_property
    def _files(self) -> _Folder | _ObjectStore:
        return _ObjectStore(self.location) if self.remote else _Folder(self.location)

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
        """Also of one in opening the store, which asks AWS for the bucket's region."""
        if isinstance(error, FileNotFoundError | PermissionError):
            return False
        return not any(word in str(error) for word in REFUSALS) if self.remote else error.errno in PASSING
