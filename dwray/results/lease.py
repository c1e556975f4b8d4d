"""One driver a run: whoever writes a run's records holds its lease."""

import json
import os
import platform
import threading
import time
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

from dwray.errors import RunError
from dwray.storage import Storage

NAME = "driver.json"
BEAT_SECONDS = 5.0
"""A driver renews its lease so often."""
SILENT_SECONDS = 20.0
"""A driver on another machine is taken for dead when its lease was not renewed for so long."""
SETTLE_SECONDS = 0.5
"""Of two drivers that take a lease at once, the later one has it; both look again after so long."""


class Lease:
    """Held while a driver works on a run; a context manager.

    Args:
        storage: Where the run is kept; a lease there is seen by drivers on other machines.

    Raises:
        RunError: Another driver holds it (on entering).
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._driver = {"driver": uuid4().hex, "host": platform.node(), "pid": os.getpid(), "started": _started()}
        self._beat = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._renew, daemon=True, name="lease")

    def check(self) -> dict[str, Any] | None:
        """What is left of a lease that nobody holds any more.

        Raises:
            RunError: Another driver holds it.
        """
        held = self._read()
        if held and self._is_alive(held):
            raise self._refusal(held)
        return held

    @property
    def held_here(self) -> bool:
        """A driver on this machine holds it."""
        held = self._read()
        return held is not None and held.get("host") == self._driver["host"] and self._is_alive(held)

    def __enter__(self) -> Self:
        held = self.check()
        self._write()
        if held:
            time.sleep(SETTLE_SECONDS)
            now = self._read()
            if now and now.get("driver") != self._driver["driver"]:
                raise self._refusal(now)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join(BEAT_SECONDS)
        quick = Storage(self._storage.location, patience_seconds=BEAT_SECONDS)
        try:
            quick.delete(NAME)
        except OSError:
            return  # a storage that is away; the lease runs out by itself

    def _refusal(self, held: dict[str, Any]) -> RunError:
        return RunError(
            f"{self._storage}: another dwray works on this run (process {held.get('pid')} on {held.get('host')}); "
            "wait for it, or end it first"
        )

    def _is_alive(self, held: dict[str, Any]) -> bool:
        """The driver of a lease still works: by its process, on this machine, else by its renewing it."""
        if held.get("host") == self._driver["host"]:
            return _started(held.get("pid", 0)) == held.get("started") is not None
        ends = time.monotonic() + SILENT_SECONDS
        while time.monotonic() < ends:
            time.sleep(1)
            now = self._read()
            if now is None:
                return False
            if now != held:
                return True
        return False

    def _read(self) -> dict[str, Any] | None:
        try:
            held = json.loads(self._storage.read(NAME))
        except (FileNotFoundError, ValueError):
            return None
        return held if isinstance(held, dict) else None

    def _write(self) -> None:
        self._beat += 1
        self._storage.write(NAME, json.dumps({**self._driver, "beat": self._beat}).encode())

    def _renew(self) -> None:
        while not self._done.wait(BEAT_SECONDS):
            try:
                self._write()
            except OSError:
                continue  # a storage that is away for a while: the next beat tries again


def _started(pid: int | None = None) -> str | None:
    """When a process of this machine started, in the kernel's ticks, with the machine's boot; None if there is none.

    A process id alone is no name: after a restart it is another's.
    """
    try:
        with open(f"/proc/{pid or os.getpid()}/stat") as stat, open("/proc/sys/kernel/random/boot_id") as boot:
            return f"{boot.read().strip()}/{stat.read().rpartition(')')[2].split()[19]}"
    except OSError:
        return None
