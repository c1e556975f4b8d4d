"""What Ctrl-C and SIGTERM do while a sweep runs. Only the main thread can arrange that; in another, nothing changes."""

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from types import FrameType

Handler = Callable[[int, FrameType | None], object] | int | None
"""As ``signal.getsignal`` gives it."""


def terminable() -> AbstractContextManager[None]:
    """SIGTERM does what Ctrl-C does."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        # Tune waits for SIGINT while it runs trials, and ends them in order.
        handler = signal.getsignal(signal.SIGINT)
        if not callable(handler):
            raise KeyboardInterrupt
        handler(signal.SIGINT, frame)

    return _handled({signal.SIGTERM: interrupt})


def as_they_are() -> AbstractContextManager[None]:
    """Tune's handlers would stay behind, and swallow the next Ctrl-C, whatever it is meant for."""
    return _handled({number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGUSR1)})


@contextmanager
def noted() -> Iterator[threading.Event]:
    """The first Ctrl-C only sets the event; the next one is ``KeyboardInterrupt``, as ever.

    That exception in the middle of one of the Ray Client's calls leaves a reference that nobody will ever fill, whose
    end waits for that; raised while an object is destroyed, it is lost.
    """
    interrupted = threading.Event()

    def note(number: int, frame: FrameType | None) -> None:
        if interrupted.is_set():
            raise KeyboardInterrupt
        interrupted.set()

    with _handled({signal.SIGINT: note}):
        yield interrupted


@contextmanager
def _handled(handlers: Mapping[signal.Signals, Handler]) -> Iterator[None]:
    """Signals are handled by these for a while, and then as they were."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
