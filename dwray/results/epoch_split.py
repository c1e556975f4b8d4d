"""Where the time of an epoch goes: data, step and validation, in seconds."""

from dataclasses import dataclass

from dwray.results.records import Records
from dwray.results.statistics import mean


@dataclass(frozen=True)
class EpochSplit:
    """Seconds of a contender's epoch, mean over the epochs of a training and then over the seeds."""

    contender: str
    data: float
    step: float
    validation: float
    seeds: int

    @property
    def total(self) -> float:
        """The three parts together."""
        return self.data + self.step + self.validation


def epoch_splits(records: Records) -> list[EpochSplit]:
    """Of each contender with a completed training, the parts of its epoch; what was not recorded is zero long."""
    found = []
    for contender in records.contenders:
        epochs = [rows for row in records.trainings(contender) if (rows := records.epochs_of(row))]
        parts = [
            mean(mean(rows.column(f"{part}_seconds")) for rows in epochs) for part in ("data", "step", "validation")
        ]
        if any(parts):
            data, step, validation = (part or 0.0 for part in parts)
            found.append(EpochSplit(contender, data, step, validation, len(epochs)))
    return found
