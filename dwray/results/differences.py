"""What changed from one run to another: each network in a run beside the same network in the first one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Literal

import pyarrow as pa

from dwray.results.answer import epoch_seconds, test_accuracies
from dwray.results.claims import PASSES
from dwray.results.one_device import kinds
from dwray.results.records import Records
from dwray.results.several import NamedRun
from dwray.results.statistics import Estimate, paired_difference, unpaired_difference, unpaired_ratio
from dwray.results.table import ROW_FORM, Column, Row, Table

_REAL = pa.float64()

_COLUMNS = (
    Column("run", "run", pa.string(), group=True, section=True),
    Column("contender", "network", pa.string(), group=True, section=True),
    Column("quantity", "", pa.string()),
    Column("loader", "loader", pa.string()),
    Column("batch_size", "batch", pa.int64()),
    Column("first", "first", _REAL, ROW_FORM),
    Column("value", "run", _REAL, ROW_FORM),
    Column("change", "change", _REAL, ROW_FORM),
    Column("low", "95% low", _REAL, ROW_FORM),
    Column("high", "95% high", _REAL, ROW_FORM),
    Column("compared", "compared", pa.string()),
)

NO_SPLIT = ("data.root", "data.mirror")
"""Settings of the data that say where they lie, not which they are."""

OTHER_DATA, OTHER_DEVICE, NOT_ALONE = "other images", "OTHER DEVICE", "NOT ALONE on the device"

Kind = tuple[str, bool]
"""Of timed passes: the set, and whether the loader is inside."""


@dataclass(frozen=True)
class Difference:
    """A quantity of a network in a run beside the same in the first run."""

    contender: str
    of: Literal["accuracy", "epoch", "pass"]
    first: float
    value: float
    change: Estimate
    """Percentage points more, of an accuracy; times as long, of a time."""
    units: str
    """Of how many seeds or passes, and whether those are pairs."""
    doubts: tuple[str, ...] = ()
    """What keeps it from being like with like."""
    batch_size: int | None = None
    kind: Kind | None = None
    enough: bool = True
    """It rests on units enough for a claim."""

    @property
    def is_shown(self) -> bool:
        """Its interval excludes that nothing changed."""
        return self.enough and self.change.excludes(0 if self.of == "accuracy" else 1)

    @property
    def quantity(self) -> str:
        """What was measured, and its unit."""
        if self.kind is None:
            return "accuracy, %" if self.of == "accuracy" else "epoch, s"
        return f"{self.kind[0]}, s"


def words(kind: Kind) -> str:
    """A kind of timed pass."""
    return f"{kind[0]} pass, {'with the loader' if kind[1] else 'network alone'}"


def differences(first: NamedRun, run: NamedRun) -> list[Difference]:
    """Of every network that both runs have, under one name, what both measured of it."""
    networks = [{name: each.records.network(name) for name in each.records.contenders} for each in (first, run)]
    found = []
    for name in (name for name, network in networks[0].items() if networks[1].get(name, "") == network):
        found += [each for each in (_of_accuracy(first, run, name), _of_epochs(first, run, name)) if each]
        found += _of_passes(first.records, run.records, name)
    return found


def same_split(a: NamedRun, b: NamedRun) -> bool:
    """Whether two runs trained, validated and tested on the same images, so that a seed of one is that of the other.

    Where a sweep file is missing it is not known, and they did not.
    """
    splits = [
        {key: value for key, value in run.settings.items() if key.startswith("data.") and key not in NO_SPLIT}
        for run in (a, b)
    ]
    images = [
        {row["train_images"] for name in run.records.contenders for row in run.records.trainings(name)}
        for run in (a, b)
    ]
    held_out = [run.records.protocol.tune_on_test_set for run in (a, b)]
    return (
        _same_data(a.records, b.records)
        and bool(splits[0])
        and splits[0] == splits[1]
        and images[0] == images[1]
        and held_out[0] == held_out[1]
    )


def _same_data(a: Records, b: Records) -> bool:
    return (a.dataset, a.synthetic) == (b.dataset, b.synthetic)


def _of_accuracy(first: NamedRun, run: NamedRun, contender: str) -> Difference | None:
    """Of images that are the same, and are no random numbers."""
    before, after = (test_accuracies(each.records).get(contender) for each in (first, run))
    if not before or not after or not _same_data(first.records, run.records) or run.records.synthetic:
        return None
    resolution = max(each.records.test_accuracy_resolution for each in (first, run))
    change = None
    if before.keys() == after.keys() and same_split(first, run):
        change = paired_difference(after, before, resolution)
        units = f"{_count(len(after), 'seed')}, paired"
    if change is None:
        change = unpaired_difference([*after.values()], [*before.values()], resolution)
        units = _units(len(before), len(after), "seed")
    return Difference(contender, "accuracy", fmean(before.values()), fmean(after.values()), change, units)


def _of_epochs(first: NamedRun, run: NamedRun, contender: str) -> Difference | None:
    before, after = (epoch_seconds(each.records).get(contender) for each in (first, run))
    if not before or not after:
        return None
    rows = [each.records.trainings(contender) for each in (first, run)]
    doubts = _doubts(first.records, run.records, "train_images", *rows)
    return _of_times(contender, [*before.values()], [*after.values()], "seed", doubts)


def _of_passes(first: Records, run: Records, contender: str) -> Iterator[Difference]:
    """Of the test set, or another where that was not timed in both."""
    kinds_of = [{(row["set"], row["loader"], row["batch_size"]) for row in each.timings} for each in (first, run)]
    shared = kinds_of[0] & kinds_of[1]
    images = min((each[0] for each in shared), key=lambda name: (name != "test", name), default=None)
    for name, loader, size in sorted(shared, key=lambda each: (each[1], each[2])):
        rows = [each.passes(name, size, loader).get(contender, []) for each in (first, run)]
        before, after = ([row["seconds"] for row in passes if row["seconds"] > 0] for passes in rows)
        if name != images or not before or not after:
            continue
        made = _of_times(contender, before, after, "pass", _doubts(first, run, "images", *rows))
        enough = min(len(before), len(after)) >= PASSES.fewest
        yield replace(made, of="pass", batch_size=size, kind=(name, loader), enough=enough)


def _of_times(
    contender: str, before: Sequence[float], after: Sequence[float], unit: str, doubts: tuple[str, ...]
) -> Difference:
    """The ratio of times; of other work or on another kind of device it has no interval."""
    change = unpaired_ratio(after, before)
    if OTHER_DATA in doubts or OTHER_DEVICE in doubts:
        change = Estimate(change.value, None, None, change.n)
    units = _units(len(before), len(after), unit)
    return Difference(contender, "epoch", fmean(before), fmean(after), change, units, doubts)


def _doubts(first: Records, run: Records, images: str, before: Sequence[Row], after: Sequence[Row]) -> tuple[str, ...]:
    """What keeps times of two runs from being compared like with like.

    Args:
        first: The one run.
        run: The other.
        images: The column that has how many images one of the times is of.
        before: The trainings or passes of the one.
        after: Those of the other.
    """
    doubts = []
    if not _same_data(first, run):
        doubts.append(OTHER_DATA)
    used = {tuple(kinds(rows)) for rows in (before, after)}
    if len(used) > 1 or any(len(each) != 1 for each in used):
        doubts.append(OTHER_DEVICE)
    numbers = [sorted({row[images] for row in rows if row[images]}) for rows in (before, after)]
    if all(numbers) and numbers[0] != numbers[1]:
        doubts.append(f"{numbers[1][-1]:,} images, not {numbers[0][-1]:,}")
    if any(row.get("exclusive") is False for row in (*before, *after)):
        doubts.append(NOT_ALONE)
    return tuple(doubts)


def _count(number: int, unit: str) -> str:
    plural = "passes" if unit == "pass" else f"{unit}s"
    return f"{number} {unit if number == 1 else plural}"


def _units(before: int, after: int, unit: str) -> str:
    return f"{before} + {_count(after, unit)}"


def differences_table(runs: Sequence[NamedRun]) -> Table:
    """Each network in each run beside the same network in the first run."""
    first, *others = runs
    rows = [
        {
            "run": run.name,
            "contender": each.contender,
            "quantity": each.quantity,
            "loader": None if each.kind is None else "yes" if each.kind[1] else "no",
            "batch_size": each.batch_size,
            "first": each.first,
            "value": each.value,
            "change": each.change.value,
            "low": each.change.low,
            "high": each.change.high,
            "compared": "; ".join([each.units, *each.doubts]),
            "form": ".2f" if each.of == "accuracy" else ".4g",
        }
        for run in others
        for each in differences(first, run)
    ]
    columns = tuple(replace(each, heading=first.name) if each.name == "first" else each for each in _COLUMNS)
    return Table("several_differences", f"Changes from {first.name}", columns, tuple(rows), NOTES if rows else ())


NOTES = (
    "accuracy: on the test set, as each run's protocol scores it; epoch: its training pass; test: a pass over the set. "
    "change: of an accuracy the run's less that of the first run, in points; of a time the run's over the first's, as "
    "times as long. 95%: its interval.",
    "Accuracies are paired by seed (Student's interval) where both runs have the same seeds, data and split; else they "
    "are two samples (3 + 3 seeds: Welch's interval). Epochs and passes of two runs were not timed side by side, and "
    "nothing pairs them: Welch's interval of the ratio of the means. It has the spread within each run, and none of "
    "that between two sessions on one machine.",
    "A time of other images or on another kind of device has a ratio without an interval: it is one of different work, "
    "or of different machines. Every interval is for itself: of twenty, one excludes a tie by chance.",
)


def changes_in_words(runs: Sequence[NamedRun]) -> list[str]:
    """A sentence for each run but the first: what changed, where an interval says so."""
    first, *others = runs
    return [_sentence(first, run, differences(first, run)) for run in others]


def _sentence(first: NamedRun, run: NamedRun, found: Sequence[Difference]) -> str:
    if all(each.change.low is None for each in found):
        doubts = dict.fromkeys(doubt for each in found for doubt in each.doubts)
        reason = "no interval" if found else "no network in common"
        return f"{run.name} is not compared with {first.name} ({', '.join(doubts) or reason})."
    kind = next((each.kind for each in found if each.kind), None)
    passes = [each for each in found if each.of == "pass" and each.kind == kind]
    parts = [
        _part("test accuracy", [each for each in found if each.of == "accuracy"]),
        _part("the time of an epoch", [each for each in found if each.of == "epoch"]),
        _part(f"that of a {words(kind)}" if kind else "test time", passes),
    ]
    return f"{run.name} against {first.name}: {'; '.join(parts)}."


def _part(quantity: str, found: Sequence[Difference]) -> str:
    """What an interval shows of a quantity, network by network."""
    doubts = dict.fromkeys(doubt for each in found for doubt in each.doubts)
    about = f"{quantity} ({', '.join(doubts)})" if doubts else quantity
    if all(each.change.low is None for each in found):
        return f"{about} is not compared" if doubts or not found else f"{about} has no interval"
    names = dict.fromkeys(each.contender for each in found)
    told = {name: _told([each for each in found if each.contender == name and each.is_shown]) for name in names}
    if not any(told.values()):
        return f"no change of {about} is shown"
    return f"{about}: {', '.join(f'{name} {said or NO_CHANGE}' for name, said in told.items())}"


NO_CHANGE = "shows no change"


def _told(shown: Sequence[Difference]) -> str:
    """The changes of a network in a quantity, at one batch size or several."""
    if not shown:
        return ""
    values = [each.change.value for each in shown]
    if len(shown) > 1:
        sizes = ", ".join(f"{each.batch_size:,}" for each in shown)
        return f"{min(values):.2f} to {max(values):.2f} times at batch sizes {sizes}"
    (each,) = shown
    form = "+.2f" if each.of == "accuracy" else ".2f"
    unit = "points" if each.of == "accuracy" else "times"
    at = f" at batch size {each.batch_size:,}" if each.batch_size is not None else ""
    return f"{each.change.value:{form}} {unit} ({each.change.low:{form}} to {each.change.high:{form}}){at}"
