"""The folder of a new run."""

from pathlib import Path

from dwray.errors import RunError, one_line
from dwray.paths import RunPaths
from dwray.results.kept import KeptRun
from dwray.storage import Storage


def new_run(sweep: str, runs_dir: Path, storage: str | None) -> KeptRun:
    """Make the folder of a new run; its id is free in storage, too, where runs of other machines lie.

    Args:
        sweep: The sweep's name.
        runs_dir: Folder of all runs, if storage is no folder.
        storage: A folder of all runs, or a URI; None is runs_dir.

    Raises:
        RunError: The storage cannot be written.
    """
    from dwray.results.mirror import remember

    if storage is None or "://" not in storage:
        return KeptRun(RunPaths.create(Path(storage) if storage else runs_dir, sweep), None)
    Storage(storage).check_writable()
    tried: list[RunPaths] = []
    try:
        while True:
            paths = RunPaths.create(runs_dir, sweep)
            kept = Storage(storage).within(f"{sweep}/{paths.run_id}")
            if not kept.names():
                break
            tried.append(paths)
    except OSError as error:
        raise RunError(f"{storage}: cannot be read ({one_line(error)}); check its name and your credentials") from error
    for each in tried:  # until now they kept their numbers from being given again
        each.discard()
    remember(kept, paths)
    return KeptRun(paths, kept)
