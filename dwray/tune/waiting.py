"""A word to the user when trials wait for what no node has: Tune itself waits for ever, and says nothing."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial

from dwray.results.progress import Listener, Notice
from dwray.tune.placement import Resources, some_node_holds, wanted

WAITING_SECONDS = 60.0


class WaitingNotice(Callback):  # type: ignore[misc]
    """Tells once if for a minute no trial runs, some wait, and no node could hold one.

    Args:
        listen: Is told.
        resources: Of a trial, as Tune has them.
        nodes: Asks for the resources of each node, or kind of node, of the cluster.
    """

    def __init__(self, listen: Listener, resources: Resources, nodes: Callable[[], Sequence[Resources]]) -> None:
        self._listen, self._resources, self._nodes = listen, resources, nodes
        self._since: float | None = None
        self._told = False

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles callbacks: all of this belongs to the driver and stays behind."""
        return {}

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Tune has gone round once."""
        statuses = {trial.status for trial in trials}
        if self._told or Trial.RUNNING in statuses or Trial.PENDING not in statuses:
            self._since = None
            return
        self._since = self._since or time.monotonic()
        if time.monotonic() - self._since < WAITING_SECONDS:
            return
        self._since = None
        if not some_node_holds(self._resources, self._nodes()):
            self._told = True
            self._listen(
                Notice(
                    f"no node has what a trial wants ({wanted(self._resources)}): waiting for one; Ctrl-C ends the "
                    "sweep, and `dwray resume` goes on with it"
                )
            )
