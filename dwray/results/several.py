"""Several runs side by side: other machines, protocols or dates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from dwray.results.answer import epoch_seconds, paired_passes, test_accuracies, timed_kind
from dwray.results.one_device import MOVED, kinds
from dwray.results.records import Records
from dwray.results.statistics import mean, mean_interval
from dwray.results.table import Column, Table

_REAL = pa.float64()
_RUN = Column("run", "run", pa.string(), group=True, section=True)
_NETWORK = Column("contender", "network", pa.string())

_COLUMNS = (
    _RUN,
    Column("date", "date", pa.string(), group=True, section=True),
    Column("machine", "machine", pa.string(), group=True, section=True),
    Column("protocol", "protocol", pa.string(), group=True, section=True),
    Column("dataset", "data", pa.string(), group=True, section=True),
    _NETWORK,
    Column("accuracy_percent", "test %", _REAL, ".2f"),
    Column("half_width", "95% ±", _REAL, ".2f"),
    Column("seeds", "seeds", pa.int64()),
    Column("epoch_seconds", "s/epoch", _REAL, ".3f"),
    Column("epoch_ratio", "x fastest", _REAL, ".2f"),
)

_TIME_COLUMNS = (
    _RUN,
    Column("machine", "machine", pa.string(), group=True, section=True),
    Column("kind", "timed", pa.string(), group=True, section=True),
    Column("batch_size", "batch", pa.int64(), group=True),
    _NETWORK,
    Column("seconds", "mean s", _REAL, ".4f"),
    Column("ratio", "x fastest", _REAL, ".2f"),
)


@dataclass(frozen=True)
class NamedRun:
    """A run, and how it is called beside the others."""

    name: str
    records: Records

    @property
    def trained_on(self) -> str:
        """The kinds of devices of its trainings."""
        return MOVED.join(kinds(self.records.of_stage("train")))

    @property
    def timed_on(self) -> str:
        """The kinds of devices of its timed passes."""
        return MOVED.join(kinds([*self.records.of_stage("time"), *self.records.timings]))

    @property
    def date(self) -> str | None:
        """The day on which it began, UTC."""
        began = [row["started_at"] for row in self.records.trials if row["started_at"]]
        return min(began).strftime("%Y-%m-%d") if began else None


def several_tables(runs: Sequence[NamedRun]) -> list[Table]:
    """Accuracies and training times of every run's networks, and their test times.

    Ratios are within a run: over the fastest of its networks.
    """
    trained = [row for run in runs for row in _trained(run)]
    timed = [row for run in runs for row in _timed(run)]
    notes = notes_on_several(runs)
    ratio = "x fastest: the time over that of the fastest network of the same run; never between runs."
    accuracy = "test %: mean over the seeds, as each run's protocol scores it; 95% ±: half of Student's interval."
    return [
        Table("several_runs", "The runs side by side", _COLUMNS, tuple(trained), (f"{accuracy} {ratio}", *notes)),
        Table("several_test_times", "Their test times", _TIME_COLUMNS, tuple(timed), (ratio, *notes) if timed else ()),
    ]


def notes_on_several(runs: Sequence[NamedRun]) -> list[str]:
    """What keeps runs from being compared like with like: their devices, protocols and images."""
    notes = []
    devices = dict.fromkeys(part for run in runs for part in (run.trained_on, run.timed_on) if part)
    by_stage = [{run.trained_on for run in runs} - {""}, {run.timed_on for run in runs} - {""}]
    if any(len(used) > 1 for used in by_stage):
        notes.append(
            f"NOT ONE KIND OF DEVICE ({' | '.join(devices)}): times of one run can be compared with each other, not "
            "with those of another."
        )
    protocols = dict.fromkeys(str(run.records.protocol) for run in runs)
    if len(protocols) > 1:
        notes.append(
            f"Not one protocol ({' | '.join(protocols)}): accuracies and test times are scored in different ways."
        )
    datasets = dict.fromkeys(run.records.dataset for run in runs)
    if len(datasets) > 1:
        notes.append(f"Not the same images ({', '.join(datasets)}): accuracies and times are of different work.")
    synthetic = [run.name for run in runs if run.records.synthetic]
    if synthetic:
        notes.append(f"SYNTHETIC images (random numbers) in {', '.join(synthetic)}: the accuracies mean nothing.")
    return notes


def _trained(run: NamedRun) -> list[dict[str, Any]]:
    records = run.records
    accuracies, seconds = test_accuracies(records), epoch_seconds(records)
    fair = len(kinds(row for row in records.of_stage("train") if row["status"] == "completed")) <= 1
    times = {name: mean(by_seed.values()) for name, by_seed in seconds.items()}
    fastest = min((time for time in times.values() if time), default=None) if fair and len(times) > 1 else None
    rows = []
    for contender in records.contenders:
        row: dict[str, Any] = {
            "run": run.name,
            "date": run.date,
            "machine": run.trained_on or None,
            "protocol": str(records.protocol),
            "dataset": records.dataset,
            "contender": contender,
        }
        if contender in accuracies:
            estimate = mean_interval(accuracies[contender].values())
            row |= {"accuracy_percent": estimate.value, "half_width": estimate.half_width, "seeds": estimate.n}
        row["epoch_seconds"] = time = times.get(contender)
        row["epoch_ratio"] = time / fastest if time and fastest else None
        rows.append(row)
    return rows


def _timed(run: NamedRun) -> list[dict[str, Any]]:
    """Of the passes that answer for the run, the network alone or with its loader as the protocol has it."""
    kind = timed_kind(run.records)
    if kind is None:
        return []
    images, loader = kind
    sizes = sorted({row["batch_size"] for row in run.records.timings if (row["set"], row["loader"]) == kind})
    words = f"{images} set, {'with the loader' if loader else 'network alone'}"
    rows = []
    for size in sizes:
        times: Mapping[str, float | None] = {
            name: mean(seconds) for name, seconds in paired_passes(run.records, images, size, loader).items()
        }
        fastest = min((time for time in times.values() if time), default=None) if len(times) > 1 else None
        rows += [
            {
                "run": run.name,
                "machine": run.timed_on,
                "kind": words,
                "batch_size": size,
                "contender": name,
                "seconds": time,
                "ratio": time / fastest if time and fastest else None,
            }
            for name, time in times.items()
        ]
    return rows
