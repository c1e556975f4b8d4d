"""The saved states of a training: when to save, which to keep, and which to go on from."""

import hashlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from dwray.core import checkpoint
from dwray.core.training import TrainingState
from dwray.errors import RunError, one_line
from dwray.storage import Storage

KEPT = 2
"""The last so many states are kept, and the best beside them: a damaged one leaves another."""
SHARE = 0.02
"""Of a training's time that saving may take."""
FIRST_GUESS_SECONDS = 1.0
"""What a save is taken to cost before one was measured: a training of less than 50 s is not saved on its way."""
_NAME = re.compile(r"epoch-(\d{6,})-([0-9a-f]{16})\.pt")


def checksum(content: bytes) -> str:
    """The first 64 bits of the SHA-256, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()[:16]


@dataclass
class Pace:
    """When a state is saved: as soon as what was trained since the last time is worth it.

    That is after so long that saving takes 2% of the time, or when another epoch would make it more than ``minutes``,
    if that is sooner. So a failure loses ``minutes`` at most, or the epoch that it was in where that is longer; only
    where a save takes more than 2% of ``minutes`` does it cost more than 2%.
    """

    minutes: float
    """0 saves after every epoch."""
    cost_seconds: float = FIRST_GUESS_SECONDS
    """Of the last save."""
    last: float = 0.0
    """When it ended, or the training began, by :func:`time.monotonic`."""
    epoch_ended: float = 0.0
    """When the last epoch ended, or the first one began."""

    def restart(self) -> None:
        """Another training begins."""
        self.last = self.epoch_ended = time.monotonic()

    def is_due(self) -> bool:
        """An epoch has ended: whether it is time to save."""
        now = time.monotonic()
        since, epoch = now - self.last, now - self.epoch_ended
        self.epoch_ended = now
        return since >= self.cost_seconds / SHARE or since + epoch > 60 * self.minutes

    def saved(self, began: float) -> None:
        """A save that began then has ended."""
        self.last = self.epoch_ended = time.monotonic()
        self.cost_seconds = self.last - began


class SavedStates:
    """The states of one training, ``epoch-000012-CHECKSUM.pt`` each: whole files, verified when they are read.

    Args:
        storage: Holds them and nothing else.
        identity: Names the training; a file of another is not taken.
    """

    def __init__(self, storage: Storage, identity: str) -> None:
        self.storage, self.identity = storage, identity
        self.problems: list[str] = []
        """Why states were passed over, a line each."""
        self._passed_over: set[str] = set()
        """Files that were of no use: they count for nothing in what is kept."""

    def save(self, state: TrainingState) -> None:
        """Save a state, and delete those that are no longer kept.

        Raises:
            OSError: It cannot be written; those that were there are there still.
        """
        content = checkpoint.dump(state, identity=self.identity)
        self.storage.write(f"epoch-{state.epochs_done:06d}-{checksum(content)}.pt", content)
        names = [name for name in self.names() if name not in self._passed_over]
        accuracy = {record.epoch: record.validation_accuracy_percent for record in state.records}
        best = max(names, key=lambda name: (accuracy.get(epoch_of(name), 0.0), -epoch_of(name)), default=None)
        for name in names[KEPT:]:
            if name != best:
                self.storage.delete(name)

    def names(self) -> list[str]:
        """The files, the latest epoch first."""
        return sorted(filter(_NAME.fullmatch, self.storage.names()), key=epoch_of, reverse=True)

    def newest(self, fresh: Callable[[], TrainingState]) -> TrainingState:
        """A state to go on from: the latest that is sound, or a fresh one; ``problems`` says what was not.

        Args:
            fresh: Makes the state at a training's start, each time anew.
        """
        for name in self.names():
            state = fresh()
            where = f"{self.storage}/{name}"
            try:
                checkpoint.restore(self._read(name), state, where=where, identity=self.identity)
            except (RunError, OSError) as error:
                self.problems.append(f"{one_line(error)}; going on without it")
                self._passed_over.add(name)
            else:
                return state
        return fresh()

    def last_content(self) -> bytes:
        """The latest file that is not damaged.

        Raises:
            RunError: There is none.
        """
        for name in self.names():
            try:
                return self._read(name)
            except RunError as error:
                self.problems.append(one_line(error))
        raise RunError(f"{self.storage}: holds no sound state of a training")

    def clear(self) -> None:
        """Delete them all."""
        for name in self.names():
            self.storage.delete(name)

    def _read(self, name: str) -> bytes:
        content = self.storage.read(name)
        if checksum(content) != name.rpartition("-")[2].removesuffix(".pt"):
            raise RunError(f"{self.storage}/{name}: damaged (its checksum is not the one in its name)")
        return content


def epoch_of(name: str) -> int:
    """The epoch after which a file of :class:`SavedStates` was saved."""
    found = _NAME.fullmatch(name)
    assert found
    return int(found[1])
