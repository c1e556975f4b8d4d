"""The publisher's process: ``python -m dwray.publish.worker``. It replays a run's Parquet files into W&B.

What to do comes as one line of JSON on standard input, so that the key is in no command line and no environment. While
the run goes on, its records are published as they come; a second line says that it has ended. The input ends with
whoever started this process, and this process with it. Each thing that the server has taken, and the end, is one line
of JSON on standard output: silence is a server that hangs.
"""

import contextlib
import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any

import pyarrow as pa
from filelock import FileLock, Timeout

from dwray.errors import UserError, one_line
from dwray.paths import RunPaths
from dwray.publish.ledger import FAILED
from dwray.publish.order import Order, tell
from dwray.publish.replay import Publishing

POLL_SECONDS = 2.0
"""Between two looks at the records of a run that goes on."""
SHARE = 0.05
"""Of one core's time that the looks may take: the rest belongs to the trials."""
NICENESS = 10
"""Whatever else runs on this machine goes before."""
LOCK_SECONDS = 5.0
"""Another publisher of the same run may take so long to end; one that goes on is not waited for."""


def publish(order: Order, ended: threading.Event) -> Mapping[str, Any]:
    """Publish a run until all of it is there; what came of it.

    Raises:
        UserError: It was given up; the ledger says of each run how far it came.
    """
    publishing = Publishing(order)
    ledger = publishing.ledger
    try:
        pause = POLL_SECONDS
        while order.follow and not ended.wait(pause):
            before = time.process_time()
            publishing.look()
            pause = max(POLL_SECONDS, (time.process_time() - before) / SHARE)
        publishing.complete()
    finally:
        publishing.close()
    failed = next((entry for entry in ledger.runs.values() if entry.state == FAILED), None)
    return {
        "counts": dict(ledger.count()),
        "report": ledger.report_url,
        "project": f"{publishing.client.entity}/{order.project}",
        "why": publishing.refused or (failed and failed.why),
    }


class _NoPandas(MetaPathFinder):
    """Finds that there is no pandas."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        """Look no further."""
        if fullname == "pandas":
            raise ModuleNotFoundError("not wanted", name=fullname)


def _keep_pandas_away() -> None:
    """PyArrow looks for pandas once, at its first array: it takes 40 MB, and nothing here has a use for it."""
    finder = _NoPandas()
    sys.meta_path.insert(0, finder)
    pa.array([0])
    sys.meta_path.remove(finder)


@contextlib.contextmanager
def _alone(paths: RunPaths) -> Iterator[None]:
    """Publish a run while no other process does; two would make two reports of it.

    Raises:
        UserError: Another one does.
    """
    try:
        with FileLock(paths.wandb_folder / "publisher.lock", timeout=LOCK_SECONDS):
            yield
    except Timeout as error:
        raise UserError("another dwray publishes this run; wait for it, or end it first") from error


def _heed(ended: threading.Event) -> None:
    """Listen to whoever started this process, and end with it: at once, as if killed, for nothing is lost by that."""
    for _ in sys.stdin:
        ended.set()
    os._exit(1)


def main() -> None:
    """Do as the first line of the input says."""
    _keep_pandas_away()
    order = Order(**json.loads(sys.stdin.readline()))
    os.nice(NICENESS)
    ended = threading.Event()
    threading.Thread(target=_heed, args=(ended,), daemon=True).start()
    try:
        with _alone(RunPaths(Path(order.folder))):
            tell(ended=publish(order, ended))
    except UserError as error:
        tell(error=str(error))
    except BaseException as error:
        traceback.print_exc()  # into the log
        tell(error=f"{type(error).__name__}: {one_line(error)} (more in wandb/publisher.log)")
    finally:
        os._exit(0)  # the client's threads may still wait for a server; its service ends with this process


if __name__ == "__main__":
    main()
