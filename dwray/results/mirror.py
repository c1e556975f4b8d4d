"""The copy of a run's files in storage that outlives the machine: kept up as they change, and fetched back."""

import json
import platform
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dwray.errors import RunError, one_line, parse_json
from dwray.paths import RunPaths
from dwray.results import lease
from dwray.storage import Storage, write_atomically

PAUSE_SECONDS = 2.0
"""Between two tries at a storage that fails."""
LAST_SECONDS = 300.0
"""So long the end of a run waits for the last files to be copied."""
INTERRUPTED_SECONDS = 20.0
"""So long a run that is interrupted, or has failed, waits for them."""


class Mirror:
    """Copies files of a run to storage from a thread of its own: a storage that is slow or away holds nothing up.

    A context manager: leaving it waits for the last files. The trials are never ahead of the other records there:
    who goes on from the copy alone takes a trial that has ended for one whose epochs and passes are there. Nothing is
    copied over what another driver writes: a driver that was suspended, and wakes when another has taken the run over,
    may have old records to copy.

    Args:
        paths: The run.
        storage: Gets its files, under the names that they have in the run's folder.
        last_seconds: So long leaving it waits for the last files.
    """

    def __init__(self, paths: RunPaths, storage: Storage, *, last_seconds: float = LAST_SECONDS) -> None:
        self._paths, self._storage = paths, Storage(storage.location, patience_seconds=0)
        self._last_seconds = last_seconds
        self._pending: dict[Path, None] = {}
        self._changed = threading.Condition()
        self._ends: float | None = None
        """When to give up, once nothing more will come."""
        self._error: Exception | None = None
        self._copying: Path | None = None
        self._thread = threading.Thread(target=self._work, daemon=True, name="mirror")
        self._thread.start()

    def put(self, path: Path) -> None:
        """A file of the run has changed; whatever it holds when its turn comes is copied."""
        with self._changed:
            self._pending[path] = None
            self._changed.notify()

    def put_all(self) -> None:
        """Every file that is kept in both places."""
        for path in _files(self._paths):
            self.put(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for the last files.

        Raises:
            RunError: Some could not be copied in time; the run's folder has them all.
        """
        patience = min(INTERRUPTED_SECONDS, self._last_seconds) if kind else self._last_seconds
        with self._changed:
            self._ends = time.monotonic() + patience
            self._changed.notify()
        self._thread.join(patience + PAUSE_SECONDS)
        with self._changed:
            left = len(self._pending) + (self._copying is not None)
        if left and kind is None:
            why = one_line(self._error) if self._error else "it is too slow"
            raise RunError(
                f"{self._storage}: {left} files could not be copied there ({why}); they are all in "
                f"{self._paths.folder} on {platform.node()}"
            )

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._pending and self._ends is None:
                    self._changed.wait()
                if not self._pending or (self._ends is not None and time.monotonic() > self._ends):
                    return
                path = min(self._pending, key=lambda each: each == self._paths.trials)  # the first, and the trials last
                del self._pending[path]  # it may change again while it is copied
                self._copying = path
            try:
                self._copy(path)
            except Exception as error:  # PyArrow has others than OSError; the next try may do better
                with self._changed:
                    self._error = error
                    self._pending.setdefault(path)
                time.sleep(PAUSE_SECONDS)
            finally:
                self._copying = None

    def _copy(self, path: Path) -> None:
        if lease.taken(self._storage):
            raise RunError(f"{self._storage}: another dwray works on this run; wait for it, or end it first")
        content = path.read_bytes()
        with self._changed:
            if path == self._paths.trials and self._pending.keys() & {self._paths.epochs, self._paths.timings}:
                self._pending.setdefault(path)  # they were written before it, and changed while it waited
                return
        self._storage.write(path.relative_to(self._paths.folder).as_posix(), content)


def fetch(storage: Storage, paths: RunPaths) -> None:
    """Copy a run's files out of storage into its folder, less those that are not kept in both places.

    Records that are further here than there stay, with the files beside them: the driver that wrote them could not copy
    them, and the next one does.

    Raises:
        RunError: There is no run, it cannot be read, or not be written here.
    """
    try:
        names = storage.names()
        if paths.trials.name not in names and not paths.trials.is_file():
            raise RunError(f"{storage}: holds no run (no {paths.trials.name}); give .../SWEEP/RUN-ID")
        here = Storage(paths.folder)
        stay = here.names() if _progress(paths, here.read) > _progress(paths, storage.read) else []
        for name in names:
            path = paths.folder / name
            if not path.resolve().is_relative_to(paths.folder.resolve()):
                raise RunError(f"{storage}: the file {name!r} would lie outside of the run; delete it there")
            if name not in stay and _in_both(paths, path):
                _write_here(path, storage.read(name))
        remember(storage, paths)
    except OSError as error:
        raise RunError(f"{storage}: cannot be read ({one_line(error)}); check its name and your credentials") from error


def remember(storage: Storage, paths: RunPaths) -> None:
    """Note beside a run's files where they are kept.

    Raises:
        RunError: It cannot be written.
    """
    _write_here(paths.storage, (json.dumps({"location": storage.location}, indent=2) + "\n").encode())


def remembered(paths: RunPaths) -> Storage | None:
    """Where a run's files are kept, as :func:`remember` noted it; None of a run without a note.

    Raises:
        RunError: The note does not say where, or names no place that a run can be kept in.
    """
    if not paths.storage.is_file():
        return None
    try:
        location = parse_json(paths.storage.read_text())["location"]
    except (ValueError, KeyError, TypeError):
        location = None
    if not isinstance(location, str):
        raise RunError(f"{paths.storage}: does not say where the run is kept; delete it if it is here")
    return Storage(location)


def is_ahead(paths: RunPaths, storage: Storage) -> bool:
    """Something was measured here that storage does not have, or that cannot be told."""
    here = _progress(paths, Storage(paths.folder).read)
    if here <= (0, 0, 0):
        return False
    names = {path.relative_to(paths.folder).as_posix() for path in _files(paths)}
    quick = Storage(storage.location, patience_seconds=PAUSE_SECONDS)
    try:
        return here > _progress(paths, quick.read) or not names.issubset(quick.names())
    except OSError:
        return True


def _write_here(path: Path, content: bytes) -> None:
    try:
        write_atomically(path, content)
    except OSError as error:
        raise RunError(f"{path}: cannot be written ({one_line(error)}); check its rights and the space") from error


def _files(paths: RunPaths) -> Iterable[Path]:
    """The files of a run here that are kept in both places."""
    return (path for path in sorted(paths.folder.rglob("*")) if path.is_file() and _in_both(paths, path))


def _in_both(paths: RunPaths, path: Path) -> bool:
    """A file is kept here and in storage.

    Saved states are not: trials write them to storage themselves. Nor is the lease, which speaks of its place alone,
    the note of where the storage is, and what W&B's client wrote.
    """
    return (
        not path.name.endswith(".tmp")
        and path not in (paths.folder / lease.NAME, paths.storage)
        and not {paths.states, paths.wandb_folder} & set(path.parents)
    )


def _progress(paths: RunPaths, read: Callable[[str], bytes]) -> tuple[int, int, int]:
    """How far a run's records have got: epochs, which are never taken back, then trials that ended and timed passes.

    Records that are not there, or are damaged, have got nowhere.
    """
    try:
        epochs, timings, trials = (read(path.name) for path in (paths.epochs, paths.timings, paths.trials))
    except FileNotFoundError:
        return (-1, 0, 0)
    try:
        status = pq.read_table(pa.BufferReader(trials), columns=["status"])["status"]
        ended = len(status.filter(pc.invert(pc.is_in(status, pa.array(["running", "interrupted"])))))
        return (_rows(epochs), ended, _rows(timings))
    except (OSError, ValueError, KeyError, pa.ArrowException):
        return (-1, 0, 0)


def _rows(content: bytes) -> int:
    rows: int = pq.read_metadata(pa.BufferReader(content)).num_rows
    return rows
