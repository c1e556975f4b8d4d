"""What Tune does to signals ends with an experiment; Ctrl-C and SIGTERM of a client wait for the end of its call."""

import os
import signal

import pytest

from dwray.tune import signals


def test_handlers_are_those_of_before_whatever_happened_meanwhile() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGUSR1)

    def fail() -> None:
        with signals.as_they_are():
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGUSR1, signal.SIG_IGN)
            raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        fail()
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGUSR1)) == before


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_the_first_interrupt_is_noted_and_the_second_raised(first: signal.Signals) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)

    def interrupted_twice() -> None:
        with signals.terminable(), signals.noted() as interrupted:
            assert not interrupted.is_set()
            os.kill(os.getpid(), first)
            assert interrupted.is_set()
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        interrupted_twice()
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
