"""Test time by batch size, and the batch sizes at which the order of the networks changes."""

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations, pairwise

import pyarrow as pa

from dwray.core.config import MODE_NAMES, PLAIN_MODE
from dwray.results.claims import PASSES
from dwray.results.records import Records
from dwray.results.statistics import ratio_of_pairs
from dwray.results.table import Column, Table

Passes = Mapping[str, Mapping[int, float]]
"""Of each network, the seconds of its timed passes, by their number."""


@dataclass(frozen=True)
class Curve:
    """Timed passes of one kind, by batch size and network."""

    images: str
    """The set: train, validation or test."""
    loader: bool
    mode: str
    sizes: Mapping[int, Passes]

    @property
    def words(self) -> str:
        """What was timed."""
        inside = "with the loader" if self.loader else "network alone"
        return ", ".join([f"{self.images} set", inside, *([self.mode] if self.mode != PLAIN_MODE else [])])

    def means(self, contender: str) -> dict[int, float]:
        """Mean seconds of a pass of a network, by batch size."""
        return {
            size: statistics.fmean(passes[contender].values())
            for size, passes in self.sizes.items()
            if passes.get(contender)
        }


@dataclass(frozen=True)
class Crossing:
    """Between two neighbouring batch sizes that were measured, another of two networks becomes the faster."""

    low: int
    high: int
    batch_size: float
    """Where the times would be equal, if their ratio changed evenly between the two on logarithmic scales."""
    seconds: float
    """The time of both there."""
    faster_below: str
    faster_above: str
    sure: bool
    """That the order changes between the two, not where: at both the 95% interval of the ratio excludes a tie, and
    there are passes enough for one."""

    @property
    def where(self) -> str:
        """The batch sizes between which it lies, and about where by the interpolation."""
        return f"between {self.low:,} and {self.high:,} (about {float(f'{self.batch_size:.2g}'):,g})"


def curves(records: Records) -> list[Curve]:
    """The timed passes of each kind: test set first, the network alone before its loader, the plain mode first."""
    kinds = {
        (row["set"], row["loader"], PLAIN_MODE if row["loader"] else row["mode"] or PLAIN_MODE)
        for row in records.timings
    }
    made = []
    for images, loader, mode in sorted(
        kinds, key=lambda kind: (kind[2] != PLAIN_MODE, kind[0] != "test", kind[0], kind[1], _mode_order(kind[2]))
    ):
        sizes = {}
        for size in sorted({row["batch_size"] for row in records.timings if row["set"] == images}):
            timed = (
                records.passes(images, size, loader)
                if mode == PLAIN_MODE
                else records.passes_in_mode(images, size, mode)
            )
            passes = {
                name: {row["pass_number"]: row["seconds"] for row in rows if row["seconds"] > 0}
                for name, rows in timed.items()
            }
            if any(passes.values()):
                sizes[size] = passes
        if sizes:
            made.append(Curve(images, loader, mode, sizes))
    return made


def _mode_order(mode: str) -> int:
    return list(MODE_NAMES).index(mode) if mode in MODE_NAMES else len(MODE_NAMES)


def crossings(curve: Curve) -> list[Crossing]:
    """Where the faster of two networks changes, of every two, between neighbours that both were timed at."""
    names = dict.fromkeys(name for passes in curve.sizes.values() for name in passes)
    return [found for a, b in combinations(names, 2) for found in _crossings_of(curve, a, b)]


def _crossings_of(curve: Curve, a: str, b: str) -> Iterable[Crossing]:
    times = {size: (of_a, curve.means(b)[size]) for size, of_a in curve.means(a).items() if size in curve.means(b)}
    logs = {size: math.log(of_a / of_b) for size, (of_a, of_b) in times.items()}
    untied = [size for size in sorted(logs) if logs[size] != 0]
    for low, high in pairwise(untied):
        if logs[low] * logs[high] > 0:
            continue
        share = logs[low] / (logs[low] - logs[high])
        yield Crossing(
            low,
            high,
            math.exp(_between(math.log(low), math.log(high), share)),
            math.exp(_between(math.log(times[low][0]), math.log(times[high][0]), share)),
            *((a, b) if logs[low] < 0 else (b, a)),
            sure=all(_is_sure(curve.sizes[size], a, b) for size in (low, high)),
        )


def _between(start: float, end: float, share: float) -> float:
    return start + share * (end - start)


def _is_sure(passes: Passes, a: str, b: str) -> bool:
    """Which of two networks is faster at a batch size is beyond the noise of its passes."""
    ratio = ratio_of_pairs(passes[a], passes[b])
    return ratio is not None and ratio.n >= PASSES.fewest and ratio.excludes(1)


_REAL = pa.float64()
_COLUMNS = (
    Column("kind", "timed", pa.string(), group=True, section=True),
    Column("faster_below", "faster below", pa.string()),
    Column("where", "changes at batch sizes", pa.string()),
    Column("faster_above", "faster above", pa.string()),
    Column("low", "batch, from", pa.int64(), shown=False),
    Column("batch_size", "crossover", _REAL, ".3g", shown=False),
    Column("high", "to", pa.int64(), shown=False),
    Column("sure", "sure", pa.bool_()),
)

INTERPOLATION = (
    "The order changes somewhere between two batch sizes that were timed; between them nothing was. about: where the "
    "times would be equal if their ratio changed evenly on logarithmic scales. sure: that it changes between the two, "
    "at both of which the 95% interval of the ratio excludes a tie, and not where."
)


def crossings_table(records: Records) -> Table:
    """The batch sizes at which the order of the networks changes; no rows where it does not."""
    rows = tuple(
        {
            "kind": curve.words,
            "faster_below": each.faster_below,
            "where": each.where,
            "low": each.low,
            "batch_size": each.batch_size,
            "high": each.high,
            "faster_above": each.faster_above,
            "sure": each.sure,
        }
        for curve in curves(records)
        for each in crossings(curve)
    )
    return Table(
        "crossings",
        "Where the order of the networks changes",
        _COLUMNS,
        rows,
        (INTERPOLATION,) if rows else (),
    )
