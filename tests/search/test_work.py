"""The trials of each contender add up to the plan."""

from typing import Any

import pytest
from tiny import tiny

from dwray.search.plan import plan
from dwray.search.work import ALL, workloads


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"search": {}},
        {"timing": None},
        {"errata": ["tune_on_test_set"]},
        {"networks": {"ConvNet": {"training": {"epochs": 7}}, "DepthwiseConvNet": {}}},
        {"search": {"axes": {"initial_lr": [0.01, 0.05]}, "passes": None}},
    ],
)
def test_workloads_add_up_to_the_plan(changes: dict[str, Any]) -> None:
    spec = tiny(**changes)
    found = workloads(spec)
    planned = plan(spec)
    assert list(found) == [stage.stage for stage in planned]
    for stage in planned:
        work = found[stage.stage].values()
        if stage.trials is None:
            assert all(trials is None for trials, _ in work)
        else:
            assert sum(trials or 0 for trials, _ in work) == stage.trials
        if stage.epochs and stage.trials is not None:
            assert sum((trials or 0) * epochs for trials, epochs in work) == stage.epochs
    assert set(found.get("time", {ALL: ()})) == {ALL}
