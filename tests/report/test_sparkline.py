"""A curve in one line of text."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dwray.report.sparkline import ASCII_BARS, BARS, sparkline


@pytest.mark.parametrize(
    ("values", "drawn"),
    [
        ([0, 1, 2, 3, 4, 5, 6, 7], BARS),
        ([7.0, 0.0], "█▁"),
        ([5, 5, 5], "▁▁▁"),
        ([], ""),
        ([1.0, None, math.nan, 2.0], "▁  █"),
        ([None, math.inf], "  "),
    ],
)
def test_bars_stand_between_the_least_and_the_greatest(values: list[float | None], drawn: str) -> None:
    assert sparkline(values, 40) == drawn


def test_of_more_values_than_characters_neighbours_are_drawn_as_their_mean() -> None:
    assert sparkline([0, 2, 6, 8], 2) == "▁█"
    assert sparkline([0, 10, 5, None], 2) == "▁▁", "both parts have the mean 5"


@given(st.lists(st.none() | st.floats(), max_size=300), st.integers(1, 60), st.booleans())
def test_any_values_are_drawn_within_the_width(values: list[float | None], width: int, ascii_only: bool) -> None:
    drawn = sparkline(values, width, ascii_only=ascii_only)
    assert len(drawn) == min(width, len(values))
    assert set(drawn) <= {*(ASCII_BARS if ascii_only else BARS), " "}
