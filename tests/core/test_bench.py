"""The benchmark: what it measures, in which processes, and what follows from the figures."""

import dataclasses
import json
import os
import time
from pathlib import Path

import pytest
import torch

from dwray.core.bench import (
    NOTEBOOK,
    NOTEBOOK_TF32,
    Bench,
    Cell,
    Failure,
    Plan,
    Result,
    Sample,
    cells,
    measure,
    to_plain,
    ways_of,
)
from dwray.core.bench_cells import Cells, random_images
from dwray.core.bench_worker import Workers
from dwray.core.ceilings import Ceilings
from dwray.core.complexity import complexity
from dwray.core.witness import Witnessed
from dwray.errors import UserError

CPU = torch.device("cpu")
EAGER = "float32-channels_last-eager"
PLAN = Plan(
    device=CPU,
    networks=("ConvNet", "DepthwiseConvNet"),
    classes=5,
    width=0.05,
    size=8,
    images=20,
    training_batch_sizes=(4, 8),
    batch_sizes=(1, 3),
    executions=(EAGER,),
    modes=("float32-eager", "float32-folded"),
    repeats=2,
    threads=1,
    data_images=50,
)
QUIET = Witnessed(True, None, 0.1, 0.0, 1, None, None, None, None)


def bench(*results: Result, plan: Plan = PLAN) -> Bench:
    ceilings = Ceilings({"float32": 1e9, "bfloat16": 2e9}, copy_bytes_per_second=1e6)
    return Bench(plan, {"torch": "0"}, "a processor", 1, True, ceilings, results, QUIET)


# What is measured


def test_every_way_is_measured_for_each_network_and_batch_size_beside_its_baseline() -> None:
    found = cells(PLAN)
    assert len(set(found)) == len(found) == 2 * 2 * 2 + 2 * 2 * 3 + 4
    assert {cell.way for cell in found if cell.kind == "training"} == {NOTEBOOK, EAGER}
    for cell in found:
        assert cell.baseline is None or cell.baseline in found
        assert (cell.baseline is None) == cell.way.startswith(NOTEBOOK)
        assert cell.baseline is None or (cell.baseline.kind, cell.baseline.network) == (cell.kind, cell.network)


def test_a_section_without_a_way_is_left_out() -> None:
    assert {cell.kind for cell in cells(dataclasses.replace(PLAN, executions=()))} == {"inference"}
    assert {cell.kind for cell in cells(dataclasses.replace(PLAN, modes=()))} == {"training", "data"}


def test_augmented_data_paths_are_compared_with_each_other() -> None:
    assert Cell("data", "resident", 8).baseline == Cell("data", NOTEBOOK, 8)
    assert Cell("data", "resident, crop and flip", 8).baseline == Cell("data", "notebook, crop and flip", 8)


def test_baselines_have_the_plain_allocator_and_what_is_compiled_a_process_for_each_way() -> None:
    processes = {cell.way: cell.process for cell in cells(PLAN)}
    assert {processes[way] for way in processes if way.startswith(NOTEBOOK)} == {"plain"}
    assert {processes[way] for way in processes if not way.startswith(NOTEBOOK)} == {"kept"}
    compiled = [
        Cell("inference", "float32-compiled", 1, "ConvNet").process,
        Cell("inference", "bfloat16-compiled", 1, "ConvNet").process,
        Cell("training", "float32-channels_last-compiled", 1, "ConvNet").process,
    ]
    assert len({*compiled, "plain", "kept"}) == 5


def test_a_way_has_its_precision() -> None:
    assert Cell("inference", "bfloat16-folded", 1, "ConvNet").precision == "bfloat16"
    assert Cell("training", "tf32-channels_last-eager", 1, "ConvNet").precision == "tf32"
    assert Cell("training", NOTEBOOK, 1, "ConvNet").precision == "float32"
    assert Cell("training", NOTEBOOK_TF32, 1, "ConvNet").precision == "tf32"


def test_a_cpu_is_not_asked_for_what_only_gpus_have() -> None:
    ways = ways_of(CPU)
    assert {EAGER, "float32-folded", "float32-channels_last-compiled"} <= set(ways)
    assert not [way for way in ways if "tf32" in way or "graph" in way]
    assert set(ways) < set(ways_of(torch.device("cuda")))


# What follows from it


def test_a_ratio_is_the_median_over_the_rounds_each_with_its_own_baseline() -> None:
    cell = Cell("training", EAGER, 4, "ConvNet")
    ours = Result(cell, images=20, seconds=(1.0, 2.0, 4.0))
    theirs = Result(Cell("training", NOTEBOOK, 4, "ConvNet"), images=20, seconds=(3.0, 10.0, 4.0))
    assert bench(ours, theirs).ratio(ours) == 3.0
    assert bench(ours, theirs).ratio(theirs) is None
    assert bench(ours).ratio(ours) is None
    assert bench(ours, dataclasses.replace(theirs, seconds=(), failure="no")).ratio(ours) is None


def test_a_ratio_is_of_images_a_second_also_where_they_differ_in_number() -> None:
    ours = Result(Cell("data", "resident", 8), images=100, seconds=(1.0,))
    theirs = Result(Cell("data", NOTEBOOK, 8), images=10, seconds=(1.0,))
    assert bench(ours, theirs).ratio(ours) == 10


def test_the_roofline_is_the_slower_of_arithmetic_and_traffic() -> None:
    network = complexity("ConvNet", classes=5, width=0.05, image_shape=(3, 8, 8))
    cell = Cell("training", EAGER, 4, "ConvNet")
    result = Result(cell, images=20, seconds=(1.0, 3.0, 2.0))  # 5 batches in 2 s
    work = network.training_step(4)
    floor = max(work.flops / 1e9, work.bytes / 1e6)
    assert bench(result).floor_seconds(cell) == floor == work.bytes / 1e6
    assert bench(result).roofline_fraction(result) == pytest.approx(5 * floor / 2)
    half = bench(result).floor_seconds(dataclasses.replace(cell, way="bfloat16-channels_last-eager"))
    assert half == network.training_step(4, 2).bytes / 1e6 < floor
    assert bench(result).floor_seconds(Cell("data", "resident", 4)) is None


def test_the_roofline_predicts_the_ratio_of_the_two_networks_training_times() -> None:
    results = [
        Result(Cell("training", EAGER, 4, name), images=20, seconds=seconds)
        for name, seconds in {"ConvNet": (1.0, 2.0, 4.0), "DepthwiseConvNet": (2.0, 3.0, 4.0)}.items()
    ]
    ((cell, predicted, measured),) = bench(*results).training_time_ratios()
    assert cell == results[0].cell
    bytes_ = [
        complexity(name, classes=5, width=0.05, image_shape=(3, 8, 8)).training_step(4).bytes for name in PLAN.networks
    ]
    assert predicted == pytest.approx(bytes_[1] / bytes_[0])
    assert measured == 1.5
    lonely = dataclasses.replace(PLAN, networks=("ConvNet",))
    assert bench(results[0], plan=lonely).training_time_ratios() == []


def test_images_a_second_are_the_lowest_the_median_and_the_highest() -> None:
    result = Result(Cell("data", "resident", 8), images=12, seconds=(2.0, 6.0, 3.0))
    assert result.images_per_second == (2.0, 4.0, 6.0)
    assert Result(result.cell, failure="no").images_per_second is None


# Cells, in this process


@pytest.fixture(scope="module")
def served() -> Cells:
    return Cells(PLAN)


@pytest.mark.parametrize(
    ("cell", "images"),
    [
        (Cell("training", EAGER, 8, "DepthwiseConvNet"), 16),
        (Cell("training", EAGER, 64, "ConvNet"), 64),
        (Cell("training", NOTEBOOK, 8, "DepthwiseConvNet"), 16),
        (Cell("inference", "float32-folded", 3, "ConvNet"), 3),
        (Cell("inference", NOTEBOOK, 3, "ConvNet"), 3),
        (Cell("data", "resident, crop and flip", 8), 500),
    ],
)
def test_a_cell_is_prepared_once_and_then_measured_again_and_again(served: Cells, cell: Cell, images: int) -> None:
    first = served.measure(cell)
    second = served.measure(cell)
    assert isinstance(first, Sample)
    assert isinstance(second, Sample)
    assert first.images == second.images == images
    assert first.seconds > 0 < second.seconds
    assert (first.first_seconds is None) == (cell.kind == "data")
    assert second.first_seconds is None


@pytest.mark.parametrize("kind", ["training", "inference"])
def test_a_batch_that_memory_does_not_hold_says_so(served: Cells, kind: str) -> None:
    way = EAGER if kind == "training" else "float32-eager"
    answer = served.measure(Cell(kind, way, 10**9, "ConvNet"))  # type: ignore[arg-type]
    assert isinstance(answer, Failure)
    assert answer.reason.startswith("needs about ")


def test_a_cell_that_fails_says_why_and_the_next_is_measured(served: Cells) -> None:
    answer = served.measure(Cell("inference", "float32-eager", 3, "LeNet"))
    assert answer == Failure("'LeNet'")
    assert isinstance(served.measure(Cell("inference", "float32-eager", 3, "ConvNet")), Sample)


def test_what_the_device_lacks_is_told_beforehand() -> None:
    plan = dataclasses.replace(PLAN, modes=("float32-eager", "tf32-eager", "float32-cuda-graph"))
    assert set(Cells(plan).unavailable()) == {"tf32-eager", "float32-cuda-graph"}


def test_images_are_random_bytes_and_never_zeros() -> None:
    images = random_images(64, 8, 5)
    assert (images.pixels.shape, images.pixels.dtype) == ((64, 8, 8, 3), "uint8")
    assert 120 < images.pixels.mean() < 135
    assert set(images.labels) == set(range(5))


# Processes


def running(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"


def test_only_the_kept_process_has_its_allocator_told() -> None:
    with Workers(PLAN) as workers:
        assert workers["kept"].keeps_freed_memory
        assert not workers["plain"].keeps_freed_memory
        assert workers["kept"] is workers["kept"]
        assert workers["kept"].threads == 1
        pids = [workers[name]._process.pid for name in ("plain", "kept")]
        assert all(map(running, pids))
    assert not any(map(running, pids))


def test_a_process_that_dies_is_one_line_and_no_hang() -> None:
    start = time.monotonic()
    with Workers(PLAN) as workers:
        worker = workers["kept"]
        os.kill(worker._process.pid, 9)
        with pytest.raises(UserError, match=r"^a process of the benchmark \(kept\) ended by SIGKILL .* at: ceilings$"):
            worker.ask("ceilings")
    assert time.monotonic() - start < 30


def test_a_run_measures_every_cell_once_a_round_in_turning_order() -> None:
    lines: list[str] = []
    plan = dataclasses.replace(
        PLAN, training_batch_sizes=(4,), batch_sizes=(3,), modes=("float32-folded", "tf32-eager")
    )
    found = measure(plan, listen=lines.append)
    assert [result.cell for result in found.results] == list(cells(plan))
    for result in found.results:
        if result.cell.way == "tf32-eager":
            assert result.failure is not None
            assert "no TF32" in result.failure
            assert result.seconds == ()
        else:
            assert result.failure is None
            assert len(result.seconds) == 2
            assert result.cell.baseline is None or found.ratio(result) is not None
    rounds = [[line.partition(": ")[2] for line in lines if line.startswith(f"round {n} ")] for n in (1, 2)]
    measured = [str(cell) for cell in cells(plan) if cell.way != "tf32-eager"]
    assert rounds[0][1:] == measured
    assert rounds[1][1:] == measured[::-1]
    assert found.keeps_freed_memory
    assert found.threads == 1
    plain = json.loads(json.dumps(to_plain(found), allow_nan=False))
    assert [len(result["seconds"]) for result in plain["results"]] == [len(result.seconds) for result in found.results]
    assert set(plain["ceilings"]["ridge_flops_per_byte"]) == set(found.ceilings.matrix_flops_per_second)
