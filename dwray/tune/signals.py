"""What Ctrl-C and SIGTERM do while a sweep runs. Only the main thread can arrange that; in another, nothing changes."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM does what Ctrl-C does."""
    if not _in_main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        # Tune waits for SIGINT while it runs trials, and ends them in order.
        handler = signal.getsignal(signal.SIGINT)
        if not callable(handler):
            raise KeyboardInterrupt
        handler(signal.SIGINT, frame)

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def as_they_are() -> Iterator[None]:
    """Tune's handlers would stay behind, and swallow the next Ctrl-C, whatever it is meant for."""
    if not _in_main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGUSR1)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def noted() -> Iterator[threading.Event]:
    """The first Ctrl-C only sets the event; the next one is ``KeyboardInterrupt``, as ever.

    That exception in the middle of one of the Ray Client's calls leaves a reference that nobody will ever fill, whose
    end waits for that; raised while an object is destroyed, it is lost.
    """
    interrupted = threading.Event()
    if not _in_main_thread():
        yield interrupted
        return

    def note(number: int, frame: FrameType | None) -> None:
        if interrupted.is_set():
            raise KeyboardInterrupt
        interrupted.set()

    before = signal.signal(signal.SIGINT, note)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
