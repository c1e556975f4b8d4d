"""A sweep from its first record to its last: images read, cluster joined, stages run."""

import dataclasses
import json
import threading
from collections.abc import Callable
from concurrent.futures import Future

from dwray.core.data import ImageData, load
from dwray.paths import RunPaths
from dwray.results.progress import Listener
from dwray.results.store import RunStore
from dwray.results.table import Row
from dwray.spec import SweepSpec
from dwray.tune.cluster import cluster
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
    spec: SweepSpec, paths: RunPaths, listen: Listener, *, address: str | None = None, verbose: bool = False
) -> list[Row]:
    """Run a sweep's stages; its records are in ``paths`` then, and all along.

    Args:
        spec: What to run; its networks are known to the registry.
        paths: An existing, empty run folder.
        listen: Is told how it gets on.
        address: Of a Ray cluster; see ``cluster``.
        verbose: Let Ray and the trials speak.

    Returns:
        The rows of the trials that failed.

    Raises:
        DataError: The images cannot be had, or are not what they should be; nothing was trained.
        SpecError: No node can hold a trial.
        UserError: The cluster cannot be reached.
        KeyboardInterrupt: Somebody pressed Ctrl-C; Tune saved its state first.
    """
    identity = {
        "sweep": spec.name,
        "contenders": json.dumps(list(spec.networks)),
        "protocol": json.dumps(dataclasses.asdict(spec.protocol)),
        "errata": json.dumps(spec.errata),
        "compare_with": spec.compare_with or "",
        "target_accuracy_percent": "" if spec.target_accuracy_percent is None else str(spec.target_accuracy_percent),
    }
    store = RunStore(paths, identity)
    store.flush()
    # The images are read while Ray starts: each takes seconds.
    reading = _in_background(lambda: load(spec.data))
    with cluster(address, verbose=verbose):
        sweep = Sweep(spec, reading.result(), store, listen, verbose=verbose)
        try:
            sweep.time(sweep.train(sweep.search()))
        finally:
            store.end()
    return [row for stage in ("search", "train", "time") for row in store.trials(stage) if row["status"] == "failed"]
