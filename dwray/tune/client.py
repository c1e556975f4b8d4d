"""A sweep through the Ray Client (``ray://``): its driver runs on the cluster's head, its user sits elsewhere.

Ray Tune would pickle half of a driver to the head, without its records. So all of the driver goes there, as one task
that takes no CPU, with the run's files; what it tells comes back through an actor, and the records through the storage.
"""

import contextlib
import os
import platform
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from dwray.core.environment import environment
from dwray.errors import RunError, UserError, one_line
from dwray.paths import RunPaths
from dwray.results.mirror import fetch, is_ahead, remember
from dwray.results.progress import Listener
from dwray.results.store import write_json
from dwray.results.table import Row
from dwray.spec import SweepSpec, to_plain
from dwray.storage import Storage, write_atomically
from dwray.tune import signals
from dwray.tune.cluster import HEAD

POLL_SECONDS = 0.3
INTERRUPTED_SECONDS = 60.0
"""So long the driver on the head has to end its trials in order when it is interrupted."""
FETCH_SECONDS = 20.0
"""So long the records of a driver that did not end well are tried to be fetched: the network here may be gone, too."""
INTERRUPTED = "interrupted"

Drive = Callable[..., list[Row]]
"""``run_sweep``, which the task calls on the head."""


class LostDriverError(RunError):
    """What became of the driver on the head, or what it has measured, is not known here: the run may have trials."""


@ray.remote(num_cpus=0)
class _Between:
    """What the driver on the head tells its user, and the user's wish to end it."""

    def __init__(self) -> None:
        self._told: list[Any] = []
        self._stop = False

    def tell(self, event: Any) -> None:
        """Add something that the driver tells."""
        self._told.append(event)

    def take(self) -> list[Any]:
        """What was told since this was last asked."""
        told, self._told = self._told, []
        return told

    def stop(self) -> None:
        """Ask the driver to stop."""
        self._stop = True

    def stopping(self) -> bool:
        """The driver is asked to stop."""
        return self._stop


@ray.remote(num_cpus=0, max_retries=0)  # type: ignore[untyped-decorator]
def _drive(
    drive: Drive,
    plain: Mapping[str, Any],
    names: tuple[str, str],
    files: Mapping[str, bytes],
    location: str,
    resume: bool,
    between: Any,
) -> list[Row] | str:
    """The driver, on the head: with the run's files in a scratch folder of its own."""
    spec, kept = SweepSpec.model_validate(plain), Storage(location)
    with _scratch(kept, names) as paths, _stopped_by(between):
        for name, content in files.items():
            write_atomically(paths.folder / name, content)
        remember(kept, paths)
        if resume:
            fetch(kept, paths)
        else:
            write_json(paths.environment, environment())  # of the machine that drives
        try:
            failed = drive(spec, paths, between.tell.remote, storage=kept, resume=resume)
        except KeyboardInterrupt as error:
            if is_ahead(paths, kept):
                raise RunError(
                    f"{kept}: does not have all that was measured; it is in {paths.folder} on {platform.node()}"
                ) from error
            return INTERRUPTED
        ray.get(between.stopping.remote())  # it has been told everything, then
        return failed


@contextmanager
def _scratch(storage: Storage, names: tuple[str, str]) -> Iterator[RunPaths]:
    """A run's folder, ``SWEEP/RUN-ID``, for the length of a driver.

    It stays if storage does not have all that was measured: then it is the only copy.
    """
    scratch = Path(tempfile.mkdtemp(prefix="dwray-run-"))
    paths = RunPaths(scratch.joinpath(*names))
    paths.folder.mkdir(parents=True)
    try:
        yield paths
    finally:
        if not is_ahead(paths, storage):
            shutil.rmtree(scratch)


@contextmanager
def _stopped_by(between: Any) -> Iterator[None]:
    """Send this process SIGTERM when the user asks for the end."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(POLL_SECONDS):
            if ray.get(between.stopping.remote()):
                os.kill(os.getpid(), signal.SIGTERM)
                return

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(INTERRUPTED_SECONDS)


def run_on_head(
    drive: Drive,
    spec: SweepSpec,
    paths: RunPaths,
    listen: Listener,
    *,
    storage: Storage,
    resume: bool,
) -> list[Row]:
    """Run a sweep on the head of the cluster that this process is a client of; its records are in ``paths`` then.

    Args:
        drive: ``run_sweep``.
        spec: What to run.
        paths: The run's folder here.
        listen: Is told how it gets on.
        storage: Keeps the run; must be reached from the head and from here.
        resume: Go on from the run's records.

    Returns:
        The rows of the trials that failed.

    Raises:
        UserError: What ``run_sweep`` raised on the head; it cannot go on.
        LostDriverError: It was lost, or its records could not be fetched.
        KeyboardInterrupt: It was interrupted, here or there.
    """
    # Not the checkpoints, which may be many: the head fetches them from the storage.
    small = paths.sweep, paths.environment, paths.trials, paths.epochs, paths.timings
    files = {path.name: path.read_bytes() for path in small if path.is_file()}
    on_head = {"resources": {HEAD: 0.001}}
    between: Any = _Between.options(**on_head).remote()  # type: ignore[attr-defined]
    names = (paths.folder.parent.name, paths.folder.name)
    task = _drive.options(**on_head).remote(drive, to_plain(spec), names, files, storage.location, resume, between)
    try:
        with signals.noted() as interrupted:
            failed = _follow(task, between, listen, interrupted)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            between.stop.remote()
            error = _failure(task) or error
        with contextlib.suppress(RunError):  # it may have ended before it kept anything
            fetch(Storage(storage.location, patience_seconds=FETCH_SECONDS), paths)
        raise _in_our_words(error) from error
    try:
        fetch(storage, paths)
    except RunError as error:
        raise LostDriverError(f"the sweep is done, but its records could not be fetched: {error}") from error
    return failed


def _failure(task: Any) -> RayTaskError | None:
    """What a driver raised that was asked to stop, if it ends in time and did not just stop."""
    try:
        ended, _ = ray.wait([task], timeout=INTERRUPTED_SECONDS)
        ray.get(ended)
    except RayTaskError as error:
        return error
    except (RayError, ConnectionError):
        return None
    return None


def _in_our_words(error: BaseException) -> BaseException:
    """What ended the driver on the head, as it would have been raised here."""
    if isinstance(error, RayTaskError):
        if isinstance(error.cause, UserError):
            return error.cause
        return RunError(f"the driver on the head failed: {one_line(error.cause)}")
    if isinstance(error, RayError | ConnectionError):
        return LostDriverError(f"the driver on the head was lost ({one_line(error)})")
    return error


def _follow(task: Any, between: Any, listen: Listener, interrupted: threading.Event) -> list[Row]:
    """What the driver returns; what it tells until then is passed on."""
    while not interrupted.is_set():
        ended, _ = ray.wait([task], timeout=POLL_SECONDS)
        for event in ray.get(between.take.remote()):
            listen(event)
        if ended:
            outcome: list[Row] | str = ray.get(task)
            if isinstance(outcome, str):
                break
            return outcome
    raise KeyboardInterrupt
