"""What a run measured, read back from its Parquet files."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dwray.paths import RunPaths
from dwray.results.schema import EPOCHS, TIMINGS, TRIALS
from dwray.results.store import read_parquet


@dataclass(frozen=True)
class Records:
    """What a run measured, as rows."""

    trials: list[dict[str, Any]]
    epochs: list[dict[str, Any]]
    timings: list[dict[str, Any]]
    identity: Mapping[str, str]
    """Metadata of the files: sweep, run_id, dwray_version, schema_version."""

    @classmethod
    def read(cls, paths: RunPaths) -> "Records":
        """Read a run's three Parquet files.

        Raises:
            RunError: One is missing, truncated, or of another schema version.
        """
        trials = read_parquet(paths.trials, TRIALS)
        identity = {
            key.decode(): value.decode()
            for key, value in (trials.schema.metadata or {}).items()
            if not key.startswith(b"ARROW:")
        }
        return cls(
            trials.to_pylist(),
            read_parquet(paths.epochs, EPOCHS).to_pylist(),
            read_parquet(paths.timings, TIMINGS).to_pylist(),
            identity,
        )

    def of_stage(self, stage: str, contender: str | None = None) -> list[dict[str, Any]]:
        """The trials of a stage, of all contenders or of one."""
        return [row for row in self.trials if row["stage"] == stage and contender in (None, row["contender"])]

    @property
    def contenders(self) -> list[str]:
        """In the sweep file's order."""
        names: list[str] = json.loads(self.identity["contenders"])
        return names

    @property
    def failed(self) -> list[dict[str, Any]]:
        """Trials that failed for good."""
        return [row for row in self.trials if row["status"] == "failed"]

    @property
    def synthetic(self) -> bool:
        """The images are random numbers."""
        return any(row["synthetic"] for row in self.trials)
