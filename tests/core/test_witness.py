"""Whether a timing had its device to itself: with a real busy process, and with what NVML would say."""

import math
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from processes import busy_stranger

from dwray.core.witness import (
    OTHERS_SHARE,
    CpuTimes,
    GpuState,
    Witness,
    Witnessed,
    cpu_disturbances,
    cpu_times,
    gpu_disturbances,
    gpu_state,
)

CPU = torch.device("cpu")
SPIN = "while True: pass"


def spin(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


# The processor


def test_a_busy_stranger_is_seen() -> None:
    with busy_stranger(), Witness(CPU) as witness:
        time.sleep(2.0)
    seen = witness.record
    assert seen.exclusive is False
    assert seen.other_cpu_seconds is not None
    assert seen.other_cpu_seconds > OTHERS_SHARE * 2.0
    assert seen.disturbance is not None
    assert "other processes used" in seen.disturbance
    assert seen.threads == torch.get_num_threads()
    assert seen.load_average > 0


def test_our_own_work_and_that_of_our_children_is_not_counted() -> None:
    """Held against a stretch that sleeps: a busy machine disturbs both alike, so the quietest of a few pairs counts."""
    extra = math.inf
    for _ in range(5):
        with Witness(CPU) as asleep:
            time.sleep(1.0)
        with Witness(CPU) as at_work:
            child = subprocess.Popen([sys.executable, "-c", SPIN])
            ended = subprocess.Popen([sys.executable, "-c", "sum(range(10**6))"])
            spin(0.5)
            ended.wait()
            alive = cpu_times()
            child.kill()
            child.wait()
        assert alive is not None
        assert asleep.record.other_cpu_seconds is not None
        assert at_work.record.other_cpu_seconds is not None
        extra = min(extra, at_work.record.other_cpu_seconds - asleep.record.other_cpu_seconds)
    assert extra < 0.25  # we and the child used about a second


def test_the_counters_of_the_kernel_are_read_by_their_names(tmp_path: Path) -> None:
    ticks = os.sysconf("SC_CLK_TCK")
    (tmp_path / "stat").write_text("cpu  10000 20 3 4000 500 6 7 80 9 9\ncpu0 1 1 1 1 1 1 1 1 1 1\n")
    ours, child, grandchild, stranger = os.getpid(), 900001, 900002, 900003
    for pid, parent, used in ((ours, 1, 1), (child, ours, 10), (grandchild, child, 100), (stranger, 1, 1000)):
        folder = tmp_path / str(pid)
        folder.mkdir()
        fields = [parent, *range(9), used, 2 * used, 3 * used, 4 * used, 99, 99]
        (folder / "stat").write_text(f"{pid} (a name) with (both) S {' '.join(map(str, fields))}\n")
    assert cpu_times(tmp_path) == CpuTimes(busy=10036 / ticks, stolen=80 / ticks, own=1110 / ticks)


@pytest.mark.parametrize("stat", [None, "", "cpu\n", "cpu  a b c d e f g h\n", "cpu  1 2 3 4 5 6 7 8 9 0\n"])
def test_a_proc_that_tells_nothing_is_none(tmp_path: Path, stat: str | None) -> None:
    if stat is not None:
        (tmp_path / "stat").write_text(stat)  # and no process in it
    assert cpu_times(tmp_path) is None
    assert cpu_times(tmp_path / "missing") is None


@pytest.mark.parametrize("counter", [None, "cpu  0 0 0 0 0 0 0 0 0 0\n"])
def test_without_counters_nothing_is_claimed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counter: str | None
) -> None:
    if counter:  # a sandbox whose machine-wide counter stays at zero while ours goes on
        (tmp_path / "stat").write_text(counter)
        (tmp_path / str(os.getpid())).symlink_to(f"/proc/{os.getpid()}")
    monkeypatch.setattr(cpu_times, "__defaults__", (tmp_path,))
    with Witness(CPU) as witness:
        pass
    assert witness.record.exclusive is None
    assert witness.record.other_cpu_seconds is None
    assert witness.record.disturbance == "other processes' processor time cannot be known here"


@pytest.mark.parametrize(
    ("used", "seconds", "expected"),
    [
        (CpuTimes(10.0, 0.0, 10.0), 10.0, []),
        (CpuTimes(11.9, 0.0, 10.0), 10.0, []),
        (CpuTimes(12.1, 0.0, 10.0), 10.0, ["other processes used 2.1 s of processor time in 10.0 s"]),
        (CpuTimes(0.19, 0.0, 0.10), 0.1, []),  # nearly a whole core, yet too short to tell from rounding
        (CpuTimes(0.25, 0.0, 0.10), 0.1, ["other processes used 0.1 s of processor time in 0.1 s"]),
        (CpuTimes(9.0, 0.0, 10.0), 10.0, []),
        (CpuTimes(10.0, 3.0, 10.0), 10.0, ["the virtual machine's host used 3.0 s of processor time in 10.0 s"]),
    ],
)
def test_what_disturbs_a_processor(used: CpuTimes, seconds: float, expected: list[str]) -> None:
    assert list(cpu_disturbances(used, seconds, OTHERS_SHARE)) == expected


# The GPU


@dataclass
class Nvml:
    """Stands in for the package pynvml: one GPU, which does not answer the questions that ``lacks`` names."""

    pids: list[int] = field(default_factory=lambda: [os.getpid()])
    reasons: int = 0
    clock: int = 1980
    fails: bool = False
    lacks: tuple[str, ...] = ()
    uuid: str = "GPU-1234"
    NVML_CLOCK_SM: int = 1

    def nvmlInit(self) -> None:  # noqa: N802
        if self.fails:
            raise RuntimeError("Driver Not Loaded")

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:  # noqa: N802
        if uuid != self.uuid:
            raise RuntimeError("Not Found")
        return "handle"

    def nvmlDeviceGetComputeRunningProcesses(self, handle: str) -> list[SimpleNamespace]:  # noqa: N802
        assert handle == "handle"
        self.answer("processes")
        return [SimpleNamespace(pid=pid) for pid in self.pids]

    def nvmlDeviceGetClockInfo(self, handle: str, which: int) -> int:  # noqa: N802
        assert (handle, which) == ("handle", self.NVML_CLOCK_SM)
        self.answer("clock")
        return self.clock

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: str) -> int:  # noqa: N802
        assert handle == "handle"
        self.answer("throttle")
        return self.reasons

    def answer(self, question: str) -> None:
        if question in self.lacks:
            raise RuntimeError(f"{question}: Not Supported")


class NewNvml(Nvml):
    """NVML 12 and later has another name for it."""

    def nvmlDeviceGetCurrentClocksEventReasons(self, handle: str) -> int:  # noqa: N802
        self.answer("event")
        return super().nvmlDeviceGetCurrentClocksThrottleReasons(handle)

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: str) -> int:  # noqa: N802
        assert "event" in self.lacks, "the old name is deprecated"
        return super().nvmlDeviceGetCurrentClocksThrottleReasons(handle)


@pytest.mark.parametrize("kind", [Nvml, NewNvml])
def test_nvml_is_asked_about_the_gpu(kind: type[Nvml]) -> None:
    assert gpu_state(kind(reasons=4, clock=1755), "1234") == GpuState(0, 1755, 4)


def test_a_part_of_a_gpu_has_another_prefix() -> None:
    assert gpu_state(Nvml(uuid="MIG-1234", clock=1755), "1234") == GpuState(0, 1755, 0)
    with pytest.raises(RuntimeError, match="Not Found"):
        gpu_state(Nvml(uuid="GPU-5678"), "1234")


@pytest.mark.parametrize(
    ("lacks", "expected"),
    [
        (("clock",), GpuState(0, None, 4)),
        (("throttle",), GpuState(0, 1980, None)),
        (("event",), GpuState(0, 1980, 4)),  # a driver older than the package
        (("processes",), GpuState(None, 1980, 4, "processes: Not Supported")),
    ],
)
def test_what_a_gpu_does_not_answer_is_none_and_the_rest_is_kept(lacks: tuple[str, ...], expected: GpuState) -> None:
    assert gpu_state(NewNvml(reasons=4, lacks=lacks), "1234") == expected


@pytest.mark.parametrize(
    ("pids", "others"),
    [
        ([os.getpid()], 0),
        ([os.getpid(), 11, 12], 2),
        ([11], 0),  # a container: one of the host's numbers is ours
        ([11, 12], 1),
        ([], None),  # blind: we are there
        ([11, 11, os.getpid()], 1),
    ],
)
def test_the_other_processes_on_a_gpu_are_counted(pids: list[int], others: int | None) -> None:
    assert gpu_state(Nvml(pids=pids), "1234").other_processes == others


def test_all_processes_that_are_ours_are_none_of_the_others() -> None:
    seen = Witness(torch.device("cuda"), nvml=Nvml(pids=[11, 12, 13]), gpu_uuid="1234", own_processes=2)
    with seen:
        pass
    assert seen.record.other_gpu_processes == 1
    assert gpu_state(Nvml(pids=[11]), "1234", 2).other_processes == 0, "one has just ended"


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([], []),
        ([GpuState(0, 1980, 0), GpuState(0, 1980, 0x1 | 0x2 | 0x4)], []),
        ([GpuState(1, 1980, 0), GpuState(0, 1980, 0)], ["1 other process on the GPU"]),
        ([GpuState(0, 1980, 0), GpuState(3, 1980, 0)], ["3 other processes on the GPU"]),
        ([GpuState(0, 900, 0x8), GpuState(0, 900, 0)], ["the GPU's clock was held down: hardware slowdown"]),
        ([GpuState(0, 900, 0), GpuState(0, 900, 0x80)], ["the GPU's clock was held down: power brake"]),
        (
            [GpuState(0, 900, 0x20), GpuState(0, 900, 0x40)],
            [
                "the GPU's clock was held down: software thermal slowdown",
                "the GPU's clock was held down: hardware thermal slowdown",
            ],
        ),
    ],
)
def test_what_disturbs_a_gpu(states: list[GpuState], expected: list[str]) -> None:
    assert list(gpu_disturbances(states)) == expected


def test_a_gpus_state_is_recorded() -> None:
    nvml = Nvml(pids=[os.getpid(), 11], reasons=0x4)
    with Witness(torch.device("cuda", 0), nvml=nvml, gpu_uuid="1234") as witness:
        nvml.pids.pop()
        nvml.clock, nvml.reasons = 1700, 0x40
    seen = witness.record
    assert seen.exclusive is False
    assert seen.other_gpu_processes == 1
    assert (seen.sm_clock_mhz_before, seen.sm_clock_mhz_after) == (1980, 1700)
    assert seen.throttle_reasons == "software power cap, hardware thermal slowdown"
    assert seen.disturbance is not None
    assert "1 other process on the GPU; the GPU's clock was held down: hardware thermal" in seen.disturbance


def test_a_gpu_that_cannot_be_asked_is_not_called_exclusive() -> None:
    with Witness(torch.device("cuda", 0), nvml=Nvml(fails=True), gpu_uuid="1234") as witness:
        pass
    seen = witness.record
    assert seen.exclusive is not True
    assert seen.disturbance is not None
    assert "the GPU was not checked: Driver Not Loaded" in seen.disturbance
    assert (seen.other_gpu_processes, seen.sm_clock_mhz_before, seen.throttle_reasons) == (None, None, None)


def seen_on_gpu(nvml: Nvml, monkeypatch: pytest.MonkeyPatch) -> Witnessed:
    """What is seen of a GPU beside a processor that disturbs nothing."""
    monkeypatch.setattr("dwray.core.witness.HOST_SHARE", math.inf)
    with Witness(torch.device("cuda", 0), nvml=nvml, gpu_uuid="1234") as witness:
        pass
    return witness.record


@pytest.mark.parametrize(
    ("nvml", "reason"),
    [
        (Nvml(pids=[]), "NVML lists no process, not even this one"),
        (Nvml(lacks=("processes",)), "processes: Not Supported"),
    ],
)
def test_a_gpu_whose_processes_are_unknown_is_not_called_exclusive(
    nvml: Nvml, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = seen_on_gpu(nvml, monkeypatch)
    assert (seen.exclusive, seen.other_gpu_processes, seen.sm_clock_mhz_after) == (None, None, 1980)
    assert seen.disturbance == f"the other processes on the GPU cannot be known: {reason}"


def test_a_gpu_whose_clock_is_unknown_may_be_exclusive(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = seen_on_gpu(Nvml(lacks=("clock", "throttle")), monkeypatch)
    assert (seen.exclusive, seen.disturbance, seen.other_gpu_processes) == (True, None, 0)
    assert (seen.sm_clock_mhz_before, seen.sm_clock_mhz_after, seen.throttle_reasons) == (None, None, None)


def test_without_nvidia_ml_py_the_gpu_is_not_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with Witness(torch.device("cuda", 0), gpu_uuid="1234") as witness:
        pass
    assert witness.record.exclusive is not True
    assert witness.record.disturbance is not None
    assert witness.record.disturbance.endswith("the GPU was not checked: nvidia-ml-py is not installed")
