from typing import Any

import pytest
from tiny import tiny

from dwray.search.plan import ALL, plan, workloads
from dwray.sweepfile import resolve


def test_the_plan_counts_trials_epochs_and_passes() -> None:
    stages = {stage.stage: stage for stage in plan(tiny())}
    assert (stages["search"].trials, stages["search"].epochs) == (2 * 3, 2 * 3 * 1)
    assert (stages["train"].trials, stages["train"].epochs) == (2 * 2, 2 * 2 * 2)
    assert (stages["time"].trials, stages["time"].passes) == (2, 2 * 2 * 2)


def test_the_workload_of_a_stage_is_told_by_contender() -> None:
    networks = {"ConvNet": {"training": {"epochs": 5}}, "DepthwiseConvNet": {}}
    assert workloads(tiny(networks=networks)) == {
        "search": {"ConvNet": (3, 1), "DepthwiseConvNet": (3, 1)},
        "train": {"ConvNet": (2, 5), "DepthwiseConvNet": (2, 2)},
        "time": {ALL: (2, 1)},
    }


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


def test_a_contenders_own_settings_count() -> None:
    networks = {"ConvNet": {"training": {"epochs": 5, "initial_lr": 0.7}}, "DepthwiseConvNet": {}}
    stages = {stage.stage: stage for stage in plan(tiny(networks=networks))}
    assert stages["train"].epochs == 2 * (5 + 2)
    assert stages["search"].trials == 3 + 4, "a start off the axis is one more candidate"


def test_no_axes_is_no_search_and_no_timing_is_no_timing() -> None:
    assert [stage.stage for stage in plan(tiny(search={}, timing=None))] == ["train"]


def test_passes_without_a_limit_have_no_count() -> None:
    assert plan(tiny(search={"axes": {"initial_lr": [0.1, 0.2]}, "passes": None}))[0].trials is None


def test_the_papers_budgets_are_those_of_its_notebooks() -> None:
    for name, depthwise_epochs in (("cifar10", 100), ("cifar100", 270)):
        spec = resolve(name)
        assert spec.training_of("ConvNet").epochs == 50
        assert spec.training_of("DepthwiseConvNet").epochs == depthwise_epochs
        assert spec.training_of("ConvNet").initial_lr == spec.training_of("DepthwiseConvNet").initial_lr == 0.0125
        assert spec.training_of("ConvNet").batch_size == 256
