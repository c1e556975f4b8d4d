"""Linear (one axis at a time) hyperparameter search, as an ask/tell state machine that knows no Ray.

The search holds a configuration, the incumbent. It takes the axes in their order; along one axis, every value is tried
with all others held at the incumbent's; the best becomes the incumbent and the next axis starts. All candidates of an
axis can run side by side; between two axes lies a barrier.

What is settled here, because a search that leaves it open gives different winners on different days:

* A configuration is never evaluated twice: the incumbent stands on every axis with the score it already has.
* A tie goes to the incumbent, and among other candidates to the one named first. The order of completions is no factor.
* A candidate that failed or diverged (told None, NaN or an infinity) loses against any that did not.
* After a pass over all axes, a further pass starts if one is allowed and the last one moved the incumbent.
"""

import json
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Mode = Literal["min", "max"]
Config = dict[str, Any]


@dataclass(frozen=True)
class Candidate:
    """A configuration to evaluate: ``number`` is its name to :meth:`LinearSearch.tell`, ``axis`` what it varies.

    Example:
        >>> LinearSearch({"lr": [0.1, 1.0]}).ask()
        Candidate(number=0, config={'lr': 0.1}, axis='lr', axis_pass=1)
    """

    number: int
    config: Config
    axis: str
    axis_pass: int
    """Which pass over the axes asks for it, from 1."""


def _key(config: Mapping[str, Any]) -> Hashable:
    """The identity of a configuration: equal numbers are one value, True is not 1, lists are allowed."""
    return json.dumps(
        {
            name: float(value) if isinstance(value, int) and not isinstance(value, bool) else value
            for name, value in config.items()
        },
        sort_keys=True,
        default=repr,
    )


@dataclass
class _Evaluation:
    candidate: Candidate
    done: bool = False
    score: float | None = None
    """None while it runs, and for a candidate that failed or diverged."""


@dataclass
class _Progress:
    """Everything that changes while a search runs, as plain data."""

    incumbent: Config
    axis: int = 0
    axis_pass: int = 1
    moved: bool = False
    """The incumbent changed in this pass."""
    finished: bool = False
    asked: int = 0
    """So many evaluations, the first ones, were asked for."""
    told: int = 0
    """So many of those are done."""
    evaluations: list[_Evaluation] = field(default_factory=list)


class LinearSearch:
    """One line of search: ask for candidates, tell their scores, until it is finished.

    It knows no Ray: whoever asks decides where and when a candidate is evaluated. For Ray Tune there is
    ``dwray.LinearSearch``, which is made of these.

    Source: section 4.1 of the paper names the linear search and leaves open what the head of this module settles.

    Args:
        axes: The values of each axis, in the order in which the axes are taken.
        start: The first incumbent. An axis that it leaves out starts at its first value; a value that its axis does
            not list joins the axis; a key that is no axis is a constant of every configuration.
        mode: Whether the highest or the lowest score is best.
        passes: At most this many passes over the axes; None goes on until a pass moves nothing.

    Raises:
        ValueError: No axis, an axis without values or with a value twice, a mode or number of passes out of range.

    Example:
        >>> search = LinearSearch({"lr": [0.01, 0.1], "depth": [2, 4]}, start={"depth": 4}, mode="min")
        >>> while not search.finished:
        ...     candidate = search.ask()  # None: others must be told first; not here, where each is told at once
        ...     search.tell(candidate.number, abs(candidate.config["lr"] - 0.1) + candidate.config["depth"])
        >>> search.best
        ({'lr': 0.1, 'depth': 2}, 2.0)
        >>> search.max_evaluations  # of 4 configurations
        3
    """

    def __init__(
        self,
        axes: Mapping[str, Sequence[Any]],
        start: Mapping[str, Any] | None = None,
        *,
        mode: Mode = "max",
        passes: int | None = 1,
    ) -> None:
        if mode not in ("min", "max"):
            raise ValueError(f"mode must be 'min' or 'max', not {mode!r}")
        if passes is not None and passes < 1:
            raise ValueError(f"passes must be at least 1, or None for no limit, not {passes}")
        if not axes:
            raise ValueError("a linear search needs at least one axis")
        for name, values in axes.items():
            if len(values) == 0:
                raise ValueError(f"axis {name!r} has no values")
            if len({_key({name: value}) for value in values}) < len(values):
                raise ValueError(f"axis {name!r} gives a value twice: {list(values)}")
        self.mode: Mode = mode
        self.passes = passes
        incumbent = {**{name: values[0] for name, values in axes.items()}, **(start or {})}
        self.axes: dict[str, tuple[Any, ...]] = {}
        for name, values in axes.items():
            listed = _key({name: incumbent[name]}) in {_key({name: value}) for value in values}
            self.axes[name] = tuple(values) if listed else (incumbent[name], *values)
        self._progress = _Progress(incumbent)
        self._numbers: dict[Hashable, int] = {}
        self._open_axis()

    @property
    def finished(self) -> bool:
        """Nothing is left to ask for or to be told."""
        return self._progress.finished

    @property
    def max_evaluations(self) -> int | None:
        """The most configurations that the search can ask for; None if the number of passes has no limit."""
        if self.passes is None:
            return None
        # Only the start itself is new on every axis of the first pass but the first: it is evaluated once.
        return 1 + self.passes * sum(len(values) - 1 for values in self.axes.values())

    @property
    def best(self) -> tuple[Config, float] | None:
        """The incumbent and its score; None while it has none, or if every configuration so far failed."""
        number = self._numbers.get(_key(self._progress.incumbent))
        score = None if number is None else self._progress.evaluations[number].score
        return None if score is None else (dict(self._progress.incumbent), score)

    def candidate(self, number: int) -> Candidate:
        """A candidate that was asked for.

        Raises:
            IndexError: There is none of this number.
        """
        return self._progress.evaluations[number].candidate

    def is_told(self, number: int) -> bool:
        """The candidate's score is known, or known to be none."""
        return self._progress.evaluations[number].done

    def ask(self) -> Candidate | None:
        """The next candidate; None at a barrier (candidates are still running) or when the search is finished.

        Example:
            >>> search = LinearSearch({"lr": [0.1, 1.0], "depth": [2, 4]})
            >>> [search.ask().config, search.ask().config, search.ask()]
            [{'lr': 0.1, 'depth': 2}, {'lr': 1.0, 'depth': 2}, None]
        """
        progress = self._progress
        if progress.asked == len(progress.evaluations):
            return None
        progress.asked += 1
        return progress.evaluations[progress.asked - 1].candidate

    def tell(self, number: int, score: float | None) -> None:
        """The score of a candidate that was asked for; None, NaN or an infinity if it failed or diverged.

        Raises:
            ValueError: Nobody asked for this candidate, or its score is known.

        Example:
            >>> search = LinearSearch({"lr": [0.1]})
            >>> search.tell(search.ask().number, 97.5)
            >>> search.best
            ({'lr': 0.1}, 97.5)
        """
        progress, evaluations = self._progress, self._progress.evaluations
        if not 0 <= number < progress.asked:
            raise ValueError(f"candidate {number} was never asked for")
        if evaluations[number].done:
            raise ValueError(f"candidate {number} already has its score")
        evaluations[number].done = True
        evaluations[number].score = None if score is None or not math.isfinite(score) else float(score)
        progress.told += 1
        if progress.told == len(evaluations):
            self._close_axis()

    def _axis_configs(self) -> list[Config]:
        name, values = list(self.axes.items())[self._progress.axis]
        return [{**self._progress.incumbent, name: value} for value in values]

    def _open_axis(self) -> None:
        progress = self._progress
        name = list(self.axes)[progress.axis]
        for config in self._axis_configs():
            if _key(config) not in self._numbers:
                number = len(progress.evaluations)
                self._numbers[_key(config)] = number
                progress.evaluations.append(_Evaluation(Candidate(number, config, name, progress.axis_pass)))

    def _close_axis(self) -> None:
        """Every candidate has its score: move the incumbent, and on to the next axis that has something to evaluate."""
        progress = self._progress
        while not progress.finished and progress.told == len(progress.evaluations):
            best = progress.incumbent
            for config in self._axis_configs():
                if self._rank(config) > self._rank(best):
                    best = config
            progress.moved = progress.moved or best is not progress.incumbent
            progress.incumbent = best
            progress.axis += 1
            if progress.axis == len(self.axes):
                progress.finished = not progress.moved or progress.axis_pass == self.passes
                progress.axis, progress.moved = 0, False
                progress.axis_pass += 1
            if not progress.finished:
                self._open_axis()

    def _rank(self, config: Config) -> float:
        """Higher is better, whatever the mode; minus infinity for a configuration that failed."""
        score = self._progress.evaluations[self._numbers[_key(config)]].score
        if score is None:
            return -math.inf
        return score if self.mode == "max" else -score

    def state(self) -> dict[str, Any]:
        """Everything that has happened, as plain lists, numbers and strings (and the axes' own values)."""
        progress = self._progress
        return {
            "incumbent": dict(progress.incumbent),
            "axis": progress.axis,
            "axis_pass": progress.axis_pass,
            "moved": progress.moved,
            "finished": progress.finished,
            "asked": progress.asked,
            "evaluations": [
                (e.candidate.config, e.candidate.axis, e.candidate.axis_pass, e.done, e.score)
                for e in progress.evaluations
            ],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up the state of a search with the same axes, start, mode and passes.

        Example:
            >>> search, other = LinearSearch({"lr": [0.1, 1.0]}), LinearSearch({"lr": [0.1, 1.0]})
            >>> search.tell(search.ask().number, 97.5)
            >>> other.restore(search.state())
            >>> other.best
            ({'lr': 0.1}, 97.5)
        """
        self._progress = _Progress(
            incumbent=dict(state["incumbent"]),
            axis=state["axis"],
            axis_pass=state["axis_pass"],
            moved=state["moved"],
            finished=state["finished"],
            asked=state["asked"],
            told=sum(done for *_, done, _ in state["evaluations"]),
            evaluations=[
                _Evaluation(Candidate(number, dict(config), axis, axis_pass), done, score)
                for number, (config, axis, axis_pass, done, score) in enumerate(state["evaluations"])
            ],
        )
        self._numbers = {
            _key(evaluation.candidate.config): number for number, evaluation in enumerate(self._progress.evaluations)
        }
