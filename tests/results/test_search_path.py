"""The path of a linear search, read back from its records: it is the one that the search itself took."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from records import identity

from dwray.results.epochs import Epochs
from dwray.results.records import Records
from dwray.results.search_path import SearchSettings, search_path, search_table, why
from dwray.search.linear import Candidate, LinearSearch


def records_of(rows: list[dict[str, Any]]) -> Records:
    return Records(
        rows, Epochs.of_rows([]), [], identity("hand", list(dict.fromkeys(row["contender"] for row in rows)))
    )


def trial(contender: str, axis: str, score: float | None, *, axis_pass: int = 1, **more: Any) -> dict[str, Any]:
    return {
        "contender": contender,
        "stage": "search",
        "axis": axis,
        "axis_pass": axis_pass,
        "status": "failed" if score is None else "completed",
        "validation_accuracy_percent": score,
        "validation_loss": None if score is None else 1 - score / 100,
        **more,
    }


SEARCH = [
    trial("A", "lr", 70.0, lr=0.1, decay=0.9),
    trial("A", "lr", 78.5, lr=0.2, decay=0.9),
    trial("A", "lr", None, lr=0.3, decay=0.9),
    trial("A", "decay", 78.5, lr=0.2, decay=0.95),
]


def test_each_axis_holds_the_winner_of_the_one_before_and_a_tie_goes_to_what_was_held() -> None:
    first, second = search_path(records_of(SEARCH), SearchSettings(starts={"A": {"lr": 0.1, "decay": 0.9}}))
    assert [(each.value, each.score, each.incumbent) for each in first.tried] == [
        (0.1, 70.0, True),
        (0.2, 78.5, False),
        (0.3, None, False),
    ]
    assert first.winner is first.tried[1]
    assert [why(first, each) for each in first.tried] == [
        "behind by 8.50 points",
        "ahead of 0.1 by 8.50 points",
        "failed",
    ]
    assert [(each.value, each.score, each.incumbent) for each in second.tried] == [
        (0.9, 78.5, True),
        (0.95, 78.5, False),
    ]
    assert second.winner is second.tried[0]
    assert [why(second, each) for each in second.tried] == [
        "ties with 0.95, and was held before",
        "tied; the value held before wins a tie",
    ]


def test_the_table_has_every_value_and_tells_the_path() -> None:
    table = search_table(records_of(SEARCH))
    assert [(row["axis"], row["value"], row["winner"]) for row in table.rows] == [
        ("lr", "0.1", False),
        ("lr", "0.2", True),
        ("lr", "0.3", False),
        ("decay", "0.9", True),
        ("decay", "0.95", False),
    ]
    assert table.notes[-1] == "A: lr 0.2 (78.50), then decay 0.9 (78.50)."
    assert search_table(records_of([])).rows == ()


def test_an_axis_that_runs_has_no_winner_yet() -> None:
    (step,) = search_path(records_of([SEARCH[0], {**SEARCH[2], "status": "running"}]))
    assert step.winner is None
    assert [why(step, each) for each in step.tried] == ["the axis is not finished", "running"]


@pytest.mark.parametrize("metric", ["validation_accuracy_percent", "validation_loss"])
def test_an_axis_all_of_whose_values_failed_keeps_what_was_held(metric: str) -> None:
    rows = [
        trial("A", "lr", None, lr=0.1, decay=0.9),
        trial("A", "lr", None, lr=0.2, decay=0.9),
        trial("A", "decay", 10.0, lr=0.1, decay=0.95),
    ]
    first, second = search_path(records_of(rows), SearchSettings(metric=metric))
    assert first.winner is None
    assert second.winner is not None
    assert [each.value for each in second.tried] == [0.9, 0.95]
    assert why(second, second.winner) == "the only value with a score"


@settings(deadline=None)
@given(data=st.data())
def test_it_is_the_path_that_the_search_took(data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.integers(1, 3), min_size=1, max_size=3))
    axes = {f"axis{number}": list(range(10, 10 + size)) for number, size in enumerate(sizes)}
    start = {axis: data.draw(st.sampled_from(values)) for axis, values in axes.items()}
    metric = data.draw(st.sampled_from(["validation_accuracy_percent", "validation_loss"]))
    line = LinearSearch(
        axes, start, mode="min" if metric == "validation_loss" else "max", passes=data.draw(st.integers(1, 3))
    )
    rows: list[tuple[Candidate, int | None]] = []
    while not line.finished:
        for candidate in list(iter(line.ask, None)):
            score = data.draw(st.none() | st.integers(0, 3))
            rows.append((candidate, score))
            is_loss = metric == "validation_loss" and score is not None
            line.tell(candidate.number, 1 - score / 100 if is_loss else score)
    records = records_of([trial("A", c.axis, s, axis_pass=c.axis_pass, **c.config) for c, s in rows])
    steps = search_path(records, SearchSettings(metric, axes, {"A": start}))
    reached = dict(start)
    for step in steps:
        if step.winner:
            reached[step.axis] = step.winner.value
    assert reached == line.state()["incumbent"]
    assert sum(len(step.tried) for step in steps) >= len(rows)
