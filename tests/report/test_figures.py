"""The paper's figures, measured: what they draw, and what they say of it."""

import math
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from trained import Training, trained_run

from dwray import paper
from dwray.core.config import PROTOCOLS
from dwray.report.figures import Figure, course, figures, over_seeds, pdf, svg
from dwray.results.records import Records

DEPTHWISE = "DepthwiseConvNet"


def made(runs: Path, trainings: list[Training], **options: Any) -> list[Figure]:
    return figures(Records.read(trained_run(runs, trainings, **options)))


def layers(figure: Figure) -> dict[str, list[dict[str, Any]]]:
    """What each layer of a chart draws, by the line's name or the mark's."""
    found: dict[str, list[dict[str, Any]]] = {}
    spec = figure.chart.to_dict()
    for layer in spec["layer"]:
        rows = spec["datasets"][layer.get("data", spec.get("data"))["name"]]
        kind = layer["mark"]["type"]
        found.setdefault(rows[0]["line"] if kind == "line" else kind, []).extend(rows)
    return found


def both(losses: list[float], seeds: int = 1) -> list[Training]:
    return [
        Training(network, seed, [loss + seed for loss in losses], network=network)
        for network in ("ConvNet", DEPTHWISE)
        for seed in range(seeds)
    ]


@pytest.mark.parametrize(("dataset", "printed", "first"), [("cifar10", "CIFAR10", 4), ("cifar100", "CIFAR100", 8)])
def test_the_papers_figures_have_its_numbers_order_and_titles(
    tmp_path: Path, dataset: str, printed: str, first: int
) -> None:
    found = made(tmp_path, both([2.0, 1.0]), dataset=dataset, compare_with=dataset)
    assert [figure.heading for figure in found] == [
        f"Figure {first}: DepthwiseConvNet training loss on {printed}",
        f"Figure {first + 1}: DepthwiseConvNet validation accuracy on {printed}",
        f"Figure {first + 2}: ConvNet training loss on {printed}",
        f"Figure {first + 3}: ConvNet validation accuracy on {printed}",
    ]


@pytest.mark.parametrize("dataset", ["cifar10", "cifar100"])
@pytest.mark.parametrize("network", ["ConvNet", DEPTHWISE])
def test_the_notebooks_curve_is_drawn_as_it_was_printed(tmp_path: Path, dataset: str, network: str) -> None:
    found = made(tmp_path, [Training(network, 0, [2.0], network=network)], dataset=dataset, compare_with=dataset)
    stated = paper.curve(dataset, network)
    assert len(stated) >= 50
    for figure, column in zip(found, ("train_loss", "validation_accuracy_percent"), strict=True):
        drawn = [(row["epoch"], row["value"]) for row in layers(figure)["notebook"]]
        assert drawn == [(row["epoch"], row[column]) for row in stated]
        dashes = figure.chart.to_dict()["layer"][0]["encoding"]["strokeDash"]["scale"]
        assert dict(zip(dashes["domain"], dashes["range"], strict=True))["notebook"] == [5, 3]


def test_other_images_have_no_numbers_and_no_notebook_beside_them(tmp_path: Path) -> None:
    found = made(tmp_path, both([2.0, 1.0]))
    assert [figure.heading for figure in found] == [
        "Training loss of ConvNet on digits",
        "Validation accuracy of ConvNet on digits",
        "Training loss of DepthwiseConvNet on digits",
        "Validation accuracy of DepthwiseConvNet on digits",
    ]
    assert all(set(layers(figure)) == {"measured, one seed"} for figure in found)
    assert "otebook" not in "".join(figure.caption + figure.alt_text for figure in found)


def test_only_the_first_contender_of_a_network_has_the_papers_number(tmp_path: Path) -> None:
    trainings = [Training("wide", 0, [1.0]), Training("narrow", 0, [1.0], width=0.5)]
    found = made(tmp_path, trainings, dataset="cifar10", compare_with="cifar10")
    assert [(figure.number, figure.title) for figure in found] == [
        (6, "wide training loss on CIFAR10"),
        (7, "wide validation accuracy on CIFAR10"),
        (None, "Training loss of narrow on CIFAR10"),
        (None, "Validation accuracy of narrow on CIFAR10"),
    ]
    assert all("Not like with like: " in figure.caption and "the width is 0.5" in figure.caption for figure in found)


def test_images_that_only_stand_beside_the_papers_keep_their_own_name(tmp_path: Path) -> None:
    loss, _ = made(tmp_path, [Training("ConvNet", 0, [1.0])], dataset="my-images", compare_with="cifar10")
    assert loss.heading == "Figure 6: ConvNet training loss on my-images"
    assert "Not like with like: the images are those of my-images" in loss.caption


def test_the_line_is_the_mean_over_the_seeds_and_the_band_students_interval(tmp_path: Path) -> None:
    loss, accuracy = made(tmp_path, [Training("ConvNet", seed, [2.0 + seed, 1.0 + seed**2]) for seed in range(3)])
    drawn = layers(loss)
    assert [row["value"] for row in drawn["measured, mean of 3 seeds, 95% band"]] == pytest.approx([3.0, 8 / 3])
    for row, values in zip(drawn["area"], ([2.0, 3.0, 4.0], [1.0, 2.0, 5.0]), strict=True):
        interval = stats.t.interval(0.95, 2, loc=sum(values) / 3, scale=stats.sem(values))
        assert (row["low"], row["high"]) == pytest.approx(interval)
    assert [row["value"] for row in layers(accuracy)["measured, mean of 3 seeds, 95% band"]] == pytest.approx(
        [30.0, 80 / 3]
    )
    for figure in (loss, accuracy):
        assert "Solid line: measured, mean of 3 seeds." in figure.caption
        assert "Band: Student's 95% interval of the mean over the seeds" in figure.caption


def test_the_band_has_no_hole_where_all_seeds_gave_the_same_value(tmp_path: Path) -> None:
    loss, _ = made(tmp_path, [Training("ConvNet", seed, [2.0 + seed, 1.5, 1.0 + seed]) for seed in range(2)])
    first, same, last = layers(loss)["area"]
    assert (same["low"], same["high"]) == (1.5, 1.5)
    assert first["low"] < 2.5 < first["high"]
    assert last["low"] < 1.5 < last["high"]
    assert "Where it is a point, all seeds gave the same value, whose spread gives no interval." in loss.caption
    loss, _ = made(tmp_path / "spread", [Training("ConvNet", seed, [2.0 + seed, 1.0 + seed]) for seed in range(2)])
    assert "point" not in loss.caption


def test_one_seed_has_no_band_and_says_so(tmp_path: Path) -> None:
    loss, _ = made(tmp_path, [Training("ConvNet", 0, [2.0, 1.0])])
    assert set(layers(loss)) == {"measured, one seed"}
    assert loss.caption == "Solid line: measured, one seed. One seed gives no band."


def test_a_training_that_was_not_completed_is_shown_but_not_in_the_mean(tmp_path: Path) -> None:
    loss, _ = made(
        tmp_path,
        [
            Training("ConvNet", 0, [2.0, 1.0, 0.5]),
            Training("ConvNet", 1, [4.0, 3.0, 2.5]),
            Training("ConvNet", 2, [9.0, 1e30], status="diverged"),
            Training("ConvNet", 3, [], status="failed"),
        ],
    )
    drawn = layers(loss)
    assert [row["value"] for row in drawn["measured, mean of 2 seeds, 95% band"]] == [3.0, 2.0, 1.5]
    assert [(row["epoch"], row["value"]) for row in drawn["training not completed"]] == [(1, 9.0), (2, 1e30)]
    assert "Grey, and not in the mean: seed 2 (diverged) after epoch 2." in loss.caption
    assert "seed 3" not in loss.caption, "it has no epoch to show"
    highest = loss.chart.to_dict()["layer"][0]["encoding"]["y"]["scale"]["domain"][1]
    assert highest == pytest.approx(1.05 * 3.0), "the axis is the completed trainings', and the others may leave it"


def test_where_no_training_was_completed_the_others_are_all_there_is(tmp_path: Path) -> None:
    loss, accuracy = made(tmp_path, [Training("ConvNet", 5, [2.0, 1.0], status="running")])
    assert set(layers(loss)) == {"training not completed"}
    assert loss.caption == "Grey, and not in the mean: seed 5 (running) after epoch 2."
    assert svg(accuracy).startswith("<svg ")


def test_epochs_that_not_every_seed_has_are_left_out_and_counted(tmp_path: Path) -> None:
    loss, _ = made(
        tmp_path, [Training("ConvNet", 0, [2.0, 1.0, 0.5, 0.4]), Training("ConvNet", 1, [4.0, math.nan, 2.5])]
    )
    drawn = layers(loss)["measured, mean of 2 seeds, 95% band"]
    assert [(row["epoch"], row["value"]) for row in drawn] == [(1, 3.0), (3, 1.5)]
    assert "It has the epochs that all of them have: 2 of 4." in loss.caption


def test_a_contender_that_has_not_trained_has_no_figure(tmp_path: Path) -> None:
    assert made(tmp_path, [Training("ConvNet", 0, [], status="failed")]) == []
    assert made(tmp_path, [Training("ConvNet", 0, [None, math.inf])]) == []


@pytest.mark.parametrize(
    ("protocol", "said"),
    [
        ("corrected", "The notebook validates on the test set, this run on held-out training images."),
        ("paper", "The notebook validates on the test set, as does this run."),
    ],
)
def test_the_accuracys_caption_says_on_which_images_each_was_validated(
    tmp_path: Path, protocol: str, said: str
) -> None:
    loss, accuracy = made(
        tmp_path,
        [Training("ConvNet", 0, [2.0])],
        dataset="cifar10",
        compare_with="cifar10",
        protocol=PROTOCOLS[protocol],
    )
    assert said in accuracy.caption
    assert "validates" not in loss.caption


def test_random_images_are_marked(tmp_path: Path) -> None:
    loss, _ = made(tmp_path, [Training("ConvNet", 0, [2.0])], dataset="synthetic", synthetic=True)
    assert loss.caption.endswith("SYNTHETIC images (random numbers): this means nothing.")


def test_an_svg_names_itself_its_axes_and_its_lines_and_is_the_same_every_time(tmp_path: Path) -> None:
    found = made(tmp_path, both([2.0, 1.0], seeds=2), dataset="cifar10", compare_with="cifar10")
    drawn = svg(found[0])
    assert svg(found[0]) == drawn
    root = ET.fromstring(drawn)
    assert root.get("role") == "img"
    assert root.get("aria-label") == found[0].alt_text
    words = {element.text for element in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"epoch", "training loss (nats)", "notebook", "measured, mean of 2 seeds, 95% band"} <= words
    fonts = set(re.findall(r'font-family="([^"]*)"', drawn))
    assert fonts == {"Arial, Helvetica, sans-serif"}, "every browser has one of them"
    assert "validation accuracy (%)" in svg(found[1])
    assert pdf(drawn).startswith(b"%PDF-")


def test_the_svgs_of_a_page_share_no_identifier(tmp_path: Path) -> None:
    drawn = [svg(figure) for figure in made(tmp_path, both([2.0, 1.0]))]
    found = [set(re.findall(r'\bid="([^"]*)"', each)) for each in drawn]
    assert all(found)
    assert len(set.union(*found)) == sum(map(len, found))
    for each, ids in zip(drawn, found, strict=True):
        assert set(re.findall(r"url\(#([^)]*)\)", each)) <= ids


def test_the_alternative_text_says_where_each_line_begins_and_ends(tmp_path: Path) -> None:
    loss, _ = made(tmp_path, [Training("ConvNet", 0, [2.5, 1.0]), Training("ConvNet", 1, [3.0], status="interrupted")])
    assert loss.alt_text == (
        "Line chart of the training loss of ConvNet on digits by epoch. "
        "measured, one seed: from 2.5 nats (epoch 1) to 1 nats (epoch 2); "
        "seed 1 (interrupted): from 3 nats (epoch 1) to 3 nats (epoch 1)."
    )


@given(st.lists(st.dictionaries(st.integers(1, 9), st.floats(-1e6, 1e6)), max_size=5))
def test_the_mean_is_over_all_courses_wherever_all_have_a_value(courses: list[dict[int, float]]) -> None:
    found = over_seeds(courses)
    assert set(found) == {epoch for epoch in range(1, 10) if courses and all(epoch in each for each in courses)}
    assert list(found) == sorted(found)
    for epoch, estimate in found.items():
        values = [each[epoch] for each in courses]
        assert estimate.n == len(courses)
        assert estimate.value == pytest.approx(sum(values) / len(values), abs=1e-6)
        assert (estimate.low is None) == (estimate.high is None)
        if estimate.low is not None and estimate.high is not None:
            assert estimate.low <= estimate.value <= estimate.high


@given(st.lists(st.none() | st.floats()))
def test_a_course_has_finite_numbers_alone(values: list[float | None]) -> None:
    rows = [{"epoch": number, "x": value} for number, value in enumerate(values, start=1)]
    found = course(rows, "x")
    assert all(math.isfinite(value) for value in found.values())
    assert len(found) == sum(value is not None and math.isfinite(value) for value in values)
    assert all(values[epoch - 1] == value for epoch, value in found.items())


def test_of_many_trainings_that_were_not_completed_the_first_few_are_drawn_and_the_others_counted(
    tmp_path: Path,
) -> None:
    lost = [Training("ConvNet", seed, [3.0, 2.0], status="diverged") for seed in range(1, 21)]
    loss, _ = made(tmp_path, [Training("ConvNet", 0, [2.0, 1.0]), *lost])
    drawn = layers(loss)["training not completed"]
    assert {row["training"] for row in drawn} == {f"seed {seed} (diverged)" for seed in range(1, 9)}
    assert "seed 8 (diverged) after epoch 2; 12 more are not drawn." in loss.caption
    assert "seed 9" not in loss.caption + loss.alt_text
