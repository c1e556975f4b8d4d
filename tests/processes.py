"""The processes of a sweep, as /proc shows them."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path


def ancestors(process: Path) -> list[Path]:
    """A process (a folder of /proc) and those above it."""
    found = []
    while process.name not in ("0", "1"):
        found.append(process)
        parent = (process / "stat").read_text().rpartition(")")[2].split()[1]
        process = process.parent / parent
    return found


def trials_below(driver: int) -> list[int]:
    """Process ids of the actors that train for a driver."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended while we looked
            name = (process / "cmdline").read_bytes()
            # Ray names an actor by its class, or by what it does.
            of_training = name.startswith((b"ray::TrainTrial", b"ray::ResourceTrainable"))
            if of_training and str(driver) in [each.name for each in ancestors(process)]:
                found.append(int(process.name))
    return found


# A busy process that is no descendant of ours: its parent ends at once, and init adopts it (-3: DEVNULL, or our pipe
# would stay open as long as it lives).
ADOPTED = "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', 'while True: pass'], stdout=-3).pid)"


@contextlib.contextmanager
def busy_stranger() -> Iterator[None]:
    """A process of nobody's that keeps a core busy."""
    started = subprocess.run([sys.executable, "-c", ADOPTED], stdout=subprocess.PIPE, text=True, check=True, timeout=60)
    try:
        yield
    finally:
        os.kill(int(started.stdout), signal.SIGKILL)


def wait_until(true: Callable[[], object], seconds: float = 120) -> None:
    ends = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < ends, true
        time.sleep(0.02)


@contextlib.contextmanager
def suspended(processes: list[int]) -> Iterator[None]:
    """Let processes stand still, so that what they do is not over before one has looked."""
    assert processes
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            os.kill(process, signal.SIGCONT)


def kill_all_in(folder: Path) -> None:
    """Kill the processes that were started in a folder, which a test made for a driver, and wait for their end."""
    ends = time.monotonic() + 30
    while left := [process for process in Path("/proc").glob("[0-9]*") if _works_in(process, folder)]:
        assert time.monotonic() < ends, left
        for process in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(process.name), signal.SIGKILL)
        time.sleep(0.1)


def _works_in(process: Path, folder: Path) -> bool:
    with contextlib.suppress(OSError):
        return (process / "cwd").readlink() == folder
    return False
