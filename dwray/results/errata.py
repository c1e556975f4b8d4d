"""What each of the paper's flaws is worth: a switch of the protocol turned, everything else as it was."""

from collections.abc import Sequence
from functools import partial

import pyarrow as pa

from dwray.core.config import TRAINING_SWITCHES, ProtocolConfig, in_yaml, switches_of
from dwray.results.comparison import NO_INTERVAL, unfinished_trainings
from dwray.results.curves import train_seconds
from dwray.results.one_device import kinds, mixed_devices, training_time_ratio
from dwray.results.records import Records
from dwray.results.statistics import Estimate, paired_difference, ratio_of_means
from dwray.results.table import Column, Row, Table

_REAL = pa.float64()
_EFFECTS = ("accuracy_points", "epoch_time_percent", "test_time_percent")

_COLUMNS = (
    Column("switch", "switch", pa.string(), group=True, section=True),
    Column("contender", "network", pa.string()),
    Column("accuracy_points", "test, points", _REAL, "+.2f"),
    Column("accuracy_points_half_width", "95% ±", _REAL, ".2f"),
    Column("epoch_time_percent", "s/epoch, %", _REAL, "+.1f"),
    Column("epoch_time_percent_half_width", "95% ±", _REAL, ".3g"),
    Column("test_time_percent", "test s, %", _REAL, "+.1f"),
    Column("test_time_percent_half_width", "95% ±", _REAL, ".3g"),
    *(
        Column(f"{effect}_{end}", f"{heading}: 95% {end}", _REAL, "+.3g", wide=True)
        for effect, heading in zip(_EFFECTS, ("test", "s/epoch", "test s"), strict=True)
        for end in ("low", "high")
    ),
    Column("seeds", "seeds", pa.int64(), wide=True),
)


def errata(records: Records) -> Table:
    """One row for each switch and contender; a run that turned none has no such table."""
    rows = []
    kind = max(((row["batch_size"], row["set"]) for row in records.timings), default=None)
    unfinished = unfinished_trainings(records)
    for erratum in records.errata:
        switches = switches_of(erratum)
        turned = records.protocol.turn(*switches)
        settings = [f"{switch}: {in_yaml(getattr(turned, switch))}" for switch in switches]
        unfinished += [note for note in unfinished_trainings(records, turned) if note not in unfinished]
        for contender in records.contenders:
            row: dict[str, object] = {"switch": " + ".join(settings), "contender": contender}
            row.update(_effect("accuracy_points", _accuracy(records, contender, turned)))
            if set(switches) & set(TRAINING_SWITCHES):
                row.update(_effect("epoch_time_percent", _percent(_epoch_time(records, contender, turned))))
            if kind and _timed_otherwise(records.protocol, turned):
                row.update(_effect("test_time_percent", _percent(_test_time(records, contender, turned, *kind))))
            row["seeds"] = len(records.trainings(contender, turned))
            rows.append(row)
    notes = [
        f"The effect of turning one switch of the protocol ({records.protocol}), everything else as it was. Accuracy "
        "and seconds of a training pass: paired over the seeds, Student's interval"
        + (
            f"; seconds of a test pass ({kind[1]} set, batch {kind[0]}): ratio of the means, bootstrap-t; the "
            "two were timed one after the other, and what the machine drifted between them is not in the interval. "
            if kind
            else ". "
        )
        + f"A dash: the switch cannot change it, or it was not measured. {NO_INTERVAL} Of a time it is half the "
        "width of an interval that is not symmetric. An interval that holds 0 shows no effect."
    ]
    if any(records.of_stage("search")):
        notes.append("All trainings use the settings that the search found under the protocol itself.")
    if any("tune_on_test_set" in erratum for erratum in records.errata):
        notes.append(
            "tune_on_test_set: the settings are the same on both sides, so this is what it is worth to train on the "
            "validation images too, and not what it is worth to choose settings by the test set."
        )
    notes += mixed_devices(records)
    if unfinished:
        notes.append(f"NOT ALL trainings completed, and the effects are of those that did: {'; '.join(unfinished)}.")
    return Table("errata", "What the paper's flaws are worth", _COLUMNS, tuple(rows), tuple(notes) if rows else ())


def _effect(name: str, estimate: Estimate | None) -> Row:
    if estimate is None:
        return {}
    return {
        name: estimate.value,
        f"{name}_low": estimate.low,
        f"{name}_high": estimate.high,
        f"{name}_half_width": estimate.half_width,
    }


def _percent(ratio: Estimate | None) -> Estimate | None:
    """A ratio as a change in percent."""
    if ratio is None:
        return None
    low, high = (None if end is None else 100 * (end - 1) for end in (ratio.low, ratio.high))
    return Estimate(100 * (ratio.value - 1), low, high, ratio.n)


def _accuracy(records: Records, contender: str, turned: ProtocolConfig) -> Estimate | None:
    a, b = (
        records.by_seed(contender, partial(records.test_accuracy, protocol=protocol), protocol)
        for protocol in (turned, records.protocol)
    )
    return paired_difference(a, b)


def _epoch_time(records: Records, contender: str, turned: ProtocolConfig) -> Estimate | None:
    seconds = partial(train_seconds, records)
    a, b = (records.by_seed(contender, seconds, protocol) for protocol in (turned, records.protocol))
    return training_time_ratio(records, a, b)


def _timed_otherwise(protocol: ProtocolConfig, turned: ProtocolConfig) -> bool:
    """The test time that counts is another one under the other protocol."""

    def kind(each: ProtocolConfig) -> tuple[bool, bool, bool]:
        loader = each.loader_in_test_time
        return loader, each.batch_statistics_at_test, loader and each.notebook_loader

    return kind(protocol) != kind(turned)


def _test_time(
    records: Records, contender: str, turned: ProtocolConfig, batch_size: int, images: str
) -> Estimate | None:
    def timed(protocol: ProtocolConfig) -> Sequence[Row]:
        return records.passes(images, batch_size, protocol.loader_in_test_time, protocol).get(contender, [])

    a, b = timed(turned), timed(records.protocol)
    if not a or len(a) != len(b) or len(kinds([*a, *b])) > 1:
        return None
    return ratio_of_means([row["seconds"] for row in a], [row["seconds"] for row in b])
