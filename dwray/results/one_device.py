"""Times are compared only where all of them were measured on one kind of device."""

from collections.abc import Iterable, Mapping

from dwray.results.records import Records
from dwray.results.statistics import Estimate, paired_ratio
from dwray.results.table import Row

MOVED = "; "
"""Between the devices of a trial that went on on another kind."""


def kinds(trials: Iterable[Row]) -> list[str]:
    """The kinds of devices that trials ran on, in words; with its threads, where it is a processor."""
    found: dict[str, None] = {}
    for row in trials:
        for device in (row["device"] or "").split(MOVED):
            if device:
                threads = row["threads"]
                found[f"{device}, {threads} CPU thread{'s' if threads > 1 else ''}"] = None
    return list(found)


def devices(trials: Iterable[Row]) -> str:
    """What trials ran on, in words."""
    return MOVED.join(kinds(trials)) or "not measured"


def training_time_ratio(records: Records, a: Mapping[int, float], b: Mapping[int, float]) -> Estimate | None:
    """Seconds of trainings over those of others, paired by seed; None if trainings ran on several kinds of devices."""
    return None if len(_kinds_of_trainings(records)) > 1 else paired_ratio(a, b)


def mixed_devices(records: Records) -> tuple[str, ...]:
    """What is to be said of times that were measured on several kinds of devices; nothing of one kind's."""
    notes = []
    trained, timed = _kinds_of_trainings(records), kinds([*records.of_stage("time"), *records.timings])
    if len(trained) > 1:
        notes.append(
            f"NOT ONE KIND OF DEVICE: trainings ran on {len(trained)} ({MOVED.join(trained)}), so that their times are "
            "not compared. resources.gpu_type keeps them on one."
        )
    if len(timed) > 1:
        notes.append(
            f"NOT ONE KIND OF DEVICE: timings ran on {len(timed)} ({MOVED.join(timed)}). The networks of one kind of "
            "pass were timed side by side and can be compared; one kind of pass cannot be compared with another."
        )
    return tuple(notes)


def _kinds_of_trainings(records: Records) -> list[str]:
    return kinds(row for row in records.of_stage("train") if row["status"] == "completed")
