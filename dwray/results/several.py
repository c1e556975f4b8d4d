"""Several runs side by side: what they are called and what they are, their accuracies, and their times."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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

_IDENTITIES = (
    Column("run", "run", pa.string(), section=True, group=True),
    Column("id", "sweep/run", pa.string()),
    Column("date", "date", pa.string()),
    Column("dataset", "data", pa.string()),
    Column("protocol", "protocol", pa.string(), wide=True),
    Column("trained_on", "trained on", pa.string()),
    Column("timed_on", "timed on", pa.string(), wide=True),
    Column("seeds", "seeds", pa.string()),
    Column("version", "dwray", pa.string(), wide=True),
)

_COLUMNS = (
    _RUN,
    _NETWORK,
    Column("accuracy_percent", "test %", _REAL, ".2f"),
    Column("half_width", "95% ±", _REAL, ".2f"),
    Column("seeds", "seeds", pa.int64()),
    Column("epoch_seconds", "s/epoch", _REAL, ".3f"),
    Column("epoch_ratio", "x fastest", _REAL, ".2f"),
)

_TIME_COLUMNS = (
    _RUN,
    Column("kind", "timed", pa.string(), group=True, section=True),
    Column("batch_size", "batch", pa.int64(), group=True),
    _NETWORK,
    Column("seconds", "mean s", _REAL, ".4f"),
    Column("ratio", "x fastest", _REAL, ".2f"),
)

TELLING = ("width", "training.", "search.", "seeds", "timing.")
"""Settings that a run may be named by: of what was done, not of where."""

LONGEST_VALUE = 24
"""Characters: a setting with a longer value is no part of a name."""


@dataclass(frozen=True)
class NamedRun:
    """A run, and how it is called beside the others."""

    name: str
    records: Records
    settings: Mapping[str, str] = field(default_factory=dict)
    """What it was run with and on, by dotted names, as ``training.epochs``; what is not known is left out."""

    @property
    def identity(self) -> str:
        """Its sweep's name and its own."""
        return f"{self.records.identity.get('sweep', '?')}/{self.records.identity.get('run_id', '?')}"

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

    @property
    def seeds(self) -> list[int]:
        """Of its completed trainings."""
        return sorted({row["seed"] for row in self.records.of_stage("train") if row["status"] == "completed"})


def named_runs(runs: Sequence[tuple[Records, Mapping[str, str]]]) -> list[NamedRun]:
    """Runs, each by the shortest name that tells it apart from the others.

    Args:
        runs: What each measured, and its settings.
    """
    unnamed = [NamedRun("", records, settings) for records, settings in runs]
    telling = [key for key in differing_settings(unnamed) if key.startswith(TELLING) and _is_short(key, unnamed)]
    names = names_apart(
        [
            (
                str(run.records.protocol),
                run.records.dataset + (" (SYNTHETIC)" if run.records.synthetic else ""),
                _device(run.records),
                run.records.identity.get("sweep", "?"),
                run.trained_on or run.timed_on,
                *(f"{key.rpartition('.')[2]} {run.settings[key]}" for key in telling),
                run.date or "no date",
                run.identity,
            )
            for run in unnamed
        ]
    )
    return [NamedRun(name, run.records, run.settings) for name, run in zip(names, unnamed, strict=True)]


def _device(records: Records) -> str:
    """What trainings, or else timings, ran on, without the threads, which are told where they alone differ."""
    rows = records.of_stage("train") or records.of_stage("time")
    return MOVED.join(dict.fromkeys(row["device"] for row in rows if row["device"])) or "no device"


def names_apart(features: Sequence[Sequence[str]]) -> list[str]:
    """The shortest names that tell things apart: of each, the features in which it differs from those still like it.

    Args:
        features: Of each thing, as many as of the others, the one to be named by first; the last stands for a thing
            that differs from another in nothing, with a number.
    """
    names: list[list[str]] = [[] for _ in features]
    groups = [list(range(len(features)))]
    for column in zip(*features, strict=True):
        apart: list[list[int]] = []
        for group in groups:
            by_value: dict[str, list[int]] = {}
            for index in group:
                by_value.setdefault(column[index], []).append(index)
            if len(by_value) > 1:
                for index in group:
                    names[index].append(column[index])
            apart += by_value.values()
        groups = apart
    for group in groups:
        for number, index in enumerate(group, start=1):
            if len(group) > 1 or not names[index]:
                name = ", ".join(names[index]) or features[index][-1]
                names[index] = [f"{name} ({number})" if len(group) > 1 else name]
    return [", ".join(name) for name in names]


def differing_settings(runs: Sequence[NamedRun]) -> list[str]:
    """The names of the settings that are not the same in all runs, in their order."""
    names = dict.fromkeys(key for run in runs for key in run.settings)
    return [key for key in names if len({run.settings.get(key) for run in runs}) > 1]


def _is_short(key: str, runs: Sequence[NamedRun]) -> bool:
    return all(len(run.settings.get(key, LONGEST_VALUE * "x")) < LONGEST_VALUE for run in runs)


def identity_tables(runs: Sequence[NamedRun]) -> list[Table]:
    """What the runs are, and in which settings they differ."""
    identities = [
        {
            "run": run.name,
            "id": run.identity,
            "date": run.date,
            "dataset": run.records.dataset,
            "protocol": str(run.records.protocol),
            "trained_on": run.trained_on or None,
            "timed_on": run.timed_on or None,
            "seeds": ", ".join(map(str, run.seeds)) or None,
            "version": run.records.identity.get("dwray_version"),
        }
        for run in runs
    ]
    columns = [Column(f"run{number}", run.name, pa.string()) for number, run in enumerate(runs, start=1)]
    differing = [
        {"setting": key, **{column.name: run.settings.get(key) for column, run in zip(columns, runs, strict=True)}}
        for key in differing_settings(runs)
    ]
    lacking = any(value is None for row in differing for value in row.values())
    notes = ("A dash: the run's files do not have it, as those of another version of dwray.",) if lacking else ()
    tables = [Table("several_identities", "The runs", _IDENTITIES, tuple(identities), tuple(notes_on_several(runs)))]
    if differing:
        heads = (Column("setting", "setting", pa.string()), *columns)
        tables.append(Table("several_settings", "The settings in which they differ", heads, tuple(differing), notes))
    return tables


def several_tables(runs: Sequence[NamedRun]) -> list[Table]:
    """Accuracies and training times of every run's networks, and their test times.

    Ratios are within a run: over the fastest of its networks.
    """
    trained = [row for run in runs for row in _trained(run)]
    timed = [row for run in runs for row in _timed(run)]
    ratio = "x fastest: the time over that of the fastest network of the same run; never between runs."
    accuracy = "test %: mean over the seeds, as each run's protocol scores it; 95% ±: half of Student's interval."
    return [
        Table("several_runs", "The runs side by side", _COLUMNS, tuple(trained), (f"{accuracy} {ratio}",)),
        Table("several_test_times", "Their test times", _TIME_COLUMNS, tuple(timed), (ratio,) if timed else ()),
    ]


def notes_on_several(runs: Sequence[NamedRun]) -> list[str]:
    """What keeps runs from being compared like with like: their devices, protocols and images."""
    notes = []
    devices = dict.fromkeys(part for run in runs for part in (run.trained_on, run.timed_on) if part)
    by_stage = [{run.trained_on for run in runs} - {""}, {run.timed_on for run in runs} - {""}]
    if any(len(used) > 1 for used in by_stage):
        notes.append(
            f"NOT ONE KIND OF DEVICE ({' | '.join(devices)}): times of one run can be compared with each other, not "
            "with those of a run on another kind."
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
                "kind": words,
                "batch_size": size,
                "contender": name,
                "seconds": time,
                "ratio": time / fastest if time and fastest else None,
            }
            for name, time in times.items()
        ]
    return rows
