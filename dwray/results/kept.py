"""Which run is meant, here or in storage."""

import re
from dataclasses import dataclass
from pathlib import Path

from dwray.errors import RunError
from dwray.paths import NAME, RunPaths
from dwray.storage import Storage


@dataclass(frozen=True)
class KeptRun:
    """A run's folder on this machine, and the storage that keeps it, if that is another place."""

    paths: RunPaths
    storage: Storage | None

    @property
    def name(self) -> str:
        """What to give to ``dwray resume``, anywhere."""
        return str(self.storage or self.paths.folder)

    def discard_unless_begun(self) -> bool:
        """Remove the run, unless it has trials, here or in storage, or that cannot be told; whether it was removed.

        In storage only what a run writes before its first trial is deleted, and only if nothing else lies there: the
        records of another driver are never touched.
        """
        paths = self.paths
        if _has_begun(Storage(paths.folder), paths):
            return False
        if self.storage:
            before_its_trials = paths.sweep, paths.environment, paths.trials, paths.epochs, paths.timings
            storage = Storage(self.storage.location, patience_seconds=0)
            try:
                names = storage.names()
                if not {path.name for path in before_its_trials}.issuperset(names) or _has_begun(storage, paths):
                    return False
                for name in names:
                    storage.delete(name)
            except OSError:
                return False
        paths.discard()
        return True


def _has_begun(files: Storage, paths: RunPaths) -> bool:
    """There are trials, or a driver has its lease there still, or there may be."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from dwray.results import lease

    try:
        names = files.names()
        if lease.NAME in names:
            return True
        return paths.trials.name in names and bool(
            pq.read_metadata(pa.BufferReader(files.read(paths.trials.name))).num_rows
        )
    except (OSError, pa.ArrowException):
        return True


def find_run(run: str, runs_dir: Path, *, resume: bool = False) -> KeptRun:
    """The run that a user means: a folder, ``SWEEP/RUN-ID``, a sweep's name for its latest run, or a URI.

    A run that is named by its URI is fetched from there, and so is one that is to be resumed: another machine may have
    gone on with it. The files of a driver that works on this machine are left alone.

    Args:
        run: As the user gave it.
        runs_dir: Folder of all runs.
        resume: A driver is to go on with it.

    Raises:
        RunError: There is none, it cannot be read, or it is to be resumed and another driver works on it.
    """
    from dwray.results.lease import Lease
    from dwray.results.mirror import fetch, remembered

    if "://" not in run:
        paths = RunPaths.find(run, runs_dir)
        storage = remembered(paths)
        if storage is None:
            return KeptRun(paths, None)
    else:
        storage = Storage(run)
        sweep, run_id = storage.location.partition("?")[0].rsplit("/", 2)[1:]
        if not all(re.fullmatch(NAME, name) for name in (sweep, run_id)):
            raise RunError(f"{run}: is not the location of a run: .../SWEEP/RUN-ID")
        paths = RunPaths((runs_dir / sweep / run_id).absolute())
    if resume:
        Lease(storage).check()
        fetch(storage, paths)
    elif "://" in run and not Lease(storage).held_here:
        fetch(storage, paths)
    return KeptRun(paths, storage)
