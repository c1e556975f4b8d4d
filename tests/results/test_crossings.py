"""Where the order of two networks changes: only between batch sizes that were measured."""

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from records import make_run

from dwray.results.crossings import Crossing, Curve, crossings, crossings_table, curves
from dwray.results.epochs import Epochs
from dwray.results.records import Records

NOISE = (0.99, 1.0, 1.01, 0.995, 1.005)


def curve(times: dict[int, dict[str, float]], passes: int = 10) -> Curve:
    return Curve(
        "test",
        False,
        "float32-eager",
        {
            size: {
                name: {number: seconds * NOISE[(number + shift) % 5] for number in range(passes)}
                for shift, (name, seconds) in enumerate(of.items())
            }
            for size, of in times.items()
        },
    )


def test_the_crossover_is_where_lines_on_logarithmic_scales_meet() -> None:
    (found,) = crossings(curve({4: {"A": 1.0, "B": 2.0}, 64: {"A": 2.0, "B": 1.0}}))
    assert (found.low, found.high) == (4, 64)
    assert (found.faster_below, found.faster_above) == ("A", "B")
    assert found.batch_size == pytest.approx(16.0), "the middle of 4 and 64 on a logarithmic scale"
    assert found.seconds == pytest.approx(2**0.5)
    assert found.sure


@pytest.mark.parametrize(
    ("low", "high", "at", "where"),
    [
        (4, 256, 40.4, "between 4 and 256 (about 40)"),
        (1024, 4096, 2345.6, "between 1,024 and 4,096 (about 2,300)"),
        (1, 2, 1.43, "between 1 and 2 (about 1.4)"),
    ],
)
def test_a_crossover_is_told_as_a_span_and_only_about_as_a_number(low: int, high: int, at: float, where: str) -> None:
    assert Crossing(low, high, at, 1.0, "A", "B", sure=True).where == where


def test_the_table_shows_the_span_and_the_data_have_its_ends(tmp_path: Path) -> None:
    paths = make_run(tmp_path)
    records = Records.read(paths)
    one = records.timings[0]
    swapped = {4: {"A": 1.0, "B": 2.0}, 64: {"A": 2.0, "B": 1.0}}
    timings = [
        {**one, "trial_id": f"m{size}", "batch_size": size, "contender": name, "pass_number": 1, "seconds": seconds}
        for size, of in swapped.items()
        for name, seconds in of.items()
    ]
    table = crossings_table(Records(records.trials, Epochs.of_rows([]), timings, records.identity))
    (cells,) = table.cells()
    assert cells == ["test set, network alone", "A", "between 4 and 64 (about 16)", "B", "no"]
    (row,) = table.data()
    assert (row["low"], row["batch_size"], row["high"]) == (4, pytest.approx(16.0), 64)


def test_too_few_passes_or_too_much_noise_make_no_sure_crossover() -> None:
    (few,) = crossings(curve({4: {"A": 1.0, "B": 2.0}, 64: {"A": 2.0, "B": 1.0}}, passes=4))
    assert not few.sure
    far = {4: {"A": 1.0, "B": 1e9}, 64: {"A": 1e9, "B": 1.0}}
    assert [crossings(curve(far, passes))[0].sure for passes in (4, 5)] == [False, True], "whatever the interval says"
    (near,) = crossings(curve({4: {"A": 1.0, "B": 2.0}, 64: {"A": 1.0001, "B": 1.0}}))
    assert not near.sure


def test_no_crossing_is_drawn_beyond_what_was_measured_or_where_the_order_stays() -> None:
    assert crossings(curve({4: {"A": 1.0, "B": 2.0}, 64: {"A": 1.0, "B": 1.1}})) == []
    assert crossings(curve({4: {"A": 1.0, "B": 2.0}})) == []
    assert crossings(curve({4: {"A": 1.0}, 64: {"B": 1.0}})) == []


def test_of_three_networks_every_two_are_looked_at() -> None:
    found = crossings(curve({1: {"A": 1.0, "B": 2.0, "C": 3.0}, 8: {"A": 3.0, "B": 2.0, "C": 1.0}}))
    assert [(each.faster_below, each.faster_above) for each in found] == [("A", "B"), ("A", "C"), ("B", "C")]


SECONDS = st.floats(0.01, 100)


@settings(deadline=None)
@given(times=st.dictionaries(st.integers(1, 4096), st.tuples(SECONDS, SECONDS), max_size=6))
def test_crossings_lie_between_neighbours_and_the_order_alternates(times: dict[int, tuple[float, float]]) -> None:
    found = crossings(curve({size: {"A": a, "B": b} for size, (a, b) in times.items()}))
    for each in found:
        assert each.low <= each.batch_size <= each.high
        assert each.faster_below != each.faster_above
        assert {each.low, each.high} <= times.keys()
    for before, after in pairwise(found):
        assert before.high <= after.low
        assert before.faster_above == after.faster_below


def test_the_curves_of_a_run_are_those_of_its_passes(tmp_path: Path) -> None:
    records = Records.read(make_run(tmp_path))
    (found,) = curves(records)
    assert found.words == "test set, network alone"
    assert found.means("A") == {4: 2.0}
    assert found.means("B") == {4: pytest.approx(3.0001 / 3)}
    assert crossings_table(records).rows == ()
