"""A device's ceilings, measured on this machine, and the roofline made of them."""

import itertools
import time
from collections.abc import Callable

import torch

from dwray.core.ceilings import ELEMENT_BYTES, Ceilings, _fastest, highest, measure_ceilings
from dwray.core.complexity import Work
from dwray.core.config import PRECISIONS
from dwray.core.precision import lacks

CPU = torch.device("cpu")


def fastest(run: Callable[[], object]) -> float:
    """Seconds of the fastest of several runs."""
    took = []
    for _ in range(8):
        start = time.perf_counter()
        run()
        took.append(time.perf_counter() - start)
    return min(took)


def agree(measure: Callable[[], tuple[float, float]]) -> bool:
    """Whether two ways to measure a rate agree in one of several attempts: both miss it while others compute."""
    return any(2 / 3 < first / second < 3 / 2 for first, second in (measure() for _ in range(6)))


def test_the_matrix_rate_is_one_that_this_processor_reaches() -> None:
    left, right = torch.randn(1024, 1024), torch.randn(1024, 1024)

    def both() -> tuple[float, float]:
        rates = measure_ceilings(CPU, seconds=0.2).matrix_flops_per_second
        return rates["float32"], 2 * 1024**3 / fastest(lambda: left @ right)

    assert agree(both)


def test_a_copy_counts_what_is_read_and_what_is_written() -> None:
    source = torch.ones(2**25)
    target = source.clone()

    def both() -> tuple[float, float]:
        rate = measure_ceilings(CPU, seconds=0.2).copy_bytes_per_second
        return rate, 2 * source.nbytes / fastest(lambda: target.copy_(source))

    assert agree(both)


def test_every_precision_that_the_device_has_is_measured() -> None:
    measured = measure_ceilings(CPU, seconds=0.05)
    assert set(measured.matrix_flops_per_second) == {name for name in PRECISIONS if not lacks(name, CPU)}
    assert set(ELEMENT_BYTES) == set(PRECISIONS)


def test_the_budget_of_seconds_is_about_kept() -> None:
    start = time.perf_counter()
    measure_ceilings(CPU, seconds=0.05)
    short = time.perf_counter() - start
    start = time.perf_counter()
    measure_ceilings(CPU, seconds=2.0)
    assert time.perf_counter() - start > 1.5
    assert short < 1.5


def test_the_tf32_switches_stay_as_they_were() -> None:
    for allowed in (True, False):
        torch.backends.cuda.matmul.allow_tf32 = allowed
        measure_ceilings(CPU, seconds=0.01)
        assert torch.backends.cuda.matmul.allow_tf32 is allowed


def test_the_fastest_stretch_counts_and_the_first_run_does_not() -> None:
    pauses = itertools.chain([0.0], [0.05, 0.02, 0.04], itertools.repeat(0.04))
    assert 0.02 <= _fastest(lambda: time.sleep(next(pauses)), CPU, 0.2) < 0.035


def test_the_ridge_is_where_both_ceilings_ask_for_the_same_time() -> None:
    ceilings = Ceilings({"float32": 8e12, "bfloat16": 64e12}, copy_bytes_per_second=1e12)
    assert ceilings.ridge("float32") == 8
    assert ceilings.ridge("bfloat16") == 64
    below, at, above = (Work(flops=flops, bytes=1_000_000) for flops in (4_000_000, 8_000_000, 16_000_000))
    assert ceilings.floor_seconds("float32", below) == ceilings.floor_seconds("float32", at) == 1e-6
    assert ceilings.floor_seconds("float32", above) == 2e-6
    assert ceilings.floor_seconds("bfloat16", above) == 1e-6


def test_of_several_measurements_the_highest_rates_count() -> None:
    first = Ceilings({"float32": 3.0, "bfloat16": 5.0}, 7.0)
    second = Ceilings({"float32": 4.0, "bfloat16": 4.0}, 6.0)
    assert highest([first, second]) == Ceilings({"float32": 4.0, "bfloat16": 5.0}, 7.0)
