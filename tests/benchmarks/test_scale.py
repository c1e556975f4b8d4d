"""The simulator of a sweep's schedule, and the arithmetic beside it."""

import dataclasses
import random
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from limits import DRIVER_RESULT_SECONDS, Trial, expected_longest, load, most_gpus_of_a_driver, most_gpus_of_a_prefix
from many_nodes import handover
from scale import STATES, mean_search, row, shared_gpu
from schedule import (
    METRIC,
    Costs,
    Overlapping,
    Run,
    Schedule,
    Source,
    longest_first,
    recorded_epochs,
    search,
    simulate,
    trainings,
)

from dwray.paper import facts
from dwray.spec import SweepSpec
from dwray.sweepfile import resolve
from dwray.tune.searcher import FixedTrials

CIFAR100 = resolve("cifar100")
RECORDED = recorded_epochs("cifar100", CIFAR100.networks)
CONVNET, DEPTHWISE = (sum(RECORDED[network][:20]) for network in ("ConvNet", "DepthwiseConvNet"))
"""Seconds of a search trial."""

AXES = {"initial_lr": 0.01, "lr_decay": 0.9, "weight_decay": 0.001}


@st.composite
def sweeps(draw: st.DrawFn) -> tuple[SweepSpec, Costs]:
    """A sweep over a few axes of a few networks, and what its epochs cost."""
    networks = [f"N{number}" for number in range(draw(st.integers(1, 3)))]
    lengths = draw(st.lists(st.integers(2, 5), min_size=1, max_size=3))
    axes = {
        name: [start * (1 + number / 100) for number in range(length)]
        for (name, start), length in zip(AXES.items(), lengths, strict=False)
    }
    spec = SweepSpec.model_validate(
        {
            "networks": {name: {"training": {axis: values[0] for axis, values in axes.items()}} for name in networks},
            "training": {"epochs": 4},
            "search": {"axes": axes, "epochs": 2},
            "seeds": list(range(draw(st.integers(1, 4)))),
        }
    )
    epochs = {name: [draw(st.integers(1, 50))] * 4 for name in networks}
    return spec, Costs(epochs, startup=draw(st.integers(0, 5)), spread=draw(st.sampled_from([0.0, 0.1])))


def searched(spec: SweepSpec, gpus: int, costs: Costs) -> Schedule:
    return simulate([search(spec, spec.networks)], gpus, costs)


def trained(spec: SweepSpec, gpus: int, costs: Costs) -> Schedule:
    return simulate([FixedTrials(trainings(spec, spec.networks, spec.seeds))], gpus, costs)


@given(sweeps(), st.integers(1, 40))
@settings(deadline=None, max_examples=60)
def test_a_schedule_keeps_within_its_gpus_and_accounts_for_all_their_time(
    sweep: tuple[SweepSpec, Costs], gpus: int
) -> None:
    spec, costs = sweep
    for schedule in (searched(spec, gpus, costs), trained(spec, gpus, costs)):
        assert 0 < schedule.utilisation <= 1 + 1e-9
        assert 1 <= schedule.widest <= gpus
        assert schedule.makespan >= max(schedule.work / gpus, *(run.end - run.begin for run in schedule.runs)) - 1e-9
        accounted = schedule.work + len(schedule.runs) * costs.startup + schedule.surplus + schedule.waiting
        assert accounted == pytest.approx(gpus * schedule.makespan)


@given(sweeps())
@settings(deadline=None, max_examples=30)
def test_one_gpu_takes_the_sum_of_the_work(sweep: tuple[SweepSpec, Costs]) -> None:
    spec, costs = sweep
    schedule = searched(spec, 1, costs)
    assert schedule.makespan == pytest.approx(schedule.work + costs.startup * len(schedule.runs))
    assert schedule.waiting == pytest.approx(0)
    lines = search(spec, spec.networks)
    assert len(schedule.runs) == lines.max_trials, "a start that is on every axis leaves no slack in the bound"


@given(sweeps())
@settings(deadline=None, max_examples=30)
def test_with_gpus_enough_a_line_takes_its_axes_one_by_one_and_the_slowest_line_decides(
    sweep: tuple[SweepSpec, Costs],
) -> None:
    spec, costs = sweep
    costs = dataclasses.replace(costs, spread=0.0)
    trial = {name: costs.startup + costs.work({"contender": name, "epochs": 2}) for name in spec.networks}
    lines = [len(spec.search.axes) * seconds for seconds in trial.values()]
    together = searched(spec, 100, costs)
    apart = simulate([search(spec, [name]) for name in spec.networks], 100, costs)
    assert together.makespan == pytest.approx(max(lines))
    assert apart.makespan == pytest.approx(sum(lines))
    assert searched(spec, together.widest, costs).makespan == pytest.approx(together.makespan)


class Scored:
    """A source that is told other scores than the simulation's."""

    def __init__(self, source: Source, draw: random.Random) -> None:
        self._source, self._draw = source, draw

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        return self._source.suggest(trial_id)

    def on_trial_complete(self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False) -> None:
        self._source.on_trial_complete(trial_id, {METRIC: self._draw.random()}, error)


@given(sweeps(), st.integers(1, 12), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=30)
def test_who_wins_is_no_factor_in_a_single_pass(sweep: tuple[SweepSpec, Costs], gpus: int, draw: random.Random) -> None:
    spec, costs = sweep
    costs = dataclasses.replace(costs, spread=0.0)
    otherwise = simulate([Scored(search(spec, spec.networks), draw)], gpus, costs)
    assert otherwise == searched(spec, gpus, costs)


def test_the_sweep_of_cifar100_on_so_many_gpus() -> None:
    costs = Costs(RECORDED, startup=8)
    one, eight, many = (row(CIFAR100, gpus, costs, spread=0.0) for gpus in (1, 8, 512))
    assert one.search == pytest.approx(10 * (CONVNET + DEPTHWISE) + 20 * 8)
    assert one.train == pytest.approx(3 * sum(map(sum, RECORDED.values())) + 6 * 8)
    assert one.sweep == pytest.approx(one.sweep_one_by_one) == pytest.approx(one.sweep_overlapping)
    assert eight.search == pytest.approx(3 * (CONVNET + 8))
    assert eight.search_one_network_after_the_other == pytest.approx(3 * (CONVNET + DEPTHWISE + 16))
    assert eight.search_utilisation == pytest.approx(10 * (CONVNET + DEPTHWISE) / (8 * eight.search))
    assert eight.search_surplus == 0
    longest = sum(RECORDED["DepthwiseConvNet"]) + 8
    assert eight.train == eight.train_longest_first == pytest.approx(longest)
    assert eight.train_one_seed_after_the_other == pytest.approx(3 * longest)
    assert eight.sweep_overlapping == pytest.approx(3 * (DEPTHWISE + 8) + longest)
    assert many.search == eight.search
    assert many.search_utilisation == pytest.approx(eight.search_utilisation * 8 / 512)
    assert many.search_surplus == pytest.approx(504 / 512)


@pytest.mark.parametrize("gpus", range(1, 13))
def test_what_dwray_does_is_never_slower_than_one_after_the_other(gpus: int) -> None:
    found = row(CIFAR100, gpus, Costs(RECORDED, startup=8), spread=0.0)
    assert found.search <= found.search_one_network_after_the_other + 1e-6
    assert found.train <= found.train_one_seed_after_the_other + 1e-6
    assert found.train_longest_first <= found.train + 1e-6


def test_overlapping_a_training_waits_for_its_own_line_and_no_other() -> None:
    lines = {network: search(CIFAR100, [network]) for network in CIFAR100.networks}
    configs = {network: FixedTrials(trainings(CIFAR100, [network], [0])) for network in CIFAR100.networks}
    schedule = simulate([Overlapping(lines, configs)], 16, Costs(RECORDED))
    begins = {
        run.contender: run.begin for run in schedule.runs if run.work == pytest.approx(sum(RECORDED[run.contender]))
    }
    assert begins == {"ConvNet": pytest.approx(3 * CONVNET), "DepthwiseConvNet": pytest.approx(3 * DEPTHWISE)}
    assert len(schedule.runs) == 22


def test_the_recorded_epochs_are_those_of_the_notebooks() -> None:
    assert {network: len(seconds) for network, seconds in RECORDED.items()} == {"ConvNet": 50, "DepthwiseConvNet": 270}
    for network, seconds in RECORDED.items():
        stated = facts.total_seconds("cifar100", network).paper
        assert stated is not None
        assert sum(seconds) == pytest.approx(stated, abs=1)
    with pytest.raises(ValueError, match="50 epochs were recorded, not 51"):
        Costs(RECORDED).work({"contender": "ConvNet", "epochs": 51})


def test_a_trials_luck_is_its_own_and_one_in_the_mean() -> None:
    config = {"contender": "ConvNet", "epochs": 1}
    costs = Costs({"ConvNet": [1.0]}, spread=0.2)
    assert costs.work(config) == costs.work(dict(config)) != costs.work({**config, "seed": 1})
    works = [dataclasses.replace(costs, draw=draw).work(config) for draw in range(4000)]
    mean = sum(works) / len(works)
    assert mean == pytest.approx(1, abs=0.015)
    assert (sum((work - mean) ** 2 for work in works) / len(works)) ** 0.5 == pytest.approx(0.2, rel=0.1)
    assert mean_search(CIFAR100, 8, Costs(RECORDED), 0.1) > 3 * CONVNET * 1.02


def test_longest_first_goes_by_what_is_known_beforehand() -> None:
    costs = Costs(RECORDED, spread=2.0)
    names = [config["contender"] for config in longest_first(trainings(CIFAR100, CIFAR100.networks, [0, 1]), costs)]
    assert names == ["DepthwiseConvNet"] * 2 + ["ConvNet"] * 2


def test_a_quarter_of_a_gpu_gains_what_a_trial_alone_leaves_idle_and_nothing_else() -> None:
    costs = Costs(RECORDED)
    whole = searched(CIFAR100, 2, costs).makespan
    busy, idle = (shared_gpu(CIFAR100, 2, costs, 0.25, alone=alone).makespan for alone in (1.0, 0.25))
    assert busy == pytest.approx(4 * 3 * CONVNET)
    assert idle == pytest.approx(3 * CONVNET)
    assert idle < whole < busy


def test_idle_gpus_are_surplus_or_waiting() -> None:
    schedule = Schedule(4, (Run("a", 0, 10, 9), Run("b", 0, 4, 4), Run("c", 4, 6, 2)))
    assert schedule.widest == 2
    assert schedule.surplus == 20
    assert schedule.waiting == 4
    assert schedule.utilisation == pytest.approx(15 / 40)


def test_a_handover_is_from_the_last_end_before() -> None:
    assert handover([(0.0, 2.0), (0.0, 3.0), (2.5, 5.0), (3.25, 6.0)]) == pytest.approx((0.5 + 0.25) / 2)
    assert handover([(0.0, 2.0)]) == 0


def test_the_longest_of_so_many_is_what_drawing_them_gives() -> None:
    assert expected_longest(1, 0.3) == pytest.approx(1, abs=1e-3)
    assert expected_longest(5, 0.0) == 1
    draw = random.Random(0)
    drawn = [max(draw.lognormvariate(-0.045, 0.3) for _ in range(4)) for _ in range(20_000)]
    assert expected_longest(4, 0.3) == pytest.approx(sum(drawn) / len(drawn), rel=0.01)


def test_loads_grow_with_the_gpus_up_to_where_they_are_too_much() -> None:
    trial = Trial(epoch_seconds=20, epochs=20, state_bytes=1_000_000, requests_per_save=7)
    one, many = (load(gpus, trial, image_bytes=125_000_000, gpus_per_node=8) for gpus in (1, 512))
    assert many.results_per_second == pytest.approx(512 * one.results_per_second) == pytest.approx(25.6)
    assert many.driver_share > 25.6 * DRIVER_RESULT_SECONDS
    assert (one.broadcast_seconds, many.broadcast_seconds) == (1, 64)
    assert many.state_requests_per_second == pytest.approx(7 * 25.6)
    assert many.state_bytes_per_second == pytest.approx(25.6e6)
    most = most_gpus_of_a_driver(trial)
    at, above = (load(gpus, trial, image_bytes=0, gpus_per_node=1).driver_share for gpus in (most, most + 1))
    assert at <= 1 < above
    assert most_gpus_of_a_prefix(trial) == 10_000


@pytest.mark.parametrize(
    ("state_bytes", "epoch_seconds", "interval"),
    [
        (1_000_000, 20.0, 20.0),  # worth half a second: after every epoch
        (200_000_000, 30.0, 120.0),  # 2 s of saving are 2% of 100 s, which the fourth epoch passes
        (10_000_000_000, 70.0, 350.0),  # at the latest after five minutes, and the epoch that they end in
    ],
)
def test_a_state_is_saved_when_it_is_worth_it(state_bytes: int, epoch_seconds: float, interval: float) -> None:
    assert Trial(epoch_seconds, 20, state_bytes, 7).save_interval == pytest.approx(interval)


@pytest.mark.parametrize("network", STATES)
def test_a_saved_state_is_every_parameter_and_its_momentum(network: str) -> None:
    parameters = facts.parameters(network, 100).paper
    assert parameters is not None
    assert STATES[network][0] == pytest.approx(2 * 4 * parameters, rel=0.01)
