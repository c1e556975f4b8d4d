"""Times of several kinds of devices are not compared; accuracies are."""

from pathlib import Path

from judged import make_records, rows
from records import make_run

from dwray.results.one_device import mixed_devices
from dwray.results.records import Records
from dwray.results.verdicts import Verdict, verdicts

HALF = {"ordinary": [10.0, 10.1, 9.9], "depthwise": [5.0, 5.1, 4.9]}


def test_times_of_several_kinds_of_devices_are_not_compared_and_it_is_said() -> None:
    times = ("half_the_time_per_epoch", "more_time_to_train")
    alike, mixed = make_records(seconds=HALF), make_records(seconds=HALF, devices={"depthwise": "another GPU"})
    assert rows(alike)["half_the_time_per_epoch"]["verdict"] == Verdict.HOLDS
    assert not [note for note in verdicts(alike).notes if "KIND OF DEVICE" in note]
    for key in times:
        assert rows(mixed)[key]["verdict"] == Verdict.UNDECIDED
        assert rows(mixed)[key]["measured"] is None
    (note,) = [note for note in verdicts(mixed).notes if "KIND OF DEVICE" in note]
    assert "trainings ran on 2 (a GPU, 1 CPU thread; another GPU, 1 CPU thread)" in note


def test_a_training_that_went_on_on_another_kind_of_device_counts_as_mixed() -> None:
    moved = make_records(seconds=HALF, devices={"ordinary": "a GPU; another GPU"})
    assert rows(moved)["half_the_time_per_epoch"]["measured"] is None


def test_accuracies_are_compared_wherever_they_were_trained() -> None:
    accuracy = {"ordinary": [70.0, 71.0, 70.5], "depthwise": [70.2, 71.1, 70.8]}
    mixed = make_records(accuracy=accuracy, devices={"depthwise": "another GPU"})
    assert rows(mixed)["accuracies_equal"]["verdict"] == Verdict.HOLDS


def test_timings_of_several_kinds_of_devices_are_told(tmp_path: Path) -> None:
    records = Records.read(make_run(tmp_path))
    assert mixed_devices(records) == ()
    records.timings[0]["device"] = "another CPU"
    (note,) = mixed_devices(records)
    assert "timings ran on 2 (some CPU, 2 CPU threads; another CPU, 2 CPU threads)" in note
