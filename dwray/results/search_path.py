"""The way a linear search took: each axis in its order, every value tried, which was held before, which won and why.

It is read from the records alone: :class:`dwray.search.linear.LinearSearch` is a function of its scores, and is
followed here by the same rules.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from dwray.errors import SpecError
from dwray.results.records import Records
from dwray.results.table import ROW_FORM, Column, Row, Table
from dwray.yamltext import parse

ACCURACY = "validation_accuracy_percent"
_FORMS = {ACCURACY: (".2f", "points")}
"""Of a metric: how its values are written, and the unit of a difference; others are written to four digits."""


@dataclass(frozen=True)
class SearchSettings:
    """What the sweep file says of a search, which the records do not; by default what a sweep has by default."""

    metric: str = ACCURACY
    axes: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """The values of each axis in their order: among tied candidates the one named first wins."""
    starts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Of each contender, the settings that it starts from: a tie goes to the incumbent."""

    @property
    def words(self) -> str:
        """What was compared."""
        return self.metric.removesuffix("_percent").replace("_", " ")

    @property
    def words_with_unit(self) -> str:
        """The same with its unit."""
        return f"{self.words} ({'%' if self.metric.endswith('_percent') else 'nats'})"

    def higher_is_better(self, a: float, b: float) -> bool:
        """Score ``a`` beats score ``b``; a tie beats nothing."""
        return a < b if self.metric == "validation_loss" else a > b


def search_settings(sweep: str | None) -> SearchSettings:
    """What a resolved sweep file says of its search; the defaults where it says nothing that can be read.

    A sweep file of another version of dwray may not be one of this version's: only what is needed is looked at.
    """
    try:
        read = parse(sweep or "{}", "sweep.yaml")
    except SpecError:
        read = {}
    search, training = _mapping(read.get("search")), _mapping(read.get("training"))
    networks = _mapping(read.get("networks"))
    metric = search.get("metric")
    return SearchSettings(
        metric=metric if metric == "validation_loss" else SearchSettings.metric,
        axes={axis: values for axis, values in _mapping(search.get("axes")).items() if isinstance(values, list)},
        starts={name: {**training, **_mapping(_mapping(own).get("training"))} for name, own in networks.items()},
    )


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


@dataclass(frozen=True)
class Tried:
    """A value of an axis, and how it did there."""

    value: Any
    score: float | None
    """None while it runs, and of one that failed or diverged."""
    status: str
    incumbent: bool
    """Held by the settings before this axis."""


@dataclass(frozen=True)
class Step:
    """One axis of one contender: the values tried, and the one that went on."""

    contender: str
    axis: str
    axis_pass: int
    tried: tuple[Tried, ...]
    winner: Tried | None
    """None while the axis is open, and where none of its values gave a score."""
    held: Mapping[str, Any] = field(default_factory=dict)
    """The values of the other axes, which all that were tried have."""

    @property
    def rivals(self) -> list[Tried]:
        """The values that did not win."""
        return [each for each in self.tried if each is not self.winner]


def search_path(records: Records, settings: SearchSettings | None = None) -> list[Step]:
    """The axes that the search of each contender took, in their order.

    Args:
        records: What a run measured, finished or not.
        settings: Of the search.
    """
    known = settings or SearchSettings()
    return [step for contender in records.contenders for step in _line(records.of_stage("search", contender), known)]


def _line(rows: Sequence[Row], settings: SearchSettings) -> list[Step]:
    """The steps of one contender's search."""
    if not rows:
        return []
    contender = rows[0]["contender"]
    axes = list(dict.fromkeys(row["axis"] for row in rows))
    evaluated: dict[tuple[Any, ...], Row] = {}
    held: dict[str, Any] = dict(settings.starts.get(contender, {}))
    steps = []
    for axis_pass, axis in sorted(
        {(row["axis_pass"], row["axis"]) for row in rows}, key=lambda step: (step[0], axes.index(step[1]))
    ):
        asked = [row for row in rows if (row["axis_pass"], row["axis"]) == (axis_pass, axis)]
        for row in asked:
            evaluated.setdefault(tuple(row[each] for each in axes), row)
        # What is held on the other axes, every candidate of this one shows; on its own, those of the step before did.
        held = {**{each: asked[0][each] for each in axes}, **({axis: held[axis]} if axis in held else {axis: None})}
        tried = _tried(axis, axes, held, evaluated, settings)
        winner = _winner(tried, settings)
        others = {each: value for each, value in held.items() if each != axis}
        steps.append(Step(contender, axis, axis_pass, tuple(tried), winner, others))
    return steps


def _tried(
    axis: str,
    axes: Sequence[str],
    held: Mapping[str, Any],
    evaluated: Mapping[tuple[Any, ...], Row],
    settings: SearchSettings,
) -> list[Tried]:
    """Every evaluated configuration that is the held one but for a value of an axis, in the order of its values."""
    others = [each for each in axes if each != axis]
    along = [row for row in evaluated.values() if all(row[each] == held[each] for each in others)]
    listed = list(settings.axes.get(axis, ()))
    along.sort(key=lambda row: listed.index(row[axis]) if row[axis] in listed else -1)
    return [
        Tried(row[axis], _score(row, settings.metric), row["status"], incumbent=row[axis] == held[axis])
        for row in along
    ]


def _score(row: Row, metric: str) -> float | None:
    score = row[metric] if row["status"] == "completed" else None
    return score if score is not None and math.isfinite(score) else None


def _winner(tried: Sequence[Tried], settings: SearchSettings) -> Tried | None:
    """The best of an axis that has come to its end: a tie goes to the incumbent, and then to the one named first."""
    if any(each.status in ("running", "interrupted") for each in tried):
        return None
    best: Tried | None = None
    for each in sorted(tried, key=lambda one: not one.incumbent):
        if each.score is not None and (
            best is None or best.score is None or settings.higher_is_better(each.score, best.score)
        ):
            best = each
    return best


_COLUMNS = (
    Column("contender", "network", pa.string(), group=True, section=True),
    Column("axis_pass", "pass", pa.int64(), group=True),
    Column("axis", "axis", pa.string(), group=True),
    Column("value", "value", pa.string()),
    Column("score", "score", pa.float64(), ROW_FORM),
    Column("incumbent", "held before", pa.bool_()),
    Column("winner", "won", pa.bool_()),
    Column("why", "why", pa.string()),
)


def search_table(records: Records, settings: SearchSettings | None = None) -> Table:
    """Every value that a search tried, axis by axis; no rows without a search."""
    known = settings or SearchSettings()
    steps = search_path(records, known)
    form, unit = _FORMS.get(known.metric, (".4f", ""))
    rows = tuple(
        {
            "contender": step.contender,
            "axis_pass": step.axis_pass,
            "axis": step.axis,
            "value": value_text(each.value),
            "score": each.score,
            "incumbent": each.incumbent,
            "winner": each is step.winner,
            "why": why(step, each, form, unit),
            "form": form,
        }
        for step in steps
        for each in step.tried
    )
    better = "lowest" if known.metric == "validation_loss" else "highest"
    notes = (
        f"One axis at a time, the others held at their best value so far. Compared is the {known.words} after a "
        f"search trial's last epoch; the {better} goes on, and a tie goes to the value that was held before. One seed "
        "for all: a small margin is no sure one.",
        *(path_in_words(contender, steps, form) for contender in dict.fromkeys(step.contender for step in steps)),
    )
    heading = "val. %" if known.metric == ACCURACY else "val. loss"
    columns = tuple(replace(column, heading=heading) if column.name == "score" else column for column in _COLUMNS)
    return Table("search", "What was tried, axis by axis", columns, rows, notes if rows else ())


def why(step: Step, tried: Tried, form: str = ".2f", unit: str = "points") -> str:
    """Why a value went on or did not, in words.

    Args:
        step: Of the axis.
        tried: One of its values.
        form: Of a difference between two scores.
        unit: Of that difference, or nothing.
    """
    if tried.score is None:
        return tried.status if tried.status != "completed" else "gave no finite score"
    if step.winner is None or step.winner.score is None:
        return "the axis is not finished"
    if tried is step.winner:
        return _why_it_won(step, tried.score, form, unit)
    if tried.score == step.winner.score:
        return "tied; " + ("the value held before wins a tie" if step.winner.incumbent else "the one named first wins")
    return f"behind by {_apart(tried.score, step.winner.score, form, unit)}"


def _why_it_won(step: Step, score: float, form: str, unit: str) -> str:
    """By how much the winner of an axis is ahead of the next."""
    rivals = [(abs(each.score - score), each) for each in step.rivals if each.score is not None]
    if not rivals:
        return "the only value with a score"
    margin, following = min(rivals, key=lambda rival: rival[0])
    if margin == 0:
        reason = "was held before" if step.winner and step.winner.incumbent else "is named first"
        return f"ties with {value_text(following.value)}, and {reason}"
    return f"ahead of {value_text(following.value)} by {_apart(margin, 0, form, unit)}"


def _apart(a: float, b: float, form: str, unit: str) -> str:
    return f"{format(abs(a - b), form)} {unit}".rstrip()


def path_in_words(contender: str, steps: Sequence[Step], form: str = ".2f") -> str:
    """The path of a contender: the value that each axis ended at, with its score."""
    own = [step for step in steps if step.contender == contender]
    taken = [
        f"{step.axis} {value_text(step.winner.value)} ({format(step.winner.score, form)})"
        if step.winner and step.winner.score is not None
        else f"{step.axis} not settled"
        for step in own
    ]
    return f"{contender}: {', then '.join(taken)}."


def value_text(value: Any) -> str:
    """A setting as a sweep file has it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value)
