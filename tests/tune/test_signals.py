"""What Tune does to signals ends with an experiment."""

import signal

import pytest

from dwray.tune.stage import _signals_as_they_are


def test_handlers_are_those_of_before_whatever_happened_meanwhile() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGUSR1)

    def fail() -> None:
        with _signals_as_they_are():
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGUSR1, signal.SIG_IGN)
            raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        fail()
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGUSR1)) == before
