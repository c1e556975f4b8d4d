"""The answer in three sentences: it names a winner only where the measurement does."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from measured import epochs_of, records_of, training
from records import identity, make_run

from dwray.results.answer import answer, paired_passes, timed_kind
from dwray.results.records import Records

STEADY = [1.0, 1.01, 0.99, 1.02, 0.98]


def slower(factor: float) -> list[float]:
    return [factor * each + 0.001 * number for number, each in enumerate(STEADY)]


def test_a_difference_beyond_the_noise_names_the_more_accurate_network() -> None:
    accuracy, *_ = answer(records_of({"A": [90.0, 91.0, 92.0], "B": [85.0, 86.5, 87.0]}))
    assert accuracy == (
        "Accuracy on the test set: A is the more accurate (A 91.00 ± 2.48%, B 86.17 ± 2.59%; paired difference "
        "+4.83 points, 95% interval +4.12 to +5.55, 3 seeds)."
    )


def test_an_interval_that_contains_zero_shows_no_difference() -> None:
    accuracy, *_ = answer(records_of({"A": [90.0, 95.0], "B": [91.0, 88.0]}))
    assert accuracy.startswith("Accuracy on the test set: no difference is shown (A 92.50% (60.73 to 100.00), ")
    assert "which contains 0, 2 seeds" in accuracy


def test_one_seed_names_no_winner() -> None:
    accuracy, time, place = answer(records_of({"A": [90.0], "B": [50.0]}, {"A": [1.0], "B": [9.0]}))
    assert (
        "no difference is shown (A 90.00%, B 50.00%; paired difference +40.00 points, of one seed, which shows"
        in accuracy
    )
    assert "no difference in training time per epoch is shown (A 1 s, B 9 s; B takes 9.00 times (one seed)" in time
    assert "one seed (0)" in place


def test_of_three_networks_the_best_is_compared_with_each() -> None:
    accuracy, time, _ = answer(
        records_of(
            {"A": [90.0, 91.0, 92.0], "B": [85.0, 86.5, 87.0], "C": [91.0, 89.0, 92.5]},
            {"A": [1.0, 1.01, 1.02], "B": [2.0, 2.01, 2.1], "C": [3.0, 3.2, 3.1]},
        )
    )
    assert "A is more accurate than B (" in accuracy
    assert "A less B +4.83 points" in accuracy
    assert "A less C +0.17 points, 95% interval" in accuracy
    assert "A trains faster than all others per epoch (A 1.01 s, B 2.04 s, C 3.1 s; B takes 2.02 times" in time


def test_test_times_name_the_faster_network_at_each_batch_size() -> None:
    _, time, _ = answer(
        records_of(
            {"A": [90.0], "B": [90.0]},
            passes={
                1: {"A": STEADY, "B": slower(2.0)},
                4: {"A": STEADY, "B": slower(1.5)},
                64: {"A": STEADY, "B": [1.5, 0.6, 1.3, 0.7, 1.1]},
                256: {"A": slower(3.0), "B": STEADY},
                512: {"A": [3.0, 3.1], "B": [1.0, 1.1]},
            },
        )
    )
    said = time.partition("; testing over the test set, the network alone, ")[2]
    assert said.startswith(
        "A is faster at batch sizes 1 and 4 (B: 1.50 to 2.00 times the time), no difference is shown"
    )
    assert "B is faster at batch size 256 (A: 3.00 times (" in said
    assert "no difference is shown at batch size 512 (A: 2.90 times" in said, "two passes are too few"


def test_a_ratio_of_too_few_passes_is_told_without_an_interval_that_means_nothing() -> None:
    """0.5 to 1900 times, to two decimals, stood there: of five passes, one of which was slow."""
    passes = {4: {"A": STEADY, "B": [1.0, 1.1, 1.2, 1.0, 12.0]}, 8: {"A": [1.0], "B": [2.0]}}
    _, time, _ = answer(records_of({"A": [90.0, 91.0], "B": [90.0, 91.0]}, {"A": [1.0, 1.0], "B": [1.0, 90.0]}, passes))
    assert "B takes 9.49 times (2 seeds, too few to say how far off) as long as A" in time
    assert "no difference is shown at batch sizes 4 and 8" in time
    del passes[8]
    _, time, _ = answer(records_of({"A": [90.0], "B": [90.0]}, passes=passes))
    assert "(B: 3.26 times (5 passes, too few to say how far off) the time)" in time
    _, time, _ = answer(records_of({"A": [90.0], "B": [90.0]}, passes={8: {"A": [1.0], "B": [2.0]}}))
    assert "(B: 2.00 times (one pass) the time)" in time


def test_passes_are_paired_by_their_number() -> None:
    records = records_of({"A": [1.0], "B": [1.0]}, passes={4: {"A": [1.0, 2.0, 3.0], "B": [4.0, 5.0]}})
    assert paired_passes(records, "test", 4, loader=False) == {"A": [1.0, 2.0], "B": [4.0, 5.0]}
    assert paired_passes(records, "train", 4, loader=False) == {}
    assert timed_kind(records) == ("test", False)


def test_what_is_missing_is_said_and_not_guessed() -> None:
    assert answer(records_of({})) == [
        "Accuracy on the test set: no training has completed.",
        "Time: no training has completed; no test time was measured.",
        "Measured on no machine yet, by the protocol corrected, with no data, no completed training.",
    ]
    alone, *_ = answer(records_of({"A": [90.0, 91.0]}))
    assert alone == "Accuracy on the test set: A 90.50 ± 6.35%, with nothing to compare it with."
    records = records_of({"A": [90.0], "B": []})
    assert answer(records)[0].endswith("; B has no completed training.")


def test_the_third_sentence_warns_of_all_that_makes_numbers_worthless() -> None:
    trials = [
        training("A", 0, 90.0, synthetic=True),
        training("A", 1, None, status="failed"),
        training("B", 0, 80.0, device="another CPU"),
    ]
    records = Records(trials, epochs_of([]), [], identity("hand", ["A", "B"]))
    place = answer(records)[2]
    for said in (
        "SYNTHETIC",
        "trained on 2 KINDS OF DEVICES",
        "NOT ALL trainings completed (A: 1 completed, 1 failed)",
    ):
        assert said in place


def test_times_of_two_kinds_of_devices_are_not_compared() -> None:
    trials = [training("A", 0, 90.0), training("B", 0, 80.0, device="another CPU")]
    epochs = [{"trial_id": f"{name}0", "epoch": 1, "train_seconds": spent} for name, spent in (("A", 1.0), ("B", 2.0))]
    _, time, _ = answer(Records(trials, epochs_of(epochs), [], identity("hand", ["A", "B"])))
    assert "training times are not compared (A 1 s, B 2 s an epoch" in time
    assert "faster" not in time


def test_a_run_as_a_sweep_writes_it(tmp_path: Path) -> None:
    accuracy, time, place = answer(Records.read(make_run(tmp_path)))
    assert accuracy.endswith("; B has no completed training.")
    assert "an epoch's training pass takes A 2 s" in time
    assert place.startswith(
        "Measured on some CPU, 2 CPU threads, by the protocol corrected, with digits, 2 seeds (0 and 1)"
    )


@settings(deadline=None)
@given(
    accuracies=st.dictionaries(
        st.sampled_from("ABCD"), st.lists(st.floats(0, 100), max_size=4), min_size=1, max_size=4
    ),
    seconds=st.lists(st.floats(0.001, 1000), min_size=4, max_size=4),
)
def test_it_is_always_three_sentences_that_end(accuracies: dict[str, list[float]], seconds: list[float]) -> None:
    times = {name: seconds[: len(of)] for name, of in accuracies.items()}
    said = answer(records_of(accuracies, times, {4: dict.fromkeys(accuracies, seconds), 8: {"A": seconds}}))
    assert len(said) == 3
    assert all(each.endswith(".") and "None" not in each and "nan" not in each for each in said)


@pytest.mark.parametrize("swapped", [False, True])
def test_the_order_in_the_sweep_file_makes_no_winner(swapped: bool) -> None:
    of = {"A": [90.0, 91.0, 92.0], "B": [85.0, 86.5, 87.0]}
    names = ["B", "A"] if swapped else ["A", "B"]
    assert "A is the more accurate" in answer(records_of({name: of[name] for name in names}))[0]
