"""An experiment of many trials: each costs what the first ones cost, in time and in the driver's memory."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from dwray.paths import RunPaths
from dwray.results.schema import EPOCHS
from dwray.results.store import RunStore, read_parquet
from dwray.search.linear import LinearSearch
from dwray.tune.callbacks import FLUSH_SHARE, RecordWriter

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "growth.py"


@pytest.mark.slow
def test_the_last_trials_cost_what_the_first_did_and_the_driver_stays_small() -> None:
    run = subprocess.run(
        [sys.executable, str(SCRIPT), "--counts", "200", "--epochs", "2", "--json"],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    (found,) = json.loads(run.stdout)
    assert found["trials"] == 200
    first, *_, last = found["quarters_ms"]
    assert last < 2 * first, found
    # About 20 MiB are Ray's own, however few the trials. What Tune saves with each trial must not hold the searcher.
    assert found["rss_mib"] - found["rss_before_mib"] < 60, found
    assert found["snapshot_kib_per_trial"] < 25, found


def searched_seconds(candidates: int) -> float:
    """Time to tell so many candidates of one axis, one after the other."""
    search = LinearSearch({"x": range(candidates)})
    asked = [candidate for _ in range(candidates) if (candidate := search.ask())]
    assert len(asked) == candidates
    began = time.process_time()
    for candidate in asked:
        search.tell(candidate.number, -abs(candidate.config["x"] - 7))
    spent = time.process_time() - began
    assert search.finished
    assert search.best == ({"x": 7}, 0)
    return spent


def test_a_search_takes_as_long_as_it_has_candidates() -> None:
    # Ten times the candidates: a scan of all of them for each would take a hundred times as long.
    assert min(searched_seconds(20_000) for _ in range(2)) < 40 * min(searched_seconds(2_000) for _ in range(3))


class SlowStore(RunStore):
    """A store whose files take long to write."""

    flushes = 0

    def flush(self) -> None:
        self.flushes += 1
        time.sleep(0.05)
        super().flush()


def test_writing_the_records_takes_a_small_share_of_the_drivers_time_however_long_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dwray.tune.callbacks.FLUSH_SECONDS", 0.01)
    store = SlowStore(RunPaths.create(tmp_path, "x"), {"contenders": "[]"})
    writer = RecordWriter(store, lambda _: {})
    none: list[Any] = []
    began = time.monotonic()
    while time.monotonic() - began < 3:
        store.add_epoch({"trial_id": "t", "epoch": 1})
        writer.on_step_end(0, none)
        time.sleep(0.01)
    assert 1 < store.flushes <= 1 + 3 * FLUSH_SHARE / 0.05
    assert len(read_parquet(store.paths.epochs, EPOCHS)) == 1
