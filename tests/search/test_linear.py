"""The pure state machine: what must hold whatever the axes, the scores and the order of completions."""

import copy
import math
import pickle
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dwray.search.linear import Candidate, LinearSearch

Axes = dict[str, list[int]]
Score = Callable[[dict[str, Any]], float | None]

axes_strategy = st.dictionaries(
    st.sampled_from(["a", "b", "c", "d"]),
    st.lists(st.integers(-5, 5), min_size=1, max_size=4, unique=True),
    min_size=1,
    max_size=4,
)


@st.composite
def searches(draw: st.DrawFn) -> tuple[Axes, dict[str, int], str]:
    axes = draw(axes_strategy)
    start = {name: draw(st.sampled_from(values)) for name, values in axes.items()}
    return axes, start, draw(st.sampled_from(["min", "max"]))


def table_of_scores(seed: int) -> Score:
    """Any function at all: a score for each configuration, some of them ties, some of them failures."""

    def score(config: dict[str, Any]) -> float | None:
        drawn = zlib.crc32(repr((seed, sorted(config.items()))).encode()) % 7
        return None if drawn == 0 else float(drawn)

    return score


def run(search: LinearSearch, score: Score, choose: Callable[[list[Candidate]], int] = lambda _: 0) -> list[Candidate]:
    """Drive a search to its end, completing running candidates in the order that ``choose`` makes."""
    asked: list[Candidate] = []
    running: list[Candidate] = []
    while not search.finished:
        while (candidate := search.ask()) is not None:
            asked.append(candidate)
            running.append(candidate)
        assert running, "neither finished nor anything to wait for"
        done = running.pop(choose(running) % len(running))
        search.tell(done.number, score(done.config))
    assert not running
    return asked


@given(searches(), st.integers(), st.sampled_from([1, 2, 3, None]))
def test_it_ends_and_evaluates_no_configuration_twice_and_no_more_than_it_said(
    search: tuple[Axes, dict[str, int], str], seed: int, passes: int | None
) -> None:
    axes, start, mode = search
    line = LinearSearch(axes, start, mode=mode, passes=passes)  # type: ignore[arg-type]
    asked = run(line, table_of_scores(seed))
    configs = [tuple(sorted(candidate.config.items())) for candidate in asked]
    assert len(set(configs)) == len(configs)
    per_pass = sum(len(values) - 1 for values in axes.values())
    assert len(asked) <= 1 + (passes or max(candidate.axis_pass for candidate in asked)) * per_pass
    if passes == 1:
        assert line.max_evaluations == 1 + per_pass
        assert len(asked) == 1 + per_pass, "one pass tries every value of every axis"


@given(searches(), st.dictionaries(st.tuples(st.sampled_from("abcd"), st.integers(-5, 5)), st.integers(-99, 99)))
def test_it_finds_the_optimum_of_a_separable_function_in_one_pass(
    search: tuple[Axes, dict[str, int], str], worth: dict[tuple[str, int], int]
) -> None:
    axes, start, mode = search

    def score(config: dict[str, Any]) -> float:
        return float(sum(worth.get((name, value), value) for name, value in config.items()))

    line = LinearSearch(axes, start, mode=mode)  # type: ignore[arg-type]
    run(line, score)
    pick = max if mode == "max" else min
    best = sum(pick(worth.get((name, value), value) for value in values) for name, values in axes.items())
    assert line.best is not None
    assert line.best[1] == best
    assert score(line.best[0]) == best


@given(searches(), st.integers(), st.sampled_from([1, 3, None]), st.randoms(use_true_random=False))
def test_any_order_of_completions_gives_the_same_winner(
    search: tuple[Axes, dict[str, int], str], seed: int, passes: int | None, random: Any
) -> None:
    axes, start, mode = search
    lines = [LinearSearch(axes, start, mode=mode, passes=passes) for _ in range(2)]  # type: ignore[arg-type]
    first = run(lines[0], table_of_scores(seed))
    second = run(lines[1], table_of_scores(seed), lambda running: random.randrange(len(running)))
    assert lines[0].best == lines[1].best
    assert {candidate.number: candidate.config for candidate in first} == {
        candidate.number: candidate.config for candidate in second
    }


@given(searches(), st.integers(), st.sampled_from([1, 3, None]), st.randoms(use_true_random=False))
def test_save_and_restore_at_any_point_changes_nothing(
    search: tuple[Axes, dict[str, int], str], seed: int, passes: int | None, random: Any
) -> None:
    axes, start, mode = search
    score = table_of_scores(seed)

    def fresh() -> LinearSearch:
        return LinearSearch(axes, start, mode=mode, passes=passes)  # type: ignore[arg-type]

    straight = fresh()
    run(straight, score)
    line, running = fresh(), []
    while not line.finished:
        if random.random() < 0.5:
            state = pickle.loads(pickle.dumps(line.state()))
            before = copy.deepcopy(line.state())
            line = fresh()
            line.restore(state)
            assert line.state() == before
        if (candidate := line.ask()) is not None:
            running.append(candidate)
        elif running:
            done = running.pop(random.randrange(len(running)))
            line.tell(done.number, score(done.config))
    assert line.best == straight.best
    assert line.state() == straight.state()


@given(searches(), st.integers())
def test_passes_without_a_limit_end_where_no_single_change_is_better(
    search: tuple[Axes, dict[str, int], str], seed: int
) -> None:
    axes, start, mode = search
    score = table_of_scores(seed)
    line = LinearSearch(axes, start, mode=mode, passes=None)  # type: ignore[arg-type]
    run(line, score)
    if line.best is None:
        return
    config, best = line.best
    for name, values in axes.items():
        for value in values:
            other = score({**config, name: value})
            assert other is None or (other <= best if mode == "max" else other >= best)


def test_candidates_of_an_axis_run_side_by_side_and_the_next_axis_waits_for_all_of_them() -> None:
    line = LinearSearch({"a": [1, 2, 3], "b": [1, 2]}, {"a": 1, "b": 1})
    first = [line.ask() for _ in range(3)]
    assert [candidate and candidate.config for candidate in first] == [
        {"a": 1, "b": 1},
        {"a": 2, "b": 1},
        {"a": 3, "b": 1},
    ]
    assert line.ask() is None
    line.tell(0, 1.0)
    line.tell(2, 3.0)
    assert line.ask() is None
    assert not line.finished
    line.tell(1, 2.0)
    candidate = line.ask()
    assert candidate is not None
    assert (candidate.config, candidate.axis) == ({"a": 3, "b": 2}, "b")
    line.tell(candidate.number, 0.0)
    assert line.finished
    assert line.best == ({"a": 3, "b": 1}, 3.0)


def test_a_tie_goes_to_the_incumbent_and_otherwise_to_the_value_named_first() -> None:
    line = LinearSearch({"a": [1, 2, 3]}, {"a": 2})
    run(line, lambda _: 5.0)
    assert line.best == ({"a": 2}, 5.0)
    line = LinearSearch({"a": [3, 1, 2]}, {"a": 2})
    run(line, lambda config: 0.0 if config["a"] == 2 else 5.0)
    assert line.best == ({"a": 3}, 5.0)


@pytest.mark.parametrize("lost", [None, math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("mode", ["min", "max"])
def test_failed_and_diverged_candidates_lose(lost: float | None, mode: Any) -> None:
    line = LinearSearch({"a": [1, 2], "b": [1, 2]}, mode=mode)
    run(line, lambda config: lost if config["a"] == 1 else 7.0)
    assert line.best is not None
    assert line.best[0]["a"] == 2
    hopeless = LinearSearch({"a": [1, 2], "b": [1, 2]}, mode=mode)
    assert len(run(hopeless, lambda _: lost)) == 3
    assert hopeless.best is None


def test_a_start_off_the_axis_joins_it_and_other_keys_are_constants() -> None:
    line = LinearSearch({"a": [1, 2]}, {"a": 9, "width": 0.5})
    assert line.max_evaluations == 3
    asked = run(line, lambda config: float(config["a"]))
    assert [candidate.config for candidate in asked] == [{"a": value, "width": 0.5} for value in (9, 1, 2)]
    assert line.best == ({"a": 9, "width": 0.5}, 9.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"axes": {}}, "at least one axis"),
        ({"axes": {"a": []}}, "'a' has no values"),
        ({"axes": {"a": [1, 1.0]}}, "'a' gives a value twice"),
        ({"axes": {"a": [1]}, "mode": "best"}, "'min' or 'max'"),
        ({"axes": {"a": [1]}, "passes": 0}, "at least 1"),
    ],
)
def test_what_cannot_be_searched_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LinearSearch(**arguments)


def test_true_is_not_one_and_lists_are_values() -> None:
    line = LinearSearch({"a": [1, True], "b": [[1, 2], [2, 1]]})
    assert len(run(line, lambda _: 0.0)) == 3


def test_a_score_is_told_once_and_only_for_what_was_asked() -> None:
    line = LinearSearch({"a": [1, 2]})
    with pytest.raises(ValueError, match="never asked for"):
        line.tell(0, 1.0)
    candidate = line.ask()
    assert candidate is not None
    line.tell(candidate.number, 1.0)
    with pytest.raises(ValueError, match="already"):
        line.tell(candidate.number, 2.0)
    with pytest.raises(ValueError, match="never asked for"):
        line.tell(7, 1.0)
