"""The copy of a run's files in storage that outlives the machine: kept up as they change, and fetched back."""

import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from dwray.errors import RunError, one_line
from dwray.paths import RunPaths
from dwray.storage import Storage, write_atomically

PAUSE_SECONDS = 2.0
"""Between two tries at a storage that fails."""
LAST_SECONDS = 300.0
"""So long the end of a run waits for the last files to be copied."""
INTERRUPTED_SECONDS = 20.0
"""So long a run that is interrupted, or has failed, waits for them."""


class Mirror:
    """Copies files of a run to storage from a thread of its own: a storage that is slow or away holds nothing up.

    A context manager: leaving it waits for the last files.

    Args:
        paths: The run.
        storage: Gets its files, under the names that they have in the run's folder.
    """

    def __init__(self, paths: RunPaths, storage: Storage) -> None:
        self._paths, self._storage = paths, Storage(storage.location, patience_seconds=0)
        self._pending: dict[Path, None] = {}
        self._changed = threading.Condition()
        self._ends: float | None = None
        """When to give up, once nothing more will come."""
        self._error: OSError | None = None
        self._copying: Path | None = None
        self._thread = threading.Thread(target=self._work, daemon=True, name="mirror")
        self._thread.start()

    def put(self, path: Path) -> None:
        """A file of the run has changed; whatever it holds when its turn comes is copied."""
        with self._changed:
            self._pending[path] = None
            self._changed.notify()

    def put_all(self) -> None:
        """Every file of the run, less what W&B's client wrote, and the saved states, which trials write there."""
        elsewhere = {self._paths.states, self._paths.wandb_folder}
        for path in sorted(self._paths.folder.rglob("*")):
            if path.is_file() and not path.name.endswith(".tmp") and not elsewhere & set(path.parents):
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
        patience = INTERRUPTED_SECONDS if kind else LAST_SECONDS
        with self._changed:
            self._ends = time.monotonic() + patience
            self._changed.notify()
        self._thread.join(patience + PAUSE_SECONDS)
        with self._changed:
            left = len(self._pending) + (self._copying is not None)
        if left and kind is None:
            why = one_line(self._error) if self._error else "it is too slow"
            raise RunError(
                f"{self._storage}: {left} files could not be copied there ({why}); they are all in {self._paths.folder}"
            )

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._pending and self._ends is None:
                    self._changed.wait()
                if not self._pending or (self._ends is not None and time.monotonic() > self._ends):
                    return
                path = next(iter(self._pending))
                del self._pending[path]  # it may change again while it is copied
                self._copying = path
            try:
                self._storage.write(path.relative_to(self._paths.folder).as_posix(), path.read_bytes())
            except OSError as error:
                with self._changed:
                    self._error = error
                    self._pending.setdefault(path)
                time.sleep(PAUSE_SECONDS)
            finally:
                self._copying = None


def fetch(storage: Storage, paths: RunPaths) -> None:
    """Copy a run's files out of storage into its folder, less the saved states.

    Raises:
        RunError: There is no run, or it cannot be read.
    """
    try:
        names = storage.names()
        if paths.trials.name not in names:
            raise RunError(f"{storage}: holds no run (no {paths.trials.name})")
        for name in names:
            path = paths.folder / name
            if not path.resolve().is_relative_to(paths.folder.resolve()):
                raise RunError(f"{storage}: the file {name!r} would lie outside of the run")
            if paths.states not in path.parents:
                write_atomically(path, storage.read(name))
    except OSError as error:
        raise RunError(f"{storage}: cannot be read ({one_line(error)}); check its name and your credentials") from error
