"""What a run measured, read back from its Parquet files."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import pyarrow as pa

from dwray.core.config import PLAIN_MODE, TRAINING_SWITCHES, ProtocolConfig
from dwray.errors import RunError
from dwray.paths import RunPaths
from dwray.results.epochs import EpochRows, Epochs
from dwray.results.schema import EPOCHS, TIMINGS, TRIALS
from dwray.results.sound import fault_of_identity
from dwray.results.store import COPY_AGAIN, read_parquet


class RunTables(NamedTuple):
    """A run's three Parquet files, read and checked."""

    trials: pa.Table
    epochs: pa.Table
    timings: pa.Table

    @classmethod
    def read(cls, paths: RunPaths) -> "RunTables":
        """Read them.

        Raises:
            RunError: One is missing, damaged, of another schema version, or holds what no run writes.
        """
        trials = read_parquet(paths.trials, TRIALS)
        if fault := fault_of_identity(_identity_in(trials)):
            raise RunError(f"{paths.trials}: {fault}; {COPY_AGAIN}")
        return cls(trials, read_parquet(paths.epochs, EPOCHS), read_parquet(paths.timings, TIMINGS))


def _identity_in(table: pa.Table) -> dict[str, str]:
    """The metadata that a run wrote into a table."""
    return {
        key.decode(errors="replace"): value.decode(errors="replace")
        for key, value in (table.schema.metadata or {}).items()
        if not key.startswith(b"ARROW:")
    }


@dataclass(frozen=True)
class Records:
    """What a run measured, as rows."""

    trials: list[dict[str, Any]]
    epochs: Epochs
    timings: list[dict[str, Any]]
    identity: Mapping[str, str]
    """Metadata of the files: sweep, run_id, dwray_version, schema_version."""

    @classmethod
    def read(cls, paths: RunPaths) -> "Records":
        """Read a run's three Parquet files.

        Raises:
            RunError: One is missing, damaged, of another schema version, or holds what no run writes.
        """
        return cls.of_tables(RunTables.read(paths))

    @classmethod
    def of_tables(cls, tables: RunTables) -> "Records":
        """The same of files that were read already."""
        return cls(
            tables.trials.to_pylist(),
            Epochs(tables.epochs),
            tables.timings.to_pylist(),
            _identity_in(tables.trials),
        )

    def of_stage(self, stage: str, contender: str | None = None) -> list[dict[str, Any]]:
        """The trials of a stage, of all contenders or of one."""
        return self._by_stage.get((stage, contender), [])

    @cached_property
    def _by_stage(self) -> dict[tuple[str, str | None], list[dict[str, Any]]]:
        """The trials of each stage, of all contenders (None) and of each: found once, asked for by every table."""
        found: dict[tuple[str, str | None], list[dict[str, Any]]] = {}
        for row in self.trials:
            # A timing is of no contender.
            for contender in {None, row["contender"]}:
                found.setdefault((row["stage"], contender), []).append(row)
        return found

    @cached_property
    def _first_of(self) -> dict[str | None, dict[str, Any]]:
        """The first trial of each contender."""
        return {row["contender"]: row for row in reversed(self.trials)}

    def first_trial(self, contender: str) -> dict[str, Any] | None:
        """The first trial of a contender, which has its columns; None before there is one."""
        return self._first_of.get(contender)

    @property
    def contenders(self) -> list[str]:
        """In the sweep file's order."""
        names: list[str] = json.loads(self.identity["contenders"])
        return names

    @cached_property
    def protocol(self) -> ProtocolConfig:
        """The protocol of the run."""
        return ProtocolConfig(**json.loads(self.identity["protocol"]))

    @property
    def errata(self) -> tuple[str, ...]:
        """The switches that were turned, one at a time, against the run's protocol."""
        return tuple(json.loads(self.identity["errata"]))

    @property
    def compare_with(self) -> str | None:
        """Which of the paper's experiments stands beside this run: cifar10, cifar100 or none."""
        return self.identity.get("compare_with") or None

    @property
    def dataset(self) -> str:
        """What the images are called."""
        return next((row["dataset"] for row in self.trials), "no data")

    @property
    def classes(self) -> int | None:
        """Number of classes, where a trial was run."""
        return next((row["classes"] for row in self.trials), None)

    def network(self, contender: str) -> str | None:
        """The registry's name of a contender; None before its first trial."""
        first = self.first_trial(contender)
        return first["network"] if first else None

    def contender_of(self, network: str) -> str | None:
        """The first contender with a network of the registry."""
        return next((name for name in self.contenders if self.network(name) == network), None)

    def trainings(self, contender: str, protocol: ProtocolConfig | None = None) -> list[dict[str, Any]]:
        """The completed trainings of a contender under a protocol (the run's own), one for each seed."""
        return [row for row in self.train_trials(contender, protocol) if row["status"] == "completed"]

    def train_trials(self, contender: str, protocol: ProtocolConfig | None = None) -> list[dict[str, Any]]:
        """The trainings of a contender under a protocol (the run's own), whatever became of them."""
        wanted = protocol or self.protocol
        switches = [getattr(wanted, switch) for switch in TRAINING_SWITCHES]
        trials = self.of_stage("train", contender)
        return [row for row in trials if [row[switch] for switch in TRAINING_SWITCHES] == switches]

    def by_seed(
        self,
        contender: str,
        value: Callable[[Mapping[str, Any]], float | None],
        protocol: ProtocolConfig | None = None,
    ) -> dict[int, float]:
        """A number of each completed training of a contender, by seed; a training that has none is left out.

        Args:
            contender: Whose trainings.
            value: The number, from a training's row.
            protocol: Of the trainings; the run's own if none is given.
        """
        found = {row["seed"]: value(row) for row in self.trainings(contender, protocol)}
        return {seed: number for seed, number in found.items() if number is not None}

    def test_accuracy(self, row: Mapping[str, Any], protocol: ProtocolConfig | None = None) -> float | None:
        """Test accuracy of a training in percent, as a protocol (the run's own) measures it."""
        prefix = "batch_statistics_" if (protocol or self.protocol).batch_statistics_at_test else ""
        accuracy: float | None = row[f"{prefix}test_accuracy_percent"]
        return accuracy

    @property
    def test_accuracy_resolution(self) -> float:
        """Step between the test accuracies that can occur, in percentage points; 0 where no test set was timed."""
        images = max((row["images"] for row in self.timings if row["set"] == "test"), default=None)
        return 100 / images if images else 0.0

    def epochs_of(self, row: Mapping[str, Any]) -> EpochRows:
        """The epochs of a training, in order."""
        return self.epochs.of(row["trial_id"])

    def passes(
        self, images: str, batch_size: int, loader: bool, protocol: ProtocolConfig | None = None
    ) -> dict[str, list[dict[str, Any]]]:
        """The timed passes of each contender over a set (train, test), as a protocol (the run's own) times them.

        Pass by pass in the order in which they ran: the networks took turns, so that passes of one number are a pair.
        """
        wanted = protocol or self.protocol
        return self._passes(
            lambda row: (
                (row["set"], row["batch_size"], row["loader"]) == (images, batch_size, loader)
                and row["mode"] in (None, PLAIN_MODE)
                and row["batch_statistics"] == wanted.batch_statistics_at_test
                and (not loader or row["notebook_loader"] == wanted.notebook_loader)
            )
        )

    def passes_in_mode(self, images: str, batch_size: int, mode: str) -> dict[str, list[dict[str, Any]]]:
        """The timed passes of each contender's network alone in a mode, batch norm in evaluation mode."""
        return self._passes(
            lambda row: (
                (row["set"], row["batch_size"], row["loader"]) == (images, batch_size, False)
                and (row["mode"] or PLAIN_MODE) == mode
                and not row["batch_statistics"]
            )
        )

    def _passes(self, wanted: Callable[[Mapping[str, Any]], bool]) -> dict[str, list[dict[str, Any]]]:
        """The passes that are wanted by contender, in the order in which they ran."""
        found: dict[str, list[dict[str, Any]]] = {}
        for row in sorted(filter(wanted, self.timings), key=lambda row: row["pass_number"]):
            found.setdefault(row["contender"], []).append(row)
        return {name: found[name] for name in self.contenders if name in found}

    @property
    def disturbed_timings(self) -> list[dict[str, Any]]:
        """One timed pass of each timing that did not have its device to itself."""
        first = {row["trial_id"]: row for row in reversed(self.timings) if row["exclusive"] is False}
        return list(reversed(first.values()))

    @property
    def failed(self) -> list[dict[str, Any]]:
        """Trials that failed for good."""
        return [row for row in self.trials if row["status"] == "failed"]

    @property
    def diverged(self) -> list[dict[str, Any]]:
        """Trials whose loss became no number."""
        return [row for row in self.trials if row["status"] == "diverged"]

    @property
    def synthetic(self) -> bool:
        """The images are random numbers."""
        return any(row["synthetic"] for row in self.trials)
