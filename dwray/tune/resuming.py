"""Going on with an experiment: trials have names that stay the same, and those that ended are not run again."""

import copy
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from ray.tune.search import Searcher

from dwray.tune.searcher import FixedTrials, LinearSearch
from dwray.tune.trainables import KEY


def trial_key(stage: str, config: Mapping[str, Any]) -> str:
    """The name of a trial in its run: a hash of its stage and of all that its config says."""
    text = json.dumps([stage, {name: config[name] for name in config if name != KEY}], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


class Resuming(Searcher):  # type: ignore[misc]
    """Suggests what a searcher does, less the trials that ended already: it is told their results at once.

    A search is a function of its results, so that it takes the way that it took before: the records are its memory,
    and no state of Tune's or of the searcher's is needed.

    Args:
        searcher: At its beginning.
        stage: Names the trials, with their configs.
        ended: What is known, by ``trial_key``: the score, or None where it failed or diverged (or nothing is searched).
    """

    def __init__(self, searcher: LinearSearch | FixedTrials, stage: str, ended: Mapping[str, float | None]) -> None:
        super().__init__(metric=searcher.metric, mode=searcher.mode)
        self.inner = searcher
        self._stage, self._ended = stage, dict(ended)
        self.known: list[str] = []
        """Keys of the trials that were not run again, in the order in which they were suggested."""
        probe = copy.deepcopy(self)
        if probe.suggest("probe") == Searcher.FINISHED:
            self.suggest("known")

    @property
    def finished(self) -> bool:
        """Nothing is left to be run."""
        return self.inner.finished

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any) -> bool:
        """The searcher takes them."""
        return bool(self.inner.set_search_properties(metric, mode, config, **spec))

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next configuration that is not known, with its key."""
        while True:
            config = self.inner.suggest(trial_id)
            if not isinstance(config, dict):
                return config
            key = trial_key(self._stage, config)
            if key not in self._ended:
                return {**config, KEY: key}
            self.known.append(key)
            score = self._ended[key]
            self.inner.on_trial_complete(trial_id, {str(self.metric): score}, error=score is None)

    def on_trial_complete(self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False) -> None:
        """The searcher is told; a training that diverged loses, whatever its last accuracy was."""
        diverged = result is not None and bool(result.get("diverged"))
        self.inner.on_trial_complete(trial_id, None if diverged else result, error or diverged)

    def save(self, checkpoint_path: str) -> None:
        """As the searcher does."""
        self.inner.save(checkpoint_path)

    def restore(self, checkpoint_path: str) -> None:
        """As the searcher does."""
        self.inner.restore(checkpoint_path)
