"""What a cluster has for the trials of a stage."""

from typing import Any

import pytest

from dwray.results.progress import Capacity
from dwray.tune.callbacks import CapacityReporter
from dwray.tune.capacity import capacity

HEAD: dict[str, float] = {"memory": 1e9}
CPU: dict[str, float] = {"CPU": 8, "slot": 1}
GPU: dict[str, float] = {"CPU": 16, "GPU": 4, "slot": 1, "accelerator_type:L4": 1}


@pytest.mark.parametrize(
    ("trial", "nodes", "found"),
    [
        ({"cpu": 1, "slot": 0.001}, [HEAD, CPU, CPU], Capacity("CPU", 16, 1, 16)),
        ({"cpu": 3}, [CPU, CPU], Capacity("CPU", 16, 3, 4)),
        ({"cpu": 1, "gpu": 1}, [CPU, GPU], Capacity("GPU", 4, 1, 4)),
        ({"cpu": 1, "gpu": 0.1}, [GPU, GPU], Capacity("GPU", 8, 0.1, 32)),
        ({"cpu": 1, "gpu": 0.3}, [GPU], Capacity("GPU", 4, 0.3, 12)),
        ({"cpu": 1, "gpu": 1, "accelerator_type:L4": 0.001}, [{"CPU": 4, "GPU": 4}, GPU], Capacity("GPU", 8, 1, 4)),
        ({"cpu": 1, "gpu": 8}, [GPU, GPU], Capacity("GPU", 8, 8, 0)),
        ({"cpu": 8, "slot": 1}, [CPU, CPU], Capacity("CPU", 16, 8, 2)),
    ],
)
def test_slots_are_counted_node_by_node(
    trial: dict[str, float], nodes: list[dict[str, float]], found: Capacity
) -> None:
    assert capacity(trial, nodes) == found


def test_an_exclusive_stage_has_one_slot() -> None:
    assert capacity({"cpu": 8}, [CPU, CPU], exclusive=True) == Capacity("CPU", 16, 8, 1)
    assert capacity({"cpu": 9}, [CPU], exclusive=True).slots == 0


def test_it_is_told_once_and_when_nodes_come_or_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dwray.tune.callbacks.CAPACITY_SECONDS", 0.0)
    nodes = [CPU]
    told: list[Capacity] = []
    reporter = CapacityReporter(told.append, lambda: capacity({"cpu": 1}, nodes))
    information: dict[str, Any] = {"iteration": 0, "trials": []}
    for grows in (False, False, True, False):
        nodes += [CPU] if grows else []
        reporter.on_step_begin(**information)
    assert told == [Capacity("CPU", 8, 1, 8), Capacity("CPU", 16, 1, 16)]
