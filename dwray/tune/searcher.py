"""The linear search as a ``ray.tune.search.Searcher``, for anybody's trainable."""

import logging
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from ray.tune.search import Searcher

from dwray.search.linear import Candidate
from dwray.search.linear import LinearSearch as Line

logger = logging.getLogger(__name__)


class LinearSearch(Searcher):  # type: ignore[misc]
    """Search one axis at a time, the others held at their best values so far.

    All values of an axis run side by side; a configuration is never evaluated twice; a tie goes to the incumbent; a
    trial that fails, or whose last result lacks the metric or has it NaN or infinite, loses. The score of a trial is
    the metric in its last result. The state is saved and restored with Tune's experiment checkpoints.

    Several searches, called lines, can advance in one experiment, so that the barrier of one leaves no slot idle.

    Tune runs ``num_samples`` trials at most, and 1 unless told otherwise: give it ``max_trials``, or -1.

    Source: section 4.1 of the paper names the linear search; :mod:`dwray.search.linear` says what that leaves open.

    Args:
        axes: The values of each axis, in the order in which the axes are taken.
        start: The first incumbent: where an axis starts (its first value unless given), and constants of every trial.
        metric: What is compared; it may come from ``TuneConfig`` instead if a ``param_space`` is given there.
        mode: "min" or "max".
        lines: For each line, by name, what differs in its start; one line named "" unless given.
        passes: At most this many passes over the axes; None goes on until a pass moves nothing.

    Raises:
        ValueError: No axis, an axis without values or with a value twice, a mode or number of passes out of range.

    Example:
        >>> from ray import tune
        >>> import dwray
        >>> search = dwray.LinearSearch(
        ...     axes={"lr": [0.01, 0.1], "batch_size": [64, 256]},
        ...     start={"lr": 0.01},
        ...     lines={"small": {"width": 0.5}, "large": {"width": 1.0}},
        ...     metric="accuracy",
        ...     mode="max",
        ... )
        >>> search.max_trials  # three of each line: a configuration is never tried twice
        6
        >>> config = tune.TuneConfig(search_alg=search, num_samples=search.max_trials)

        ``tune.Tuner(trainable, tune_config=config).fit()`` runs it, and ``search.best("small")`` is then the winner of
        a line with its score. By hand:

        >>> search.suggest("a trial")
        {'lr': 0.01, 'batch_size': 64, 'width': 0.5}
        >>> search.on_trial_complete("a trial", {"accuracy": 0.93})
    """

    def __init__(
        self,
        axes: Mapping[str, Sequence[Any]],
        start: Mapping[str, Any] | None = None,
        *,
        metric: str | None = None,
        mode: Literal["min", "max"] | None = None,
        lines: Mapping[str, Mapping[str, Any]] | None = None,
        passes: int | None = 1,
    ) -> None:
        if mode not in (None, "min", "max"):
            raise ValueError(f"mode must be 'min' or 'max', not {mode!r}")
        super().__init__(metric=metric, mode=mode)
        self._metric: str | None = metric
        self._mode: str | None = mode
        self._lines = {
            name: Line(axes, {**(start or {}), **own}, mode=mode or "max", passes=passes)
            for name, own in (lines or {"": {}}).items()
        }
        self._trials: dict[str, tuple[str, int]] = {}
        self._next = 0

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any) -> bool:
        """Take metric and mode from ``TuneConfig`` where the constructor was not told them."""
        if metric and self._metric is None:
            self._metric = metric
        if mode in ("min", "max") and self._mode is None:
            self._mode = mode
            for line in self._lines.values():
                line.mode = mode  # type: ignore[assignment]  # nothing has been told yet
        samples = spec.get("num_samples", -1)
        if 0 <= samples < self.max_trials:
            logger.warning("num_samples=%d ends the search early: it takes up to %d trials.", samples, self.max_trials)
        return True

    @property
    def max_trials(self) -> int:
        """The most trials that the search can take, for ``num_samples``; -1 (Tune's "no limit") if passes is None.

        Example:
            >>> LinearSearch({"lr": [0.1, 1.0], "depth": [2, 4]}, metric="loss", mode="min").max_trials
            3
        """
        counts = [line.max_evaluations for line in self._lines.values()]
        return -1 if None in counts else sum(count for count in counts if count is not None)

    @property
    def finished(self) -> bool:
        """Every line has its winner.

        Example:
            >>> search = LinearSearch({"lr": [0.1, 1.0]}, metric="loss", mode="min")
            >>> search.suggest("first"), search.suggest("second"), search.finished
            ({'lr': 0.1}, {'lr': 1.0}, False)
            >>> search.on_trial_complete("first", {"loss": 2.0})
            >>> search.on_trial_complete("second", {"loss": 1.0})
            >>> search.finished
            True
        """
        return all(line.finished for line in self._lines.values())

    def best(self, line: str = "") -> tuple[dict[str, Any], float] | None:
        """The winner of a line, and its score; None if no trial of the line has given one.

        Before the search is finished it is the incumbent, which the open axis may yet move.

        Raises:
            KeyError: There is no such line.

        Example:
            >>> search = LinearSearch({"lr": [0.1, 1.0]}, metric="loss", mode="min")
            >>> for trial, loss in (("first", 2.0), ("second", 1.0)):
            ...     _ = search.suggest(trial)
            ...     search.on_trial_complete(trial, {"loss": loss})
            >>> search.best()
            ({'lr': 1.0}, 1.0)
        """
        if not self.finished:
            logger.warning(
                "The search is not finished after %d trials: TuneConfig(num_samples=%d) lets it come to its end.",
                len(self._trials),
                self.max_trials,
            )
        return self._lines[line].best

    def candidate(self, trial_id: str) -> Candidate:
        """The candidate that a trial evaluates, with the axis that it varies.

        Raises:
            KeyError: The trial is not of this search.

        Example:
            >>> search = LinearSearch({"lr": [0.1, 1.0]}, metric="loss", mode="min")
            >>> _ = search.suggest("first")
            >>> search.candidate("first").axis
            'lr'
        """
        line, number = self._trials[trial_id]
        return self._lines[line].candidate(number)

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next configuration; None at a barrier, ``FINISHED`` when every line is done."""
        if self._metric is None or self._mode is None:
            raise ValueError("LinearSearch needs a metric and a mode: LinearSearch(..., metric='loss', mode='min')")
        if self.finished:
            return str(Searcher.FINISHED)
        # The lines take turns, so that each has work in hand when another waits at a barrier.
        names = list(self._lines)
        for offset in range(len(names)):
            name = names[(self._next + offset) % len(names)]
            candidate = self._lines[name].ask()
            if candidate is not None:
                self._next = (self._next + offset + 1) % len(names)
                self._trials[trial_id] = name, candidate.number
                return dict(candidate.config)
        return None

    def on_trial_complete(self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False) -> None:
        """Tell the line how a trial ended."""
        name, number = self._trials[trial_id]
        if self._lines[name].is_told(number):  # restarted, by Tuner.restore(restart_errored=True), after its end
            return
        score = None if error or result is None else result.get(str(self._metric))
        if score is None and not error:
            logger.warning("Trial %s ended without a result that has %r: it loses.", trial_id, self._metric)
        self._lines[name].tell(number, score)

    def save(self, checkpoint_path: str) -> None:
        """Write the state to a file; Tune does so with every experiment checkpoint."""
        state = {
            "lines": {name: line.state() for name, line in self._lines.items()},
            "trials": dict(self._trials),
            "next": self._next,
        }
        Path(checkpoint_path).write_bytes(pickle.dumps(state))

    def restore(self, checkpoint_path: str) -> None:
        """Take up the state that :meth:`save` wrote, in a search made with the same arguments."""
        state = pickle.loads(Path(checkpoint_path).read_bytes())
        for name, line in self._lines.items():
            line.restore(state["lines"][name])
        self._trials = dict(state["trials"])
        self._next = state["next"]


class FixedTrials(Searcher):  # type: ignore[misc]
    """Runs the given configurations, in their order, once each.

    Unlike a grid search over them, it keeps each configuration flat, as the trainable wants it.
    """

    def __init__(self, configs: Sequence[Mapping[str, Any]]) -> None:
        super().__init__()
        self._configs = [dict(config) for config in configs]
        self._given = self._ended = 0

    @property
    def finished(self) -> bool:
        """Every configuration was run, or failed."""
        return self._ended == len(self._configs)

    def suggest(self, trial_id: str) -> dict[str, Any] | str:
        """The next configuration, or ``FINISHED``."""
        if self._given == len(self._configs):
            return str(Searcher.FINISHED)
        self._given += 1
        return self._configs[self._given - 1]

    def on_trial_complete(self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False) -> None:
        """Count a trial; nothing depends on how it ended."""
        self._ended += 1

    def save(self, checkpoint_path: str) -> None:
        """Write how many configurations were given out and ended."""
        Path(checkpoint_path).write_bytes(pickle.dumps((self._given, self._ended)))

    def restore(self, checkpoint_path: str) -> None:
        """Go on where :meth:`save` stood."""
        self._given, self._ended = pickle.loads(Path(checkpoint_path).read_bytes())
