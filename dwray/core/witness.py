"""Proof that a timing had its device to itself: what else used the processor or the GPU while it ran.

A processor is watched through the kernel's counters of the whole machine (proc(5)), less what this process and its
descendants used; a GPU through NVML, if the package ``nvidia-ml-py`` is there. What cannot be known
is None, never True.
"""

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import torch

from dwray.core.clock import synchronize

PROC = Path("/proc")
OTHERS_SHARE = 0.2
"""Others may use this share of one core on average. Measured on two cores over stretches of 5 s: an idle machine's own
services used 0.01 to 0.02 of a core, with a busy process of ours 0.01 to 0.02 (the kernel's two counters differ by as
much), with one foreign busy process on an otherwise quiet machine 1.01 to 1.03 (three stretches)."""
OTHERS_SECONDS = 0.1
"""Less than this is never a disturbance: the counters go in steps of 10 ms, and each process rounds by itself."""
HOST_SHARE = 0.5
"""While a GPU is timed the processor only feeds it: others may use this share of the machine's cores."""
THROTTLE_REASONS: dict[int, tuple[str, bool]] = {
    0x1: ("gpu idle", False),
    0x2: ("application clocks", False),
    0x4: ("software power cap", False),
    0x8: ("hardware slowdown", True),
    0x10: ("sync boost", False),
    0x20: ("software thermal slowdown", True),
    0x40: ("hardware thermal slowdown", True),
    0x80: ("power brake", True),
    0x100: ("display clocks", False),
}
"""NVML's bits (nvml.h, nvmlClocksEventReasons) in words, and whether a timing is disturbed by it."""
THROTTLE_QUERIES = ("nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons")
"""What NVML calls the question for them since version 12, and before."""


@dataclass(frozen=True)
class Witnessed:
    """What was seen around a timing."""

    exclusive: bool | None
    """Whether the device was ours alone; None where that cannot be known."""
    disturbance: str | None
    """What disturbed it, or why it cannot be known."""
    load_average: float
    """Of the machine over the last minute, at the end."""
    other_cpu_seconds: float | None
    """Processor time of all cores that others used."""
    threads: int
    """Threads that torch computes with."""
    other_gpu_processes: int | None
    sm_clock_mhz_before: int | None
    sm_clock_mhz_after: int | None
    throttle_reasons: str | None
    """Why the GPU's clock was held down before or after, in words; empty if for no reason."""


@dataclass(frozen=True)
class CpuTimes:
    """Processor seconds of all cores since the machine started."""

    busy: float
    stolen: float
    """What the host of a virtual machine gave to others while we wanted it."""
    own: float
    """Of this process and its descendants, those that ended included."""


@dataclass(frozen=True)
class GpuState:
    """What NVML says of one GPU at one moment; None is what it does not tell of that GPU."""

    other_processes: int | None
    sm_clock_mhz: int | None
    throttle_bits: int | None
    unknown: str | None = None
    """Why the other processes cannot be known."""


class Witness:
    """Watches a device around a timing: ``with Witness(device) as witness: ...``, then ``witness.record``.

    Args:
        device: What is timed on.
        nvml: The module ``pynvml``; None imports it, if it is there.
        gpu_uuid: The GPU's UUID as torch has it, without NVML's prefix; None asks torch for it. (An index would
            not do: CUDA_VISIBLE_DEVICES renumbers torch's devices, and not NVML's.)
        own_processes: How many processes on the GPU are ours; they must be there at both ends of the stretch.
    """

    record: Witnessed
    """There once the stretch has ended."""

    def __init__(
        self,
        device: torch.device,
        *,
        nvml: ModuleType | Any = None,
        gpu_uuid: str | None = None,
        own_processes: int = 1,
    ) -> None:
        self._device = device
        self._nvml = nvml
        self._uuid = gpu_uuid
        self._own_processes = own_processes
        self._gpu_error: str | None = None

    def __enter__(self) -> Self:
        if self._device.type == "cuda":
            self._open_gpu()
        self._gpu_before = self._gpu()
        self._cpu_before = cpu_times()
        self._start = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        gpu_after = self._gpu()  # first of all: an idle GPU lowers its clock
        seconds = time.perf_counter() - self._start
        cpu = _since(self._cpu_before, cpu_times())
        cores = OTHERS_SHARE if self._device.type != "cuda" else HOST_SHARE * (os.cpu_count() or 1)
        disturbances = list(cpu_disturbances(cpu, seconds, cores)) if cpu else []
        unknown = [] if cpu else ["other processes' processor time cannot be known here"]
        states = [state for state in (self._gpu_before, gpu_after) if state]
        if self._device.type == "cuda":
            disturbances += gpu_disturbances(states)
            unknown += [f"the GPU was not checked: {self._gpu_error}"] if self._gpu_error else []
            reasons = dict.fromkeys(state.unknown for state in states if state.unknown)
            unknown += [f"the other processes on the GPU cannot be known: {reason}" for reason in reasons]
        bits = [state.throttle_bits for state in states if state.throttle_bits is not None]
        others = [state.other_processes for state in states if state.other_processes is not None]
        self.record = Witnessed(
            exclusive=False if disturbances else None if unknown else True,
            disturbance="; ".join(disturbances + unknown) or None,
            load_average=os.getloadavg()[0],
            other_cpu_seconds=max(0.0, cpu.busy - cpu.own) if cpu else None,
            threads=torch.get_num_threads(),
            other_gpu_processes=max(others, default=None),
            sm_clock_mhz_before=self._gpu_before.sm_clock_mhz if self._gpu_before else None,
            sm_clock_mhz_after=gpu_after.sm_clock_mhz if gpu_after else None,
            throttle_reasons=", ".join(name for name, _ in _reasons(bits)) if bits else None,
        )

    def _open_gpu(self) -> None:
        try:
            if self._nvml is None:
                import pynvml

                self._nvml = pynvml
            self._nvml.nvmlInit()
            if self._uuid is None:
                synchronize(self._device)  # makes the context that NVML lists us by
                self._uuid = str(torch.cuda.get_device_properties(self._device).uuid)
        except ImportError:
            self._gpu_error = "nvidia-ml-py is not installed"
        except Exception as error:  # NVML raises classes of its own, which exist only where it is installed
            self._gpu_error = str(error)

    def _gpu(self) -> GpuState | None:
        if self._device.type != "cuda" or self._gpu_error:
            return None
        try:
            return gpu_state(self._nvml, str(self._uuid), self._own_processes)
        except Exception as error:  # as above: a driver that does not answer must not end a timing
            self._gpu_error = str(error)
            return None


def cpu_disturbances(used: CpuTimes, seconds: float, cores: float) -> Iterator[str]:
    """What took processor time from a timing.

    Args:
        used: Processor seconds during the timing.
        seconds: How long it took.
        cores: How many cores others may use on average.
    """
    for who, taken in (("other processes", used.busy - used.own), ("the virtual machine's host", used.stolen)):
        if taken >= OTHERS_SECONDS and taken > cores * seconds:
            yield f"{who} used {taken:.1f} s of processor time in {seconds:.1f} s"


def gpu_disturbances(states: Iterable[GpuState]) -> Iterator[str]:
    """What slowed a GPU, or shared it, at the moments at which it was looked at."""
    states = list(states)
    others = max((state.other_processes or 0 for state in states), default=0)
    if others:
        yield f"{others} other process{'es' if others > 1 else ''} on the GPU"
    for name, disturbs in _reasons(state.throttle_bits or 0 for state in states):
        if disturbs:
            yield f"the GPU's clock was held down: {name}"


def gpu_state(nvml: ModuleType | Any, uuid: str, own_processes: int = 1) -> GpuState:
    """Ask NVML, initialised, about the GPU or the part of a GPU (MIG) of that UUID, given without a prefix.

    Raises:
        nvml.NVMLError: There is none.
    """
    try:
        handle = nvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
    except Exception:  # a class that exists only where NVML's package is installed
        handle = nvml.nvmlDeviceGetHandleByUUID(f"MIG-{uuid}")
    pids: set[int] = set()
    unknown = "NVML lists no process, not even this one"  # which holds a context: in a container the list may be blind
    try:
        pids = {process.pid for process in nvml.nvmlDeviceGetComputeRunningProcesses(handle)}
    except Exception as error:  # as above: a part of a GPU, or a virtual one, does not answer every question
        unknown = str(error)
    # In a container NVML may list all by the host's numbers, ours too: then so many of them, whichever, are ours.
    return GpuState(
        other_processes=max(0, len(pids) - own_processes) if pids else None,
        sm_clock_mhz=_ask(nvml, ["nvmlDeviceGetClockInfo"], handle, nvml.NVML_CLOCK_SM),
        throttle_bits=_ask(nvml, THROTTLE_QUERIES, handle),
        unknown=None if pids else unknown,
    )


def _ask(nvml: ModuleType | Any, queries: Sequence[str], *arguments: Any) -> int | None:
    """The answer to the first of NVML's queries that package and driver have, and the GPU answers; None if to none."""
    for query in queries:
        with suppress(Exception):  # AttributeError, or one of NVML's own classes
            return int(getattr(nvml, query)(*arguments))
    return None


def cpu_times(proc: Path = PROC) -> CpuTimes | None:
    """Read the kernel's counters; None where there are none to trust."""
    try:
        fields = (proc / "stat").read_text(encoding="ascii").partition("\n")[0].split()
        user, nice, system, _idle, _iowait, irq, softirq, stolen = map(int, fields[1:9])
        own = _own_ticks(proc, os.getpid())
    except (OSError, ValueError):
        return None
    busy = user + nice + system + irq + softirq
    if busy < own:  # a sandbox whose counter of the machine stays at zero, or near
        return None
    ticks = os.sysconf("SC_CLK_TCK")
    return CpuTimes(busy / ticks, stolen / ticks, own / ticks)


def _own_ticks(proc: Path, root: int) -> int:
    """Clock ticks that a process and its descendants used, with those of their children that have ended."""
    ticks: dict[int, int] = {}
    children: dict[int, list[int]] = {}
    for folder in proc.iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            # The name, in parentheses, may hold spaces and parentheses itself.
            fields = (folder / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:  # it ended just now
            continue
        pid = int(folder.name)
        children.setdefault(int(fields[1]), []).append(pid)
        ticks[pid] = sum(map(int, fields[11:15]))  # utime, stime, cutime, cstime
    if root not in ticks:
        raise OSError(f"{proc} does not list this process")
    total, tree = 0, [root]
    while tree:
        pid = tree.pop()
        total += ticks[pid]
        tree += children.get(pid, [])
    return total


def _since(before: CpuTimes | None, after: CpuTimes | None) -> CpuTimes | None:
    if before is None or after is None:
        return None
    return CpuTimes(after.busy - before.busy, after.stolen - before.stolen, after.own - before.own)


def _reasons(bits: Iterable[int]) -> list[tuple[str, bool]]:
    """The reasons whose bit is set at any moment: (in words, whether it disturbs a timing)."""
    seen = 0
    for each in bits:
        seen |= each
    return [reason for bit, reason in THROTTLE_REASONS.items() if seen & bit]
