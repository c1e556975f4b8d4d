"""A search that is told what it knew goes the same way: nothing twice, nothing left out, the same winners."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray.tune.search import Searcher

from dwray.tune.resuming import Resuming, trial_key
from dwray.tune.searcher import FixedTrials, LinearSearch
from dwray.tune.trainables import KEY

AXES = {"lr": [0.1, 0.2, 0.4], "decay": [0.5, 0.9], "depth": [1, 2, 3]}
LINES = {"a": {"shift": 0}, "b": {"shift": 1}}


def search(passes: int) -> LinearSearch:
    return LinearSearch(AXES, metric="score", mode="max", lines=LINES, passes=passes)


def score(config: Mapping[str, Any], salt: int) -> float | None:
    """Made up, the same for the same configuration; some fail."""
    digest = int(trial_key(str(salt), config), 16)
    return None if digest % 7 == 0 else digest % 5


def run(searcher: Resuming, salt: int, slots: int, stop_after: int | None = None) -> dict[str, float | None]:
    """Run it with so many trials side by side; the results by key, in the order of the suggestions."""
    results: dict[str, float | None] = {}
    running: list[tuple[str, dict[str, Any]]] = []
    number = 0
    while not searcher.finished and (stop_after is None or len(results) < stop_after):
        while len(running) < slots:
            config = searcher.suggest(f"trial{number}")
            if not isinstance(config, dict):
                break
            running.append((f"trial{number}", config))
            number += 1
        if not running:
            break
        trial_id, config = running.pop()  # the last to start ends first
        assert config[KEY] not in results, "nothing is run twice"
        results[config[KEY]] = score(config, salt)
        value = results[config[KEY]]
        # Of those that are lost, some fail, and some diverge with an accuracy all the same.
        fails = value is None and int(config[KEY], 16) % 2 == 0
        result = {"score": 10.0 if value is None else value, "diverged": value is None}
        searcher.on_trial_complete(trial_id, None if fails else result, error=fails)
    return results


@given(
    salt=st.integers(0, 1000),
    slots=st.integers(1, 4),
    passes=st.integers(1, 3),
    stop=st.integers(0, 30),
    data=st.data(),
)
def test_stopped_at_any_moment_the_search_goes_the_same_way(
    salt: int, slots: int, passes: int, stop: int, data: st.DataObject
) -> None:
    whole_search = search(passes)
    whole = run(Resuming(whole_search, "search", {}), salt, slots)
    known = run(Resuming(search(passes), "search", {}), salt, slots, stop_after=stop)
    lost = data.draw(st.sets(st.sampled_from(sorted(known)))) if known else set()
    known = {key: value for key, value in known.items() if key not in lost}  # the records lag behind the trials
    again_search = search(passes)
    again = Resuming(again_search, "search", known)
    rest = run(again, salt, slots)
    assert set(rest).isdisjoint(known)
    assert {**known, **rest} == whole
    assert again.finished
    for line in LINES:
        assert again_search.best(line) == whole_search.best(line)


def test_a_search_that_has_ended_is_finished_before_it_begins() -> None:
    whole = run(Resuming(search(1), "search", {}), 1, 2)
    again = Resuming(search(1), "search", whole)
    assert again.finished
    assert sorted(again.known) == sorted(whole)
    assert again.suggest("x") == Searcher.FINISHED


def test_fixed_trials_that_ended_are_left_out() -> None:
    configs = [{"seed": seed} for seed in range(4)]
    ended = {trial_key("train", configs[1]): None, trial_key("train", configs[3]): None}
    resumed = Resuming(FixedTrials(configs), "train", ended)
    assert not resumed.finished
    assert [resumed.suggest(name)["seed"] for name in "ab"] == [0, 2]  # type: ignore[index,call-overload]
    assert resumed.suggest("c") == Searcher.FINISHED
    assert not resumed.finished, "two still run"
    for name in "ab":
        resumed.on_trial_complete(name, {})
    assert resumed.finished


def test_a_key_is_the_stages_and_the_configs() -> None:
    config = {"lr": 0.1, "flip": True}
    assert trial_key("train", config) == trial_key("train", {"flip": True, KEY: "x", "lr": 0.1})
    assert len({trial_key("train", config), trial_key("search", config), trial_key("train", {**config, "lr": 1})}) == 3
    assert trial_key("train", config) == "ccdb1443d1e0", "it names files of runs that are there"


@pytest.mark.parametrize("number", [1, 1.0])
def test_whole_numbers_keep_their_kind(number: float) -> None:
    assert (trial_key("s", {"a": number}) == trial_key("s", {"a": 1})) == isinstance(number, int)
