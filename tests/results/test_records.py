"""What the tables ask of a run's records."""

from measured import epochs_of, training
from records import SWITCHED, identity

from dwray.core.config import PROTOCOLS
from dwray.results.records import Records


def test_numbers_by_seed_are_of_completed_trainings_under_one_protocol() -> None:
    turned = PROTOCOLS["corrected"].turn("notebook_loader")
    otherwise = {switch: getattr(turned, switch) for switch in SWITCHED}
    trials = [
        training("A", 0, 90.0),
        training("A", 1, None),
        training("A", 2, 92.0, "failed"),
        training("A", 3, 93.0),
        training("A", 3, 83.0, **otherwise),
        training("B", 0, 80.0),
    ]
    records = Records(trials, epochs_of([]), [], identity("hand", ["A", "B"]))
    assert records.by_seed("A", records.test_accuracy) == {0: 90.0, 3: 93.0}
    assert records.by_seed("A", records.test_accuracy, turned) == {3: 83.0}
    assert records.by_seed("nobody", records.test_accuracy) == {}


def test_the_step_between_test_accuracies_is_one_image_of_the_test_set() -> None:
    timings = [{"set": "train", "images": 5000}, {"set": "test", "images": 400}]
    records = Records([], epochs_of([]), timings, identity("hand", ["A"]))
    assert records.test_accuracy_resolution == 0.25
    assert Records([], epochs_of([]), timings[:1], identity("hand", ["A"])).test_accuracy_resolution == 0.0
