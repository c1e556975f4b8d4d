"""What figures draw, as tables: every number that is drawn, rounded, under words with units."""

from pathlib import Path

import pytest
from records import make_run
from trained import Training, trained_run

from dwray.paths import RunPaths
from dwray.report.content import document_of
from dwray.report.documents import figures_of, read_run
from dwray.report.figure_data import roofline_tables
from dwray.report.figures import Figure, figures
from dwray.results.records import Records
from dwray.results.table import Table

INTERNAL = ("order", "roof", "line", "training", "value", "text")
"""Fields of the charts that no reader knows."""


def drawn(paths: RunPaths) -> dict[str, Figure]:
    return {figure.name: figure for figure in figures_of(document_of(read_run(paths)))}


def headings(table: Table) -> list[str]:
    return [column.heading for column in table.shown]


def test_the_mean_stands_beside_the_ends_of_its_band(tmp_path: Path) -> None:
    trainings = [Training("ConvNet", seed, [2.0 + seed, 1.0 / 3]) for seed in range(2)]
    run = trained_run(tmp_path, trainings, dataset="cifar10", compare_with="cifar10")
    measured, notebook = figures(Records.read(run))[0].data
    assert measured.title == "Training loss by epoch: measured, mean of 2 seeds, 95% band"
    assert headings(measured) == ["epoch", "training loss (nats)", "95% low (nats)", "95% high (nats)"]
    assert measured.cells() == [["1", "2.5", "0", "8.853"], ["2", "0.3333", "-", "-"]], "no loss is below zero"
    assert notebook.title == "Training loss by epoch: notebook"
    assert headings(notebook) == ["epoch", "training loss (nats)"]
    assert len(notebook.rows) == 50


def test_the_ends_of_a_band_are_cut_where_an_accuracy_cannot_lie(tmp_path: Path) -> None:
    trainings = [Training("ConvNet", seed, [9.8 - seed, 0.2 + seed]) for seed in range(2)]  # 98% and 88%, 2% and 12%
    _, accuracy = figures(Records.read(trained_run(tmp_path, trainings)))
    (table,) = accuracy.data
    assert headings(table)[-1] == "95% high (%)"
    assert table.cells() == [["1", "93.00", "29.47", "100.00"], ["2", "7.00", "0.00", "70.53"]]


def test_what_did_not_complete_has_a_table_of_its_own_and_one_seed_no_band(tmp_path: Path) -> None:
    trainings = [Training("A", 0, [2.0, 1.0]), Training("A", 1, [3.0], status="failed")]
    done, failed = figures(Records.read(trained_run(tmp_path, trainings)))[0].data
    assert headings(done) == ["epoch", "training loss (nats)"]
    assert failed.title == "Training loss by epoch: seed 1 (failed)"
    assert failed.cells() == [["1", "3"]]


def test_a_figures_tables_are_told_apart_and_say_units(tmp_path: Path) -> None:
    for figure in drawn(make_run(tmp_path)).values():
        assert figure.data, figure.name
        assert len({table.title for table in figure.data}) == len(figure.data)
        for table in figure.data:
            assert not set(headings(table)) & set(INTERNAL), figure.name
            assert all(len(cell) <= 12 for row in table.cells() for cell in row), "rounded"


def test_passes_have_a_row_for_each_batch_size_and_a_column_for_each_network(tmp_path: Path) -> None:
    (table,) = drawn(make_run(tmp_path))["test_time_by_batch"].data
    assert table.title == "Seconds of a pass: test set, network alone"
    assert headings(table) == ["batch size", "A (s)", "B (s)"]
    assert [row["batch size"] for row in table.rows] == [4]
    assert [table.rows[0]["A (s)"], table.rows[0]["B (s)"]] == [pytest.approx(2.0), pytest.approx(1.0, rel=1e-3)]


def test_a_value_without_a_score_has_none_in_the_table(tmp_path: Path) -> None:
    (table,) = drawn(make_run(tmp_path))["search_scores"].data
    assert table.title == "Validation accuracy (%) by initial_lr"
    assert headings(table) == ["network", "initial_lr", "validation accuracy (%)", "outcome"]
    assert {row["outcome"] for row in table.rows} <= {"went on", "tried", "gave no score"}
    assert all((row["score"] is None) == (row["outcome"] == "gave no score") for row in table.rows)


def test_several_roofs_are_told_apart() -> None:
    corner = {"roof": 0, "intensity": 1.0, "flops": 2e12}
    points = [{"network": "A", "intensity": 12.3456, "flops": 1.23456e11}]
    reached, *roofs = roofline_tables(points, [[corner], [corner]])
    assert reached.cells() == [["A", "12.35", "1.235e+11"]]
    assert [table.title for table in roofs] == ["Roof 1 of 2", "Roof 2 of 2"]
    assert headings(roofs[0]) == ["arithmetic intensity (FLOP/byte)", "attainable (FLOP/s)"]
    assert roofline_tables(points, [[corner]])[1].title == "The roof"
