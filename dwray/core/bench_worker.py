"""The processes that a benchmark measures in: each has its own allocator settings and its own compiled code.

``python -m dwray.core.bench_worker`` is one of them. It serves requests over a pipe, one at a time, until the pipe is
closed; of several only one is ever asked, so that one alone works.
"""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe
from typing import TYPE_CHECKING, Any, Self

from dwray.core.allocator import keep_freed_memory
from dwray.errors import UserError

if TYPE_CHECKING:
    from dwray.core.bench import Plan

LOOK_SECONDS = 0.5
"""How often the parent looks whether a silent worker still lives."""
END_SECONDS = 5.0
"""What a worker is given to end by itself."""


class Worker:
    """A process to measure in, seen from the one that asks.

    Args:
        name: ``plain`` leaves the C library's allocator as it is; with any other it keeps freed memory.
    """

    keeps_freed_memory: bool
    """Whether the allocator was told so, and obeyed."""
    threads: int
    """Threads that torch computes with there."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._connection, theirs = Pipe()
        with theirs:
            # A session of its own: Ctrl-C is for the parent, which then ends it and all that it has started.
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno()), "plain" if name == "plain" else "kept"],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=sys.__stderr__.fileno() if sys.__stderr__ else subprocess.DEVNULL,  # stdout is for the result
                start_new_session=True,
            )

    def begin(self, plan: "Plan") -> None:
        """Tell it what is being measured, before anything else."""
        self.keeps_freed_memory, self.threads = self.ask("begin", plan)

    def ask(self, request: str, *arguments: Any) -> Any:
        """Have something done, and wait for the answer.

        Args:
            request: A method of ``bench_cells.Cells``.
            arguments: Its arguments.

        Raises:
            UserError: The process ended instead.
        """
        try:
            self._connection.send((request, *arguments))
            return self._answer()
        except (EOFError, OSError):
            doing = ", ".join(map(str, arguments)) if request == "measure" else request
            raise UserError(f"a process of the benchmark ({self._name}) ended {self._end()} at: {doing}") from None

    def _answer(self) -> Any:
        """Wait for it; EOFError if there will be none."""
        while not self._connection.poll(LOOK_SECONDS):
            if self._process.poll() is not None:
                raise EOFError
        return self._connection.recv()

    def _end(self) -> str:
        """In which way it has ended, in words."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(END_SECONDS)
        code = self._process.returncode
        if code is None:
            return "the conversation"
        if code == -signal.SIGKILL:
            return "by SIGKILL (for want of memory, perhaps: give smaller batch sizes)"
        return f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"

    def close(self) -> None:
        """Tell it to end, which it does when it has nothing to do."""
        self._connection.close()

    def end(self, seconds: float) -> None:
        """Wait so long for it to end; then end it, and what it has started."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


class Workers:
    """The workers of a benchmark by their names: started when first asked for, ended with the context.

    Args:
        plan: What is being measured.
    """

    def __init__(self, plan: "Plan") -> None:
        self._plan = plan
        self._workers: dict[str, Worker] = {}

    def __getitem__(self, name: str) -> Worker:
        if name not in self._workers:
            self._workers[name] = Worker(name)  # known at once, so that Ctrl-C ends it before it has begun
            self._workers[name].begin(self._plan)
        return self._workers[name]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.close(at_once=kind is not None)

    def close(self, *, at_once: bool = False) -> None:
        """End all of them, those that are at work too."""
        workers = list(self._workers.values())
        self._workers.clear()
        for worker in workers:
            worker.close()
        for worker in workers:
            worker.end(0 if at_once else END_SECONDS)


def serve(connection: Connection, *, keep: bool) -> None:
    """Answer requests until the other end is closed.

    Args:
        connection: To the one who asks: (method of ``bench_cells.Cells``, arguments ...), beginning with ``begin``.
        keep: Have the C library keep freed memory.
    """
    kept = keep_freed_memory() if keep else False  # before torch, and so before the first tensor
    from dwray.core.bench_cells import Cells

    with suppress(EOFError, BrokenPipeError):  # nobody is there any more
        _, plan = connection.recv()
        cells = Cells(plan)
        connection.send((kept, cells.threads))
        while True:
            request, *arguments = connection.recv()
            connection.send(getattr(cells, request)(*arguments))


if __name__ == "__main__":
    serve(Connection(int(sys.argv[1])), keep=sys.argv[2] == "kept")
