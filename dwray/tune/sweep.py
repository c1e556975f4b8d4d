"""A sweep from its first record to its last: images read, cluster joined, stages run."""

import dataclasses
import json
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import nullcontext

from dwray.core.data import ImageData, load
from dwray.core.environment import environment
from dwray.errors import RunError, UserError, one_line, parse_json
from dwray.paths import STATES, RunPaths
from dwray.results.lease import Lease
from dwray.results.mirror import Mirror
from dwray.results.progress import Listener
from dwray.results.schema import STAGES
from dwray.results.store import RunStore, write_json
from dwray.results.table import Row
from dwray.spec import SweepSpec
from dwray.storage import Storage
from dwray.tune import signals
from dwray.tune.client import run_on_head
from dwray.tune.cluster import cluster, is_client
from dwray.tune.stages import Sweep


def _in_background(work: Callable[[], ImageData]) -> Future[ImageData]:
    """Begin work in a thread that nobody waits for when the sweep is interrupted (an executor's threads are joined)."""
    future: Future[ImageData] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # whoever asks for the result gets it
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def run_sweep(
    spec: SweepSpec,
    paths: RunPaths,
    listen: Listener,
    *,
    address: str | None = None,
    verbose: bool = False,
    storage: Storage | None = None,
    resume: bool = False,
) -> list[Row]:
    """Run a sweep's stages; its records are in ``paths`` then, and all along.

    Args:
        spec: What to run; its networks are known to the registry.
        paths: An existing run folder: empty, or with the records to go on from.
        listen: Is told how it gets on.
        address: Of a Ray cluster; see ``cluster``.
        verbose: Let Ray and the trials speak.
        storage: Where the run is kept if not in its folder alone: saved states there, and a copy of the records.
        resume: Go on from the records that are there: trials that ended are not run again, others go on from their
            saved states.

    Returns:
        The rows of the trials that failed.

    Raises:
        DataError: The images cannot be had, or are not what they should be; nothing was trained.
        SpecError: No node can hold a trial.
        RunError: Another driver works on the run, its records or its storage cannot be read or written.
        UserError: The cluster cannot be reached.
        KeyboardInterrupt: Somebody pressed Ctrl-C, or ended this process with SIGTERM.
    """
    if is_client(address):
        if storage is None:
            raise UserError(
                "ray://: the driver runs on the cluster's head, and its records come back through a store: give "
                "--storage s3://BUCKET/PREFIX (or gs://)"
            )
        with cluster(address, verbose=verbose), signals.terminable():
            return run_on_head(run_sweep, spec, paths, listen, storage=storage, resume=resume)
    kept = storage or Storage(paths.folder)
    # Twice: Ray sets its own handler of SIGTERM as it starts, and what comes before and behind it takes time, too.
    with signals.terminable(), Lease(kept) as lease, Mirror(paths, storage) if storage else nullcontext() as mirror:
        store = RunStore(paths, identity_of(spec), mirror)
        if resume:
            store.take_up()
            _note_resumption(paths)
        store.flush()
        if mirror:
            mirror.put_all()
        # The images are read while Ray starts: each takes seconds.
        reading = _in_background(lambda: load(spec.data))
        try:
            with cluster(address, verbose=verbose), signals.terminable():
                sweep = Sweep(spec, reading.result(), store, kept.within(STATES), listen, verbose=verbose)
                sweep.time(sweep.train(sweep.search()))
        finally:
            if not lease.lost:  # or else the records are another driver's
                store.end()
    return [row for stage in STAGES for row in store.trials(stage) if row["status"] == "failed"]


def _note_resumption(paths: RunPaths) -> None:
    """Add this environment to the one that the run began in, if that is known.

    Raises:
        RunError: That one cannot be read.
    """
    try:
        began = parse_json(paths.environment.read_text()) if paths.environment.exists() else {}
        began.setdefault("resumed", []).append(environment())
    except (OSError, ValueError, AttributeError) as error:
        raise RunError(
            f"{paths.environment}: cannot be read as JSON ({one_line(error)}); delete it and resume again"
        ) from error
    write_json(paths.environment, began)


def identity_of(spec: SweepSpec) -> dict[str, str]:
    """What every file of a run says of it."""
    return {
        "sweep": spec.name,
        "contenders": json.dumps(list(spec.networks)),
        "protocol": json.dumps(dataclasses.asdict(spec.protocol)),
        "errata": json.dumps(spec.errata),
        "compare_with": spec.compare_with or "",
        "target_accuracy_percent": "" if spec.target_accuracy_percent is None else str(spec.target_accuracy_percent),
    }
