"""One driver a run: whoever writes a run's records holds its lease."""

import json
import os
import platform
import signal
import threading
import time
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

from dwray.errors import RunError, parse_json
from dwray.storage import Storage

NAME = "driver.json"
BEAT_SECONDS = 5.0
"""A driver renews its lease so often."""
SILENT_SECONDS = 20.0
"""A driver that is no process here is taken for dead when its lease was not renewed for so long."""
SETTLE_SECONDS = 0.5
"""Of two drivers that take a lease at once, the later one has it; both look again after so long."""


class Lease:
    """Held while a driver works on a run; a context manager.

    A driver that was suspended for longer than its lease lasts, while another took the run over, finds that out at its
    next beat: the lease is not its own any more. Its process is sent SIGTERM then, which ends a sweep in order.

    Args:
        storage: Where the run is kept; a lease there is seen by drivers on other machines.

    Raises:
        RunError: Another driver holds it (on entering), or took it over meanwhile (on leaving).
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._driver = {"driver": uuid4().hex, **_this_process()}
        self._beat = 0
        self._lost = False
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._renew, daemon=True, name="lease")

    def check(self) -> dict[str, Any] | None:
        """What is left of a lease that nobody holds any more.

        Raises:
            RunError: Another driver holds it.
        """
        held = read(self._storage)
        if held and self._is_alive(held):
            raise self._refusal(held)
        return held

    @property
    def held_here(self) -> bool:
        """A driver on this machine holds it."""
        held = read(self._storage)
        return held is not None and _is_here(held) and self._is_alive(held)

    @property
    def lost(self) -> bool:
        """Another driver took it over: nothing of the run must be written any more."""
        return self._lost

    def __enter__(self) -> Self:
        self.check()
        self._write(self._storage)
        # Two drivers may both have found no lease, or the same dead one.
        time.sleep(SETTLE_SECONDS)
        held = read(self._storage)
        if not self._is_own(held):
            raise self._refusal(held or {})
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join(BEAT_SECONDS)
        quick = Storage(self._storage.location, patience_seconds=BEAT_SECONDS)
        try:
            held = read(quick)
            if self._is_own(held):
                quick.delete(NAME)
                return
        except OSError:
            return  # a storage that is away; the lease runs out by itself
        raise RunError(
            f"{self._storage}: another dwray took this run over{_by(held)} while this one was suspended or cut off "
            "from the storage; let that one go on"
        ) from error

    def _is_own(self, held: dict[str, Any] | None) -> bool:
        return held is not None and held.get("driver") == self._driver["driver"]

    def _refusal(self, held: dict[str, Any]) -> RunError:
        return RunError(f"{self._storage}: another dwray works on this run{_by(held)}; wait for it, or end it first")

    def _is_alive(self, held: dict[str, Any]) -> bool:
        """The driver of a lease still works: by its process, if that is one of ours, else by its renewing it."""
        if _is_here(held):
            return _started(held.get("pid", 0)) == held.get("started") is not None
        ends = time.monotonic() + SILENT_SECONDS
        while time.monotonic() < ends:
            time.sleep(1)
            now = read(self._storage)
            if now is None:
                return False
            if now != held:
                return True
        return False

    def _write(self, storage: Storage) -> None:
        self._beat += 1
        storage.write(NAME, json.dumps({**self._driver, "beat": self._beat}).encode())

    def _renew(self) -> None:
        # Without patience: a beat that comes late could be written over the lease of whoever took over meanwhile.
        quick = Storage(self._storage.location, patience_seconds=0)
        while not self._done.wait(BEAT_SECONDS):
            try:
                # None, too, is another's doing: whoever took it over has ended since, and removed it.
                self._lost = not self._is_own(read(quick))
                if not self._lost:
                    self._write(quick)
            except OSError:
                continue  # a storage that is away for a while: the next beat tries again
            if self._lost:
                os.kill(os.getpid(), signal.SIGTERM)
                return


def taken(storage: Storage) -> bool:
    """A process other than this one holds the lease of a run, or held it and was killed.

    Raises:
        OSError: The storage cannot be read.
    """
    held = read(storage)
    return held is not None and {key: held.get(key) for key in _this_process()} != _this_process()


def read(storage: Storage) -> dict[str, Any] | None:
    """The lease that lies there, with a process id at least; None if there is none, or one that is none.

    Raises:
        OSError: The storage cannot be read.
    """
    try:
        held = parse_json(storage.read(NAME))
    except (FileNotFoundError, ValueError):
        return None
    return held if isinstance(held, dict) and isinstance(held.get("pid"), int) else None


def _by(held: dict[str, Any] | None) -> str:
    return f" (process {held.get('pid')} on {held.get('host')})" if held else ""


def _this_process() -> dict[str, Any]:
    return {"host": platform.node(), "processes": _processes(), "pid": os.getpid(), "started": _started()}


def _processes() -> str | None:
    """What a process id counts in: the machine since its boot, and the namespace; None where neither can be known.

    A host's name would not do: images of one machine share it, and so may containers, each with a process 1.
    """
    try:
        with open("/proc/sys/kernel/random/boot_id") as boot:
            return f"{boot.read().strip()}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return None


def _is_here(held: dict[str, Any]) -> bool:
    """The process of a lease can be looked for in this machine's processes."""
    return held.get("processes") == _processes() is not None


def _started(pid: int | None = None) -> str | None:
    """When a process of this machine started, in the kernel's ticks since its boot; None if there is none.

    A process id alone is no name: once it has ended it may become another's.
    """
    try:
        with open(f"/proc/{pid or os.getpid()}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[19]
    except OSError:
        return None
