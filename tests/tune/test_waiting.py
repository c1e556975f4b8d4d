"""Trials that wait for what no node has."""

from collections.abc import Sequence
from typing import Any

import pytest
from ray.tune.experiment import Trial

from dwray.results.progress import Notice
from dwray.tune import waiting
from dwray.tune.waiting import WaitingNotice


class Waiting:
    """A trial, as far as it is asked."""

    def __init__(self, status: str) -> None:
        self.status = status


def told(
    statuses: Sequence[str], nodes: list[dict[str, float]], monkeypatch: pytest.MonkeyPatch, steps: int = 3
) -> list[Any]:
    heard: list[Any] = []
    now = iter(range(0, 10_000, 50))
    monkeypatch.setattr(waiting.time, "monotonic", lambda: float(next(now)))
    callback = WaitingNotice(heard.append, {"cpu": 4, "gpu": 1, "accelerator_type:L4": 0.001}, lambda: nodes)
    for step in range(steps):
        callback.on_step_end(step, [Waiting(status) for status in statuses])
    return heard


def test_it_is_told_once_what_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    (notice,) = told([Trial.PENDING, Trial.TERMINATED], [{"CPU": 8.0}], monkeypatch, steps=9)
    assert isinstance(notice, Notice)
    assert "no node has what a trial wants (4 CPUs and 1 GPU of type L4 on one node)" in notice.text


@pytest.mark.parametrize(
    ("statuses", "nodes"),
    [
        ([Trial.PENDING, Trial.RUNNING], []),
        ([Trial.TERMINATED], []),
        ([Trial.PENDING], [{"CPU": 4.0, "GPU": 1.0, "accelerator_type:L4": 1.0}]),
    ],
)
def test_nothing_is_told_while_something_runs_or_a_node_could_hold_it(
    statuses: list[str], nodes: list[dict[str, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert told(statuses, nodes, monkeypatch) == []
