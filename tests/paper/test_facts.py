"""The paper's numbers against each other, against its text's arithmetic and against the networks themselves."""

from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dwray import paper
from dwray.core.complexity import complexity
from dwray.paper import Stated

NETWORKS = ("ConvNet", "DepthwiseConvNet")
DATASETS = ("cifar10", "cifar100")
RUNS = [(dataset, network) for dataset in DATASETS for network in NETWORKS]


@pytest.mark.parametrize(("dataset", "network"), RUNS)
def test_the_curves_are_whole(dataset: str, network: str) -> None:
    rows = paper.curve(dataset, network)
    assert [row["epoch"] for row in rows] == list(range(1, len(rows) + 1))
    assert len(rows) == paper.epochs(dataset, network).notebook == paper.hyperparameters(dataset, network)["epochs"]
    assert set(rows[0]) == {
        "epoch",
        "train_loss",
        "train_seconds",
        "validation_loss",
        "validation_accuracy_percent",
        "validation_seconds",
    }


def test_there_are_470_epochs() -> None:
    assert sum(len(paper.curve(*run)) for run in RUNS) == 470


@pytest.mark.parametrize(("dataset", "network"), RUNS)
def test_stated_means_last_and_best_epochs_are_the_curves(dataset: str, network: str) -> None:
    rows = paper.curve(dataset, network)
    accuracies = [row["validation_accuracy_percent"] for row in rows]
    assert paper.accuracy(dataset, network, "last_epoch").notebook == accuracies[-1]
    assert paper.accuracy(dataset, network, "best_epoch").notebook == max(accuracies)
    assert paper.seconds_per_epoch(dataset, network).notebook == round(fmean(row["train_seconds"] for row in rows), 2)
    passes = sum(row["train_seconds"] + row["validation_seconds"] for row in rows)
    total = paper.total_seconds(dataset, network)
    assert (total.paper or total.notebook) == pytest.approx(passes, abs=0.5), "epochs are printed to 0.01 s"


@pytest.mark.parametrize(("dataset", "network"), RUNS)
def test_the_papers_seconds_per_epoch_are_the_notebooks_to_its_digits(dataset: str, network: str) -> None:
    seconds = paper.seconds_per_epoch(dataset, network)
    assert seconds.paper == pytest.approx(seconds.notebook, abs=0.1)


def test_the_papers_total_is_50_epochs_and_not_80() -> None:
    per_epoch = [
        ask("cifar100", "ConvNet").notebook for ask in (paper.seconds_per_epoch, paper.validation_seconds_per_epoch)
    ]
    assert [round(seconds or 0, 1) for seconds in per_epoch] == [33.2, 2.2]
    assert round(50 * (33.2 + 2.2)) == 1770
    assert paper.total_seconds("cifar100", "ConvNet").paper == pytest.approx(1770, abs=1)
    epochs = paper.epochs("cifar100", "ConvNet")
    assert (epochs.paper, epochs.notebook) == (80, 50)
    assert "cifar100_epochs" in epochs.footnotes


@pytest.mark.parametrize("batch_size", [256, 4])
@pytest.mark.parametrize("images", ["test", "train"])
def test_the_papers_percentages_follow_from_its_seconds(images: str, batch_size: int) -> None:
    """Within what rounding the seconds to 0.01 allows: 2.17 / 1.98 - 1 is 9.6%, and the paper prints 9.5."""
    longer = paper.longer_percent(images, batch_size)
    slow, fast = longer.network, next(name for name in NETWORKS if name != longer.network)
    assert slow is not None
    seconds = [paper.test_seconds(name, images, batch_size).paper for name in (slow, fast)]
    assert seconds[0] is not None
    assert seconds[1] is not None
    least = 100 * ((seconds[0] - 0.005) / (seconds[1] + 0.005) - 1)
    most = 100 * ((seconds[0] + 0.005) / (seconds[1] - 0.005) - 1)
    assert longer.percent.paper is not None
    assert least - 0.05 <= longer.percent.paper <= most + 0.05
    assert longer.percent.paper == pytest.approx(100 * (seconds[0] / seconds[1] - 1), abs=0.1)


def test_the_first_percentage_is_9_5() -> None:
    assert paper.longer_percent("test", 256).network == "ConvNet"
    assert paper.longer_percent("test", 256).percent.paper == 9.5
    assert paper.test_seconds("ConvNet", "test", 256).paper == 2.17
    assert paper.test_seconds("DepthwiseConvNet", "test", 256).paper == 1.98


def test_the_footnote_stands_at_every_train_set_time_that_is_called_the_test_sets() -> None:
    marked = {
        paper.test_seconds(network, images, batch_size).paper
        for network in NETWORKS
        for images in ("train", "test")
        for batch_size in (256, 4)
        if "train_set_sentences" in paper.test_seconds(network, images, batch_size).footnotes
    }
    assert marked == {10.09, 75.18, 63.84}


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("classes", [10, 100])
def test_parameters_and_macs_are_the_networks(network: str, classes: int) -> None:
    counted = complexity(network, classes=classes)
    parameters, macs = paper.parameters(network, classes), paper.macs(network, classes)
    assert counted.parameters == (parameters.paper if classes == 100 else parameters.derived)
    assert (parameters.derived is None) == (parameters.paper is not None) == (classes == 100)
    assert ("parameters_derived" in parameters.footnotes) == (classes == 10)
    assert ("figure_2_blocks" in parameters.footnotes) == (network == "ConvNet")
    assert counted.macs == macs.derived
    assert (macs.paper, macs.notebook, macs.footnotes) == (None, None, ("macs_derived",))


def test_reported_accuracies_are_the_papers_and_the_others_the_notebooks() -> None:
    reported = paper.accuracy("cifar10", "ConvNet", "reported")
    assert reported == Stated(88.08, None, ("batch_statistics",))
    assert paper.accuracy("cifar100", "ConvNet", "train") == Stated(notebook=98.284)
    with pytest.raises(ValueError, match="knows reported, last_epoch, best_epoch and train, not 'first'"):
        paper.accuracy("cifar10", "ConvNet", "first")


def test_the_footnote_on_the_last_epochs_quotes_the_curves() -> None:
    text = paper.footnote("batch_statistics")
    for run in RUNS:
        assert f"{paper.curve(*run)[-1]['validation_accuracy_percent']:.2f}" in text


def test_there_are_five_contradictions_and_each_names_its_section() -> None:
    assert set(paper.contradictions()) == {
        "figure_2_blocks",
        "cifar100_epochs",
        "batch_statistics",
        "train_set_sentences",
        "time_to_train",
    }
    for key, text in paper.contradictions().items():
        assert "ection 4." in text
        assert "notebook" in text
        assert "\n" not in text
        assert text == paper.footnote(key)
    with pytest.raises(KeyError):
        paper.footnote("no such")


def test_every_footnote_that_is_used_has_a_text_and_every_text_is_used() -> None:
    used = {"epochs_trained"}  # of the claim about epochs, which compares two different things
    for network in NETWORKS:
        for classes in (10, 100):
            used.update(paper.parameters(network, classes).footnotes, paper.macs(network, classes).footnotes)
        for images in ("test", "train"):
            used.update(paper.test_seconds(network, images, 4).footnotes)
        for dataset in DATASETS:
            used.update(paper.accuracy(dataset, network, "reported").footnotes)
            for ask in (paper.epochs, paper.seconds_per_epoch, paper.total_seconds):
                used.update(ask(dataset, network).footnotes)
    assert all(paper.footnote(key).endswith(".") for key in used)
    assert used >= set(paper.contradictions())


def test_hyperparameters_are_a_sweep_files() -> None:
    assert paper.hyperparameters("cifar100", "ConvNet") == {
        "initial_lr": 0.0125,
        "lr_decay": 0.95,
        "weight_decay": 0.0225,
        "epochs": 50,
        "batch_size": 256,
        "momentum": 0.9,
        "nesterov": True,
    }


@given(st.floats(0, 100), st.sampled_from(RUNS))
@settings(deadline=None)  # the first example reads the file
def test_epochs_to_reach_is_the_first_epoch_that_did(target: float, run: tuple[str, str]) -> None:
    accuracies = [row["validation_accuracy_percent"] for row in paper.curve(*run)]
    first = paper.epochs_to_reach(*run, target)
    if first is None:
        assert max(accuracies) < target
    else:
        assert accuracies[first - 1] >= target
        assert all(accuracy < target for accuracy in accuracies[: first - 1])


def test_an_accuracy_is_reached_when_it_is_equalled() -> None:
    assert paper.epochs_to_reach("cifar100", "ConvNet", 67.78) == 50
    assert paper.epochs_to_reach("cifar100", "ConvNet", 67.79) is None


words = st.one_of(st.text(max_size=8), st.sampled_from(["cifar10", "ConvNet", "every", "parameters", "paper"]))


@given(words, words, st.integers())
@settings(deadline=None)
def test_of_what_the_paper_did_not_do_it_states_nothing(dataset: str, network: str, number: int) -> None:
    if (dataset, network) in RUNS:
        return
    for ask in (paper.seconds_per_epoch, paper.validation_seconds_per_epoch, paper.epochs, paper.total_seconds):
        assert ask(dataset, network) == Stated()
    for which in ("reported", "last_epoch", "best_epoch", "train"):
        assert paper.accuracy(dataset, network, which) == Stated()
    assert paper.epochs_to_reach(dataset, network, 1.0) is None
    assert paper.curve(dataset, network) == []
    assert paper.hyperparameters(dataset, network) == {}
    if network not in NETWORKS:
        assert paper.parameters(network, 100) == paper.macs(network, 10) == Stated()
        assert paper.test_seconds(network, "test", 256) == Stated()
    if number not in (4, 256):
        assert paper.longer_percent("test", number) == paper.Longer()
        assert paper.test_seconds("ConvNet", "test", number) == Stated()
    if number not in (10, 100):
        assert paper.parameters("ConvNet", number) == paper.macs("ConvNet", number) == Stated()


def test_a_caller_cannot_change_the_facts() -> None:
    paper.curve("cifar10", "ConvNet")[0]["epoch"] = 99
    paper.hyperparameters("cifar10", "ConvNet")["epochs"] = 99
    assert paper.curve("cifar10", "ConvNet")[0]["epoch"] == 1
    assert paper.hyperparameters("cifar10", "ConvNet")["epochs"] == 50
