"""Measured beside stated: the columns that the paper's tables share, one row for each quantity."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from dwray import paper
from dwray.core.config import ProtocolConfig
from dwray.paper import Stated, footnote
from dwray.results.records import Records
from dwray.results.schema import STATUSES
from dwray.results.statistics import Estimate, mean_interval
from dwray.results.table import ROW_FORM, Column, Row, Table

_REAL = pa.float64()

COLUMNS = (
    Column("dataset", "data", pa.string(), group=True, section=True),
    Column("contender", "network", pa.string(), group=True, section=True),
    Column("quantity", "", pa.string(), marked=True),
    Column("paper", "paper", _REAL, ROW_FORM),
    Column("notebook", "notebook", _REAL, ROW_FORM),
    Column("measured", "measured", _REAL, ROW_FORM),
    Column("half_width", "95% ±", _REAL, ROW_FORM),
    Column("difference", "difference", _REAL, ROW_FORM),
    Column("std", "std", _REAL, ROW_FORM, wide=True),
    Column("low", "95% low", _REAL, ROW_FORM, wide=True),
    Column("high", "95% high", _REAL, ROW_FORM, wide=True),
    Column("n", "seeds", pa.int64(), wide=True),
)

NO_INTERVAL = (
    "95% ± is a dash also of one seed, and of seeds that all gave the same value, as far as the measure tells values "
    "apart: no spread gives no interval."
)

DIFFERENCE = (
    "difference: measured less the paper's number, or less the notebook's where the paper prints none. 95% ±: half of "
    "Student's interval over the seeds. A dash was not stated, or not measured in this run. " + NO_INTERVAL
)
ENDS = (
    "95% low, 95% high: the ends of that interval, cut at 0 and at 100%, beyond which nothing lies; 95% ± is not cut."
)


LEAST_TRAIN_IMAGES = 45_000
"""CIFAR's training images less a held-out tenth; a run on fewer is not the paper's."""


class Footnotes:
    """Numbers the footnotes of one table in the order in which they are first used."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def marks(self, keys: Iterable[str]) -> str:
        """The numbers of footnotes, in brackets."""
        numbers = [self._numbers.setdefault(key, len(self._numbers) + 1) for key in keys]
        return " ".join(f"[{number}]" for number in numbers)

    @property
    def texts(self) -> tuple[str, ...]:
        """The footnotes that were used."""
        return tuple(f"[{number}] {footnote(key)}" for key, number in self._numbers.items())


@dataclass
class Comparison:
    """Gathers the rows of one of the paper's tables."""

    records: Records
    footnotes: Footnotes = field(default_factory=Footnotes)
    rows: list[Row] = field(default_factory=list)

    def subjects(self) -> list[tuple[str, str, str | None]]:
        """What there is to compare: (dataset, contender, its network), the run's own and then the paper's other data.

        The paper's numbers for the other dataset stand there too, so that a reader misses none; they have nothing
        measured beside them.
        """
        records = self.records
        own = [(own_dataset(records), contender, records.network(contender)) for contender in records.contenders]
        if records.compare_with is None:
            return own
        other = {"cifar10": "cifar100", "cifar100": "cifar10"}[records.compare_with]
        return own + [(other, network, network) for network in ("ConvNet", "DepthwiseConvNet")]

    def measured_here(self, dataset: str) -> bool:
        """The run measured this dataset."""
        return dataset == own_dataset(self.records)

    def add(
        self,
        dataset: str,
        contender: str,
        quantity: str,
        stated: Stated,
        measured: Estimate | float | None,
        form: str,
        most: float = math.inf,
    ) -> None:
        """One row; a quantity that nobody stated and nobody measured has none.

        Nothing that is compared can lie below zero, nor above ``most``: 100 of a percentage.
        """
        if isinstance(measured, int | float):
            measured = Estimate(measured, None, None, 1)
        printed = stated.paper if stated.paper is not None else stated.derived
        beside = printed if printed is not None else stated.notebook
        if measured is None and beside is None:
            return
        row: dict[str, Any] = {
            "dataset": dataset,
            "contender": contender,
            "quantity": quantity,
            "marks": self.footnotes.marks(stated.footnotes),
            "paper": printed,
            "notebook": stated.notebook,
            "form": form,
        }
        if measured is not None:
            low, high = measured.within(0.0, most)
            row.update(
                measured=measured.value,
                half_width=measured.half_width,
                std=measured.deviation,
                low=low,
                high=high,
                n=measured.n,
            )
            if beside is not None:
                row["difference"] = measured.value - beside
        self.rows.append(row)

    def table(self, name: str, title: str, *notes: str) -> Table:
        """The rows as a table, with what must be said of them."""
        said = (*notes, DIFFERENCE, ENDS, *not_the_papers(self.records), *self.footnotes.texts)
        return Table(name, title, COLUMNS, tuple(self.rows), said, frozenset({ENDS}))


def over_seeds(values: Iterable[float | None]) -> Estimate | None:
    """Mean and interval of what was measured; None of nothing."""
    known = [value for value in values if value is not None]
    return mean_interval(known) if known else None


def unfinished_trainings(records: Records, protocol: ProtocolConfig | None = None) -> list[str]:
    """Of each contender not all of whose trainings under a protocol (the run's own) completed: what became of them."""
    found = []
    for contender in records.contenders:
        statuses = [row["status"] for row in records.train_trials(contender, protocol)]
        if any(status != "completed" for status in statuses):
            counts = (f"{statuses.count(status)} {status}" for status in STATUSES if status in statuses)
            turned = f" ({protocol})" if protocol else ""
            found.append(f"{contender}{turned}: {', '.join(counts)}")
    return found


def own_dataset(records: Records) -> str:
    """The paper's name for the run's images, where it is to stand beside them; else their own."""
    return records.compare_with or records.dataset


def not_the_papers(records: Records) -> tuple[str, ...]:
    """What keeps a run's figures from being compared with the paper's like with like, in a line."""
    if records.compare_with is None:
        return ("The paper has no numbers for these images.",)
    differences = []
    if records.dataset != records.compare_with:
        differences.append(f"the images are those of {records.dataset}")
    for contender in records.contenders:
        first = next(iter(records.train_trials(contender)), None)
        stated = paper.epochs(records.compare_with, records.network(contender) or "").notebook
        if first and stated and first["epochs"] != stated:
            differences.append(f"{contender} was trained for {first['epochs']} of {stated:g} epochs")
    images = {row["train_images"] for row in records.of_stage("train") if row["train_images"]}
    if images and min(images) < LEAST_TRAIN_IMAGES:
        differences.append(f"there are {min(images):,} training images, not 50,000")
    widths = sorted({row["width"] for row in records.trials if row["width"] not in (None, 1.0)})
    if widths:
        differences.append("the width is " + ", ".join(f"{width:g}" for width in widths))
    return (f"Not like with like: {'; '.join(differences)}.",) if differences else ()
