"""A calibration does what trials do, in processes of its own, and is the same whoever asks."""

import os
import time
from dataclasses import replace

import pytest
import torch

from dwray.core.calibration import (
    Calibration,
    Network,
    SlowDeviceError,
    TimedPass,
    TrainingCost,
    TrainingKind,
    Work,
    calibrate,
    others_share,
    with_reason,
)
from dwray.core.calibration_steps import Measurer, fitting_batch
from dwray.core.config import DataConfig, TrainingConfig
from dwray.core.data import load_splits
from dwray.core.witness import Witnessed
from dwray.errors import RunError

SPLITS = load_splits(DataConfig(max_train_images=200, max_test_images=60))
SETTLED = TrainingConfig(epochs=1, batch_size=16, precision="float32", memory_format="channels_last", compile=False)
CONV = TrainingKind("ConvNet", 0.05, SETTLED)
DEPTHWISE = TrainingKind("DepthwiseConvNet", 0.05, SETTLED)
PASSES = (TimedPass(32), TimedPass(32, loader=True), TimedPass(32, mode="float32-folded"))
WORK = Work(
    SPLITS,
    device="cpu",
    threads=1,
    timing_threads=1,
    trainings=(CONV, DEPTHWISE),
    side_by_side=frozenset({2}),
    passes=PASSES,
    contenders={"a": Network("ConvNet", 0.05), "b": Network("DepthwiseConvNet", 0.05)},
)


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    return calibrate(WORK)


@pytest.fixture
def measurer() -> Measurer:
    measurer = Measurer("cpu")
    measurer.begin(SPLITS)
    return measurer


def test_every_training_and_every_pass_is_measured(calibration: Calibration) -> None:
    assert set(calibration.trainings) == {2}
    assert set(calibration.trainings[2]) == {CONV, DEPTHWISE}
    for cost in calibration.trainings[2].values():
        assert len(cost.step_seconds) == len(cost.score_seconds) == 2 * 4, "four stretches in each of two processes"
        assert all(0 < seconds < 10 for seconds in cost.step_seconds)
        assert all(0 < seconds < 1 for seconds in cost.score_seconds)
        assert cost.loader_start_seconds == cost.compile_seconds == 0
    assert set(calibration.passes) == set(PASSES)
    for costs in calibration.passes.values():
        assert set(costs) == {"a", "b"}
        assert all(0 < seconds < 1 for cost in costs.values() for seconds in cost.image_seconds)
    assert 0 < calibration.worker_start_seconds < calibration.seconds


def test_a_wider_network_takes_longer(measurer: Measurer) -> None:
    wide = replace(CONV, width=0.5)
    costs = measurer.train((CONV, wide), 1, 0.2)
    assert min(costs[wide].step_seconds) > min(costs[CONV].step_seconds)


def test_the_notebooks_loader_starts_anew_for_each_pass(measurer: Measurer) -> None:
    cost = measurer.train((replace(CONV, notebook_loader=True),), 1, 0.2)[replace(CONV, notebook_loader=True)]
    assert cost.loader_start_seconds > 0


def test_a_mode_that_the_device_lacks_is_not_measured(measurer: Measurer) -> None:
    assert measurer.time(TimedPass(32, mode="float32-cuda-graph"), WORK.contenders, 1, 0.1) == {}


def test_a_batch_that_takes_too_long_is_measured_with_fewer_images() -> None:
    tried = []

    def a_second_an_image(size: int) -> float:
        tried.append(size)
        return float(size)

    assert fitting_batch(256, 100, a_second_an_image) == 64
    assert max(tried) == 64, "nothing was tried that would not fit"
    assert fitting_batch(256, 1000, a_second_an_image) == 256
    assert fitting_batch(48, 1000, a_second_an_image) == 48
    assert fitting_batch(256, 1, a_second_an_image) == 8
    assert fitting_batch(4, 1, a_second_an_image) == 4


def test_one_slow_moment_makes_no_batch_smaller() -> None:
    tried = []

    def a_second_an_image_but_once(size: int) -> float:
        tried.append(size)
        return size * (100.0 if len(tried) == 2 else 1.0)

    assert fitting_batch(256, 1000, a_second_an_image_but_once) == 256


def test_many_short_passes_are_measured(measurer: Measurer) -> None:
    """Of a slow device two all the same; a machine that much else runs on has its slow moments here, too."""
    many = measurer.time(TimedPass(4), WORK.contenders, 1, 4.0)
    assert all(len(cost.image_seconds) > 10 for cost in many.values())
    few = measurer.time(TimedPass(4), WORK.contenders, 1, 0.0)
    assert {len(cost.image_seconds) for cost in few.values()} == {2}


def seen(exclusive: bool | None, cpu_seconds: float | None, gpu_processes: int | None = None) -> Witnessed:
    return Witnessed(exclusive, None if exclusive else "others were there", 1, cpu_seconds, 1, gpu_processes, 1, 1, "")


def test_the_others_share_is_that_of_the_whole_device() -> None:
    cores = os.cpu_count() or 1
    assert others_share(seen(False, 5.0 * cores), 10.0) == 0.5
    assert others_share(seen(False, 50.0 * cores), 10.0) == 1
    assert others_share(seen(True, 1.0), 10.0) == 0
    assert others_share(seen(None, None), 10.0) == 0
    assert others_share(seen(False, 0.0, gpu_processes=3), 10.0) == 0.75


def test_a_device_that_takes_too_long_is_called_busy_only_if_it_was() -> None:
    slow = SlowDeviceError("a few steps take too long on this device")
    assert str(with_reason(slow, seen(True, 0.0))) == str(with_reason(slow, seen(None, None))) == str(slow)
    assert str(with_reason(slow, seen(False, 9.0))).startswith(f"{slow}, which is busy: others were there. End what")


def test_what_two_processes_measured_is_joined() -> None:
    joined = TrainingCost((1.0,), (0.1,), 2.0, 30.0).joined(TrainingCost((2.0,), (0.2,), 1.0, 40.0))
    assert joined == TrainingCost((1.0, 2.0), (0.1, 0.2), 2.0, 40.0)


def test_what_cannot_be_measured_is_one_line_and_leaves_no_process() -> None:
    before = set(os.listdir("/proc"))
    broken = replace(WORK, trainings=(replace(CONV, network="NoNet"),), passes=())
    with pytest.raises(RunError, match="could not be calibrated") as raised:
        calibrate(broken)
    assert "\n" not in str(raised.value)
    ended = time.monotonic() + 10
    while children() and time.monotonic() < ended:
        time.sleep(0.1)
    assert children() == [], before


def children() -> list[str]:
    """Processes that measure still."""
    found = []
    for process in filter(str.isdecimal, os.listdir("/proc")):
        try:
            with open(f"/proc/{process}/stat") as stat, open(f"/proc/{process}/cmdline") as command:
                parent = stat.read().rpartition(")")[2].split()[1]
                if parent == str(os.getpid()) and "spawn_main" in command.read():
                    found.append(process)
        except OSError:  # it has ended
            continue
    return found


def test_the_parent_needs_no_torch_threads(calibration: Calibration) -> None:
    assert calibration.device_name
    assert torch.get_num_threads() == 1, "nothing was changed here"
