"""What training and timing cost on this very device, measured in seconds of work: the basis of a plan.

The work is done by the code that trials use, in processes like theirs: as many at once as will share the device,
because two trainings on one processor are each slower than one alone. torch is imported there, and not here.
"""

import math
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from dwray.core.allocator import keep_freed_memory
from dwray.core.config import PLAIN_MODE, TrainingConfig
from dwray.errors import RunError, one_line

if TYPE_CHECKING:
    from dwray.core.data import Splits
    from dwray.core.witness import Witnessed

TRAINING_SECONDS, PASS_SECONDS = 8.0, 6.0
"""To be spent on all trainings, and on all timed passes; never fewer than a few steps of each."""
MOST_AT_ONCE = 8
"""No more processes than this are started: each takes half a gigabyte."""
START_SECONDS, ANSWER_SECONDS = 300.0, 1800.0
"""A process that is silent for longer, at its start and at work, is given up."""
PATIENCE_SECONDS = 60.0
"""So long a user who has not asked for it waits for a calibration."""
END_SECONDS = 5.0
"""What a process is given to end by itself."""
COUNT = "--no-calibrate counts without it"
"""What a user can do whose device cannot be measured."""


class SlowDeviceError(RunError):
    """A few steps take this device longer than anyone wanted to wait."""


@dataclass(frozen=True)
class TrainingKind:
    """A training as far as its pace goes: rates, decay and seed do not matter to it."""

    network: str
    """Of the registry."""
    width: float
    training: TrainingConfig
    """With nothing left to the device: precision, layout and compiling are settled."""
    notebook_loader: bool = False


@dataclass(frozen=True)
class TimedPass:
    """A forward pass over a set of images, as it is timed."""

    batch_size: int
    loader: bool = False
    batch_statistics: bool = False
    notebook_loader: bool = False
    mode: str = PLAIN_MODE


@dataclass(frozen=True)
class TrainingCost:
    """What was measured of a training; a tuple has a figure for each of several stretches."""

    step_seconds: tuple[float, ...]
    """Of a training step, the making of its batch included."""
    score_seconds: tuple[float, ...]
    """Of scoring an image in evaluation mode."""
    loader_start_seconds: float = 0.0
    """Of starting the notebooks' loader, which is done anew for every epoch and every set that is scored."""
    compile_seconds: float = 0.0
    """Of compiling the network, which each worker does once."""

    def joined(self, other: "TrainingCost") -> "TrainingCost":
        """Of two processes that measured at the same time."""
        return TrainingCost(
            self.step_seconds + other.step_seconds,
            self.score_seconds + other.score_seconds,
            max(self.loader_start_seconds, other.loader_start_seconds),
            max(self.compile_seconds, other.compile_seconds),
        )


@dataclass(frozen=True)
class PassCost:
    """What was measured of one network's timed passes."""

    image_seconds: tuple[float, ...]
    """Of an image."""
    loader_start_seconds: float = 0.0


@dataclass(frozen=True)
class Network:
    """A contender as it is timed."""

    network: str
    width: float


@dataclass(frozen=True)
class Calibration:
    """What this device was measured to take."""

    device_name: str
    trainings: Mapping[int, Mapping[TrainingKind, TrainingCost]]
    """By how many trained side by side."""
    passes: Mapping[TimedPass, Mapping[str, PassCost]]
    """By kind and contender; a mode that the device lacks has none."""
    worker_start_seconds: float
    """Until a new process had imported torch and could compute: the unit of all that starting takes."""
    seconds: float
    """That calibrating took."""
    witnessed: "Witnessed"
    """What else used the device while steps and passes were timed."""
    others_share: float
    """Of the device that others may have had, of what disturbed the timing: 0 of nothing."""


@dataclass(frozen=True)
class Work:
    """What is to be measured, and how."""

    splits: "Splits"
    """The images; as many as the largest batches need are enough."""
    device: str
    """As torch names it."""
    threads: int
    """CPU threads of a training."""
    timing_threads: int
    trainings: tuple[TrainingKind, ...]
    side_by_side: frozenset[int]
    """How many trainings share the device: each number is measured."""
    passes: tuple[TimedPass, ...]
    contenders: Mapping[str, Network]


def calibrate(work: Work, patience_seconds: float = math.inf) -> Calibration:
    """Measure what a plan needs.

    Args:
        work: What to measure.
        patience_seconds: The longest that it may take.

    Raises:
        SlowDeviceError: It takes longer; if others use the device, the message says so.
        RunError: A process ended, or something could not be measured; the message says which and why.
    """
    import torch  # not above: the processes begin with this module

    from dwray.core.witness import Witness

    began = time.perf_counter()
    most = min(MOST_AT_ONCE, max(work.side_by_side))
    with _workers(most, work.device, began + patience_seconds) as (workers, start_seconds):
        for worker in workers:
            worker.send("begin", work.splits)
        names = [worker.receive(ANSWER_SECONDS) for worker in workers]
        # This process has no place on the GPU, which may let a single one in: a worker tells which it is.
        uuid = workers[0].ask("gpu_uuid")
        witness = Witness(torch.device(work.device), gpu_uuid=uuid, own_processes=most)
        watched = time.perf_counter()
        try:
            with witness:
                trainings = {number: _trainings(workers[:number], work) for number in sorted(work.side_by_side)}
                passes = _passes(workers[0], work)
        except SlowDeviceError as error:
            raise with_reason(error, witness.record) from error
        share = others_share(witness.record, time.perf_counter() - watched)
    seconds = time.perf_counter() - began
    return Calibration(names[0], trainings, passes, start_seconds, seconds, witness.record, share)


def with_reason(error: SlowDeviceError, seen: "Witnessed") -> SlowDeviceError:
    """An error that says what else used the device, if it was not ours alone."""
    if seen.exclusive is not False:
        return error
    return SlowDeviceError(f"{error}, which is busy: {seen.disturbance}. End what else runs, and plan again")


def others_share(seen: "Witnessed", seconds: float) -> float:
    """How much of a device others had at most while they disturbed a timing.

    Alone, one thread takes no less than the rest of its time; several, all waiting for the one without a core, may.

    Args:
        seen: What the witness saw of it.
        seconds: How long it took.
    """
    if seen.exclusive is not False:
        return 0.0
    others = seen.other_gpu_processes or 0  # on a GPU: all alike
    of_processor = (seen.other_cpu_seconds or 0.0) / (seconds * (os.cpu_count() or 1))
    return max(others / (others + 1), min(1.0, of_processor))


def _passes(worker: "_Worker", work: Work) -> dict[TimedPass, dict[str, PassCost]]:
    """All kinds of timed passes, one after the other."""
    share = PASS_SECONDS / max(1, len(work.passes)) / len(work.contenders)
    return {kind: worker.ask("time", kind, work.contenders, work.timing_threads, share) for kind in work.passes}


def _trainings(workers: "Sequence[_Worker]", work: Work) -> dict[TrainingKind, TrainingCost]:
    """All kinds in all workers at once; each begins with another, as different trainings run side by side."""
    share = TRAINING_SECONDS / len(work.trainings)
    for index, worker in enumerate(workers):
        first = index % len(work.trainings)
        order = (*work.trainings[first:], *work.trainings[:first])
        worker.send("train", order, work.threads, share)
    costs: dict[TrainingKind, TrainingCost] = {}
    for worker in workers:
        for kind, cost in worker.receive(ANSWER_SECONDS).items():
            costs[kind] = costs[kind].joined(cost) if kind in costs else cost
    return costs


class _Worker:
    """A process that measures, seen from the one that asks."""

    def __init__(self, device: str, ends: float) -> None:
        self._ends = ends
        context = multiprocessing.get_context("spawn")  # torch's threads and CUDA do not survive a fork
        self._connection, theirs = context.Pipe()
        # Not daemonic: the notebooks' loader starts processes of its own there.
        self._process = context.Process(target=serve, args=(theirs, device))
        self._process.start()
        theirs.close()

    def send(self, request: str, *arguments: Any) -> None:
        """Have something done: a method of ``calibration_steps.Measurer``."""
        try:
            self._connection.send((request, *arguments))
        except OSError as error:
            raise self._lost() from error

    def receive(self, seconds: float) -> Any:
        """Wait for the answer.

        Raises:
            SlowDeviceError: There is none by the time that this has to end.
            RunError: There is none in time, or it is an error.
        """
        left = self._ends - time.perf_counter()
        try:
            if not self._connection.poll(max(0.0, min(seconds, left))):
                if left < seconds:
                    raise SlowDeviceError("a few steps of this sweep take too long on this device")
                raise RunError(f"a process that calibrates did not answer within {seconds:.0f} s; {COUNT}")
            done, answer = self._connection.recv()
        except (EOFError, OSError) as error:
            raise self._lost() from error
        if not done:
            raise RunError(f"this device could not be calibrated: {answer}; {COUNT}")
        return answer

    def ask(self, request: str, *arguments: Any) -> Any:
        """Send and receive."""
        self.send(request, *arguments)
        return self.receive(ANSWER_SECONDS)

    def _lost(self) -> RunError:
        self._process.join(END_SECONDS)
        return RunError(
            f"a process that calibrates ended (exit code {self._process.exitcode}), for want of memory perhaps; {COUNT}"
        )

    def end(self) -> None:
        """Let it end, or end it."""
        self._connection.close()
        self._process.join(END_SECONDS if time.perf_counter() < self._ends else 0)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._process.close()


@contextmanager
def _workers(count: int, device: str, ends: float) -> Iterator[tuple[list[_Worker], float]]:
    """So many processes, which have until then, and the seconds until the last of them could compute."""
    began = time.perf_counter()
    workers: list[_Worker] = []
    try:
        for _ in range(count):
            workers.append(_Worker(device, ends))  # noqa: PERF401 - those that were started are ended if one cannot be
        for worker in workers:
            worker.receive(START_SECONDS)
        yield workers, time.perf_counter() - began
    finally:
        for worker in workers:
            worker.end()


def serve(connection: Connection, device: str) -> None:
    """Answer requests until the other end is closed: (True, the result) or (False, a line that says what failed).

    Args:
        connection: To the one who asks: (method of ``calibration_steps.Measurer``, arguments ...). Before the first
            request it is told that this process can compute.
        device: To compute on.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then ends this
    keep_freed_memory()  # before the first tensor

    measurer: Any = None

    def answer(request: str, *arguments: Any) -> tuple[bool, Any]:
        nonlocal measurer
        try:
            from dwray.core.calibration_steps import Measurer

            measurer = measurer or Measurer(device)
            return True, getattr(measurer, request)(*arguments)
        except Exception as error:  # whatever torch raises is for the parent to tell
            return False, one_line(error)

    with suppress(EOFError, BrokenPipeError, ConnectionResetError):  # nobody is there any more
        connection.send(answer("name"))
        while True:
            connection.send(answer(*connection.recv()))
