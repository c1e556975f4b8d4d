"""A sweep's stages on Ray Tune: search, train the winners, time them."""

import dataclasses
import time
from collections.abc import Callable, Container, Mapping
from functools import partial
from typing import Any

import ray
from ray import tune
from ray.tune.experiment import Trial

from dwray.core import checkpoint
from dwray.core.complexity import complexity
from dwray.core.config import (
    MEMORY_FORMATS,
    NOTEBOOK_EXECUTION,
    PLAIN_MODE,
    SWITCHES,
    TRAINING_SWITCHES,
    ProtocolConfig,
    in_yaml,
)
from dwray.core.data import ImageData, split
from dwray.core.savepoints import SavedStates
from dwray.errors import DataError, RunError
from dwray.results.progress import Listener, Notice, StageProgress, TrialProgress, Work
from dwray.results.records import Records
from dwray.results.run_standing import trial_progress
from dwray.results.standing import score_text
from dwray.results.store import ENDS, RunStore
from dwray.results.table import Row
from dwray.search.plan import pass_kinds, search_epochs, training_protocols, workloads
from dwray.spec import SweepSpec
from dwray.storage import Storage, write_atomically
from dwray.tune.cluster import check_shared, nodes, wait_for_workers
from dwray.tune.placement import place
from dwray.tune.protocol import check_protocol
from dwray.tune.resuming import trial_key
from dwray.tune.searcher import FixedTrials, LinearSearch
from dwray.tune.stage import Stage, run_stage
from dwray.tune.trainables import TRAINING_SETTINGS, TimeTrial, TrainTrial


class Sweep:
    """Runs the stages of one sweep, in a cluster that is there, into one store.

    Args:
        spec: What to run.
        data: The images.
        store: Where the records go; what an earlier driver left there is not run again.
        states: Where trainings save their states; every node reaches it.
        listen: Is told how it gets on.
        verbose: Let Tune print its own tables too.
    """

    def __init__(
        self,
        spec: SweepSpec,
        data: ImageData,
        store: RunStore,
        states: Storage,
        listen: Listener,
        *,
        verbose: bool = False,
    ) -> None:
        self.spec, self.data, self.store, self.states = spec, data, store, states
        self.listen, self.verbose = listen, verbose
        self._told: set[str] = set()
        self.workloads = workloads(spec)
        shape = (data.train.pixels.shape[3], *data.train.pixels.shape[1:3])
        self.columns = {contender: self._network_columns(contender, shape) for contender in spec.networks}
        splits = {
            tuning: split(data, spec.data, tune_on_test_set=tuning)
            for tuning in {protocol.tune_on_test_set for protocol in spec.protocols}
        }
        for protocol in spec.protocols:
            check_protocol(protocol, splits[protocol.tune_on_test_set], spec)
        # A mapping, because Tune would try to store a bare reference once more.
        self.images = {tuning: ray.put(images) for tuning, images in splits.items()}
        if not states.remote:
            check_shared(store.paths.trials)
        wait_for_workers(listen)
        self._place()

    def _place(self) -> None:
        """Say what trials are given of the nodes that there are now; they come and go while a sweep runs."""
        self.placement = place(self.spec.resources, nodes(), timing=self.spec.timing is not None)
        for notice in self.placement.notices:
            if notice not in self._told:
                self._told.add(notice)
                self.listen(Notice(notice))

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles whatever names its trials: all of this belongs to the driver and stays behind."""
        return {}

    def _network_columns(self, contender: str, shape: tuple[int, int, int]) -> Row:
        network, width = self.spec.network_of(contender), self.spec.width_of(contender)
        try:
            cost = complexity(network, classes=len(self.data.classes), width=width, image_shape=shape)
        except ValueError as error:
            raise DataError(f"{self.data.name}: {error}; --set data.image_size=... resizes them") from error
        return {
            "contender": contender,
            "network": network,
            "width": width,
            "parameters": cost.parameters,
            "macs": cost.macs,
        }

    def search(self) -> dict[str, dict[str, Any]]:
        """Find each contender's settings; a contender all of whose trials failed or diverged has no entry."""
        spec = self.spec
        if not spec.search.axes:
            return {contender: {} for contender in spec.networks}
        searcher = LinearSearch(
            spec.search.axes,
            lines={
                contender: self._training_config(
                    contender, seed=spec.search.seed, test=False, epochs=search_epochs(spec, contender)
                )
                for contender in spec.networks
            },
            metric=spec.search.metric,
            mode=spec.search.mode,
            passes=spec.search.passes,
        )

        def varies(trial: Trial) -> str:
            candidate = searcher.candidate(trial.trial_id)
            suffix = f" (pass {candidate.axis_pass})" if candidate.axis_pass > 1 else ""
            return f"{candidate.axis}={in_yaml(candidate.config[candidate.axis])}{suffix}"

        def describe(trial: Trial) -> Row:
            candidate = searcher.candidate(trial.trial_id)
            return {"axis": candidate.axis, "axis_pass": candidate.axis_pass, "winner": False}

        winners: dict[str, dict[str, Any]] = {}

        def found() -> tuple[str, ...]:
            notes = []
            for contender in spec.networks:
                best = searcher.best(contender)
                if best is None:
                    notes.append(f"{contender}: every search trial failed or diverged")
                    continue
                config, score = best
                winners[contender] = {axis: config[axis] for axis in spec.search.axes}
                self._mark_winner(contender, winners[contender])
                chosen = ", ".join(f"{axis} {in_yaml(value)}" for axis, value in winners[contender].items())
                notes.append(f"{contender}: {chosen} ({score_text(score, spec.search.metric)})")
            return tuple(notes)

        self._run(
            Stage(
                name="search",
                trainable=self._training(),
                searcher=searcher,
                # One that failed lost its axis, and the search has gone on from there.
                ended={
                    row["trial_id"]: row[spec.search.metric] if row["status"] == "completed" else None
                    for row in self.store.trials("search")
                    if row["status"] in ENDS
                },
                trials=searcher.max_trials,
                work=self._work("search"),
                resources=self.placement.search,
                varies=varies,
                describe=describe,
                settings=lambda trial: ", ".join(f"{axis} {in_yaml(trial.config[axis])}" for axis in spec.search.axes),
            ),
            found,
        )
        return winners

    def _training(self) -> Any:
        return tune.with_parameters(
            TrainTrial, splits=self.images, states=self.states, save_minutes=self.spec.resources.save_minutes
        )

    def _done(self, stage: str) -> dict[str, float | None]:
        """The trials of a stage that need no second try: those that failed may have one, now that it is resumed."""
        return {row["trial_id"]: None for row in self.store.trials(stage) if row["status"] in ("completed", "diverged")}

    def train(self, winners: Mapping[str, Mapping[str, Any]]) -> dict[str, bytes]:
        """Train the winners in full, with every seed; the saved state of each contender's first completed seed."""
        protocols = training_protocols(self.spec)
        configs = [
            self._training_config(contender, seed=seed, test=True, protocol=protocol, **changes)
            for protocol in protocols
            for seed in self.spec.seeds
            for contender, changes in winners.items()
        ]
        if not configs:
            return {}

        def erratum(config: Mapping[str, Any]) -> str:
            """What a trial's protocol has turned, and nothing for the sweep's own."""
            turned = [name for name in TRAINING_SWITCHES if config[name] != getattr(self.spec.protocol, name)]
            return ", ".join(turned)

        def varies(trial: Trial) -> str:
            return ", ".join(filter(None, (f"seed={trial.config['seed']}", erratum(trial.config))))

        def weights_of(config: Mapping[str, Any]) -> bytes | None:
            return self._weights(config, erratum(config))

        # A training whose weights are lost or damaged goes on from what is sound, though its figures are known.
        done = self._done("train")
        for config in configs:
            key = trial_key("train", config)
            if self.store.trial(key).get("status") == "completed" and weights_of(config) is None:
                del done[key]
        self._run(
            Stage(
                name="train",
                trainable=self._training(),
                searcher=FixedTrials(configs),
                ended=done,
                trials=len(configs),
                work=self._work("train", winners),
                resources=self.placement.train,
                varies=varies,
                describe=lambda trial: {},
            )
        )
        weights: dict[str, bytes] = {}
        for config in configs:
            content = weights_of(config)
            if content and not erratum(config):
                weights.setdefault(config["contender"], content)
        return weights

    def _weights(self, config: Mapping[str, Any], erratum: str) -> bytes | None:
        """The state of a completed training, which is kept under a name that a person finds; None if none is sound."""
        key = trial_key("train", config)
        row = self.store.trial(key)
        if row.get("status") != "completed":
            return None
        path = self.store.paths.weights(config["contender"], config["seed"], erratum)
        saved = SavedStates(self.states.within(key), key)
        for read in (saved.last_content, path.read_bytes):
            try:
                content = read()
                checkpoint.check(content, where=str(path), identity=key, epochs_done=row["epochs_done"])
            except (OSError, RunError):
                continue
            if not path.is_file() or path.read_bytes() != content:
                write_atomically(path, content)
                if self.store.mirror:
                    self.store.mirror.put(path)
            return content
        self.listen(Notice(f"{row['trial']}: its trained state is lost or damaged"))
        return None

    def time(self, weights: Mapping[str, bytes]) -> None:
        """The test-time protocol over all contenders; one that was not trained is timed as it is initialised."""
        timing = self.spec.timing
        if timing is None:
            return
        self._place()
        configs = [
            {
                **dataclasses.asdict(kind),
                "tune_on_test_set": self.spec.protocol.tune_on_test_set,
                "normalisation": self.spec.protocol.normalisation,
                "memory_format": self._timing_format(),
                "passes": timing.passes,
                "warmup_batches": timing.warmup_batches,
                "threads": max(1, int(self.placement.time["cpu"])),
                "gpu_type": self.placement.gpu_type,
            }
            for kind in pass_kinds(self.spec)
        ]
        # Timed with other threads or on another GPU, a kind is another trial, which takes the place of the first.
        self.store.drop_trials("time", keep={trial_key("time", config) for config in configs})
        contenders = {
            contender: (
                self.spec.network_of(contender),
                self.spec.width_of(contender),
                weights.get(contender),
            )
            for contender in self.spec.networks
        }

        def varies(trial: Trial) -> str:
            kind = "with loader" if trial.config["loader"] else "network alone"
            if trial.config["notebook_loader"]:
                kind = "with the notebooks' loader"
            statistics = ", batch statistics" if trial.config["batch_statistics"] else ""
            mode = f", {trial.config['mode']}" if trial.config["mode"] != PLAIN_MODE else ""
            return f"{trial.config['set']} set, batch {trial.config['batch_size']}, {kind}{statistics}{mode}"

        self._run(
            Stage(
                name="time",
                trainable=tune.with_parameters(TimeTrial, splits=self.images, contenders=contenders),
                searcher=FixedTrials(configs),
                ended=self._done("time"),
                trials=len(configs),
                work=self._work("time"),
                resources=self.placement.time,
                varies=varies,
                describe=lambda trial: {"batch_size": trial.config["batch_size"]},
                exclusive=True,
            )
        )

    def _timing_format(self) -> str:
        """Layout of the timed networks: the notebooks' under their protocol."""
        base = self.spec.protocol.base
        return str(NOTEBOOK_EXECUTION["memory_format"] if base == "paper" else MEMORY_FORMATS[0])

    def _training_config(
        self, contender: str, *, seed: int, test: bool, protocol: ProtocolConfig | None = None, **changes: Any
    ) -> dict[str, Any]:
        """All that a TrainTrial needs, flat."""
        protocol = protocol or self.spec.protocol
        return {
            **{name: getattr(protocol, name) for name in SWITCHES},
            "contender": contender,
            "network": self.spec.network_of(contender),
            "width": self.spec.width_of(contender),
            "seed": seed,
            "threads": max(1, int(self.placement.search["cpu"])),
            "test": test,
            **dataclasses.asdict(self.spec.training_of(contender, **changes)),
        }

    def _mark_winner(self, contender: str, settings: Mapping[str, Any]) -> None:
        for row in self.store.trials("search"):
            if row["contender"] == contender and all(value in (row[axis], "auto") for axis, value in settings.items()):
                self.store.update_trial(row["trial_id"], winner=True)

    def _run(self, stage: Stage, found: Callable[[], tuple[str, ...]] = tuple) -> None:
        began = time.monotonic()
        self.listen(
            StageProgress(
                stage.name,
                planned_trials=None if stage.trials < 0 else stage.trials,
                work=stage.work,
                earlier=self._earlier(stage),
                metric=self.spec.search.metric,
            )
        )
        run_stage(
            stage,
            self.store,
            self.listen,
            describe=partial(self._describe, stage),
            retries=self.spec.resources.retries,
            verbose=self.verbose,
        )
        notes = found()
        self.store.flush()
        self.listen(StageProgress(stage.name, ended=True, seconds=time.monotonic() - began, notes=notes))

    def _work(self, stage: str, contenders: Container[str] | None = None) -> tuple[Work, ...]:
        """What a stage plans, for all contenders or for some."""
        planned = self.workloads[stage].items()
        return tuple(Work(name, *work) for name, work in planned if contenders is None or name in contenders)

    def _earlier(self, stage: Stage) -> tuple[TrialProgress, ...]:
        """The trials of a stage that ended under an earlier driver, from the records that it left."""
        if not stage.ended:
            return ()
        records = Records.read(self.store.paths)
        rows = [row for row in records.of_stage(stage.name) if row["trial_id"] in stage.ended]
        return tuple(trial_progress(records, row, tuple(self.spec.search.axes)) for row in rows)

    def _describe(self, stage: Stage, trial: Trial) -> Row:
        """The columns of a trial's row that are known when it starts."""
        return {
            "stage": stage.name,
            "dataset": self.data.name,
            "classes": len(self.data.classes),
            "synthetic": self.data.synthetic,
            **self.columns.get(trial.config.get("contender"), {}),
            **{
                key: trial.config[key]
                for key in ("seed", *TRAINING_SETTINGS, *TRAINING_SWITCHES)
                if trial.config.get(key, "auto") != "auto"  # what it means, the trial will tell
            },
            **stage.describe(trial),
        }
