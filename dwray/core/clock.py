"""Timers that measure the device and not the queue in front of it: synchronised at both ends."""

import time
from collections import defaultdict
from itertools import pairwise

import torch


def synchronize(device: torch.device) -> None:
    """Wait until the device has done everything that was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class Stopwatch:
    """Splits a stretch of work into named laps, in seconds.

    On CUDA a lap is the time between two events on the current stream, so that laps cost no synchronisation while the
    work runs; elsewhere it is the time between two readings of ``time.perf_counter``.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._cuda = device.type == "cuda"
        self._events: list[tuple[str, torch.cuda.Event]] = []
        self._laps: defaultdict[str, float] = defaultdict(float)
        synchronize(device)
        self._start = self._last = time.perf_counter()
        if self._cuda:
            self._events.append(("", self._event()))

    def _event(self) -> torch.cuda.Event:
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return event

    def lap(self, name: str) -> None:
        """The work since the last lap (or the start) was ``name``."""
        if self._cuda:
            self._events.append((name, self._event()))
        else:
            now = time.perf_counter()
            self._laps[name] += now - self._last
            self._last = now

    def stop(self) -> tuple[float, dict[str, float]]:
        """Seconds from the start to the end of all the work, and seconds by lap."""
        synchronize(self._device)
        total = time.perf_counter() - self._start
        for (_, before), (name, after) in pairwise(self._events):
            self._laps[name] += before.elapsed_time(after) / 1000  # milliseconds
        return total, dict(self._laps)
