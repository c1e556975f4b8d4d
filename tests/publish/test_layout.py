"""The comparison report's specification: its sections, and that its panels find the runs."""

import json
from pathlib import Path
from typing import Any

import pytest
from records import SEARCHED, make_searched_run

from dwray.paths import RunPaths
from dwray.publish.runs import PublishedRun, published_runs
from dwray.results.records import Records

# Of the reports' package, when it is imported.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:wandb_workspaces")

RESULTS = Path(__file__).parents[2] / "results"


def blocks_of(records: Records, sweep_file: str) -> list[dict[str, Any]]:
    """The blocks of a report, which is the same again."""
    from dwray.publish.layout import build_report, published_tables, report_spec

    tables = published_tables(records)
    # Neither entity nor project: no server is asked for anything, and none could be reached.
    specs = [report_spec(build_report(records, tables, sweep_file)) for _ in range(2)]
    assert specs[0] == specs[1]
    return list(json.loads(specs[0])["blocks"])


@pytest.fixture(scope="module", params=["corrected-cifar10-reduced", "errata-digits"])
def made(request: pytest.FixtureRequest) -> tuple[list[dict[str, Any]], list[PublishedRun]]:
    """The blocks of a report, and the runs that it is of."""
    records = Records.read(RunPaths(RESULTS / request.param))
    return blocks_of(records, "name: a sweep file"), list(published_runs(records))


def text_of(block: dict[str, Any]) -> str:
    return "".join(part.get("text", "") for part in block["children"])


def sections(blocks: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for block in blocks:
        if block["type"] == "heading":
            name = text_of(block)
            found[name] = []
        elif found:
            found[name].append(block)
    return found


def panels_of(grid: dict[str, Any]) -> list[dict[str, Any]]:
    return list(grid["metadata"]["panelBankSectionConfig"]["panels"])


def shown_in(grid: dict[str, Any], runs: list[PublishedRun]) -> list[PublishedRun]:
    """The runs that pass the filters of a grid: of one of its sets of runs."""
    return [run for runset in grid["metadata"]["runSets"] for run in shown_of(runset, runs)]


def shown_of(runset: dict[str, Any], runs: list[PublishedRun]) -> list[PublishedRun]:
    def passes(run: PublishedRun, filtered: dict[str, Any]) -> bool:
        value = {"config": run.config, "summary": run.summary}[filtered["key"]["section"]].get(filtered["key"]["name"])
        return value == filtered["value"] if filtered["op"] == "=" else value in filtered["value"]

    return [run for run in runs if all(passes(run, each) for each in runset["filters"]["filters"])]


Made = tuple[list[dict[str, Any]], list[PublishedRun]]


def test_it_has_the_papers_parts_in_its_order(made: Made) -> None:
    names = list(sections(made[0]))
    rest = [name for name in names if name not in ("The linear search", "What the paper's flaws are worth")]
    assert rest == [
        "What was run, and where",
        "The paper's tables, measured",
        "How the networks learn",
        "Test time",
        "The paper's claims",
        "The runs, compared",
        "Provenance",
    ]
    found = sections(made[0])
    # Tables 1, 2, 3 and 4, with what the paper says beside what was measured.
    tables = [block["content"] for block in found["The paper's tables, measured"]]
    assert len(tables) == 4
    assert all("paper" in table for table in tables)
    assert "claim | verdict" in found["The paper's claims"][0]["content"]
    [comparer] = panels_of(found["The runs, compared"][0])
    assert comparer["viewType"] == "Run Comparer"
    assert "code-block" in {block["type"] for block in found["Provenance"]}


def test_every_panel_shows_what_its_runs_have(made: Made) -> None:
    blocks, runs = made
    grids = [block for block in blocks if block["type"] == "panel-grid"]
    kinds = set()
    for grid in grids:
        shown = shown_in(grid, runs)
        assert shown
        for panel in panels_of(grid):
            config = panel["config"]
            kinds.add(panel["viewType"])
            if panel["viewType"] == "Run History Line Plot":
                [metric] = config["metrics"]
                assert all(metric in run.history[0] and config["xAxis"] in run.history[0] for run in shown) or (
                    # The notebooks say nothing of some.
                    all(metric in run.history[0] for run in shown if run.job_type == "train")
                )
                assert (config["groupAgg"], config["groupArea"]) == ("mean", "stddev")
                assert config["groupBy"] == "contender.value"
            elif panel["viewType"] == "Scatter Plot":
                assert config["xAxis"] == "config:batch_size.value"
                assert all(config["yAxis"].removeprefix("summary:") in run.summary for run in shown)
    assert kinds == {"Run History Line Plot", "Scatter Plot", "Run Comparer"}


def test_measured_and_notebook_lie_in_one_panel(made: Made) -> None:
    blocks, runs = made
    grids = sections(blocks)["How the networks learn"][:-1]
    assert len(grids) == 4  # two networks, loss and accuracy
    papers = [run for run in runs if run.job_type == "paper"]
    for grid in grids:
        shown = shown_in(grid, runs)
        measured = [run for run in shown if run.job_type == "train"]
        network = measured[0].config["network"]
        # Three seeds under the run's own protocol, and none with a switch turned.
        assert sorted(run.config["seed"] for run in measured) == [0, 1, 2]
        assert {run.config["network"] for run in shown} == {network}
        notebook = [run for run in shown if run.job_type == "paper"]
        assert [run.name for run in notebook] == ([f"{network} notebook cifar10"] if papers else [])


def test_timings_of_another_kind_are_in_another_panel(made: Made) -> None:
    blocks, runs = made
    for grid in (block for block in sections(blocks)["Test time"] if block["type"] == "panel-grid"):
        shown = shown_in(grid, runs)
        sizes = [run.config["batch_size"] for run in shown]
        assert len(sizes) == len(set(sizes))
        # The seconds of both networks, and how many times as long the second takes: 1 is the crossover.
        assert [panel["config"]["yAxis"] for panel in panels_of(grid)] == [
            "summary:test_time/ConvNet/mean",
            "summary:test_time/DepthwiseConvNet/mean",
            "summary:test_time/DepthwiseConvNet over ConvNet",
        ]


def test_the_crossovers_stand_with_the_test_times_where_there_are_any(made: Made) -> None:
    blocks, runs = made
    texts = [block["content"] for block in sections(blocks)["Test time"] if block["type"] == "markdown-block"]
    found = [text for text in texts if "Where the order of the networks changes" in text]
    if any(run.job_type == "paper" for run in runs):
        assert len(found) == 1
        assert "ConvNet | between 4 and 256 (about 10) | DepthwiseConvNet | yes |" in found[0]
    else:
        assert found == []  # nothing was timed at two batch sizes


METRICS = {"validation_accuracy_percent": "validation accuracy (%)", "validation_loss": "validation loss (nats)"}


@pytest.mark.parametrize("metric", METRICS)
def test_a_search_is_shown_axis_by_axis_and_network_by_network(metric: str, tmp_path: Path) -> None:
    records = Records.read(make_searched_run(tmp_path))
    runs = list(published_runs(records))
    blocks = blocks_of(records, SEARCHED.replace("validation_accuracy_percent", metric))
    together, *along = (block for block in sections(blocks)["The linear search"] if block["type"] == "panel-grid")

    [panel] = panels_of(together)
    assert panel["viewType"] == "Parallel Coordinates Plot"
    columns = [(each["accessor"], each.get("log")) for each in panel["config"]["columns"]]
    assert columns == [
        ("config:contender.value", None),
        ("config:initial_lr.value", True),
        ("config:weight_decay.value", False),  # one of its values is 0
        (f"summary:{metric}", None),
    ]
    assert panel["config"]["columns"][-1]["displayName"] == METRICS[metric]
    # One that diverged gave no score.
    names = ("contender", "initial_lr", "weight_decay")
    assert [
        {tuple(run.config[name] for name in names) for run in shown_of(each, runs)}
        for each in together["metadata"]["runSets"]
    ] == [{(name, 0.1, 0.0), (name, 0.2, 0.0), (name, 0.2, 0.001)} for name in "AB"]

    shown = [(panels_of(grid), shown_in(grid, runs)) for grid in along]
    axes = [
        (name, axis, scale, values)
        for name in "AB"
        for axis, scale, values in (
            ("initial_lr", True, [(0.1, 0.0), (0.2, 0.0)]),
            # The rate that won is held; a decay of 0 was tried with it before.
            ("weight_decay", False, [(0.2, 0.0), (0.2, 0.001)]),
        )
    ]
    assert [[run.config["contender"] for run in found] for _, found in shown] == [[name] * 2 for name, *_ in axes]
    for ([panel], found), (name, axis, scale, values) in zip(shown, axes, strict=True):
        assert [(run.config["initial_lr"], run.config["weight_decay"]) for run in found] == values
        config = panel["config"]
        assert panel["viewType"] == "Scatter Plot"
        assert (config["xAxis"], config["yAxis"]) == (f"config:{axis}.value", f"summary:{metric}")
        assert config["xAxisLogScale"] is scale
        assert config["chartTitle"] == f"{name}: {METRICS[metric]} by {axis}"
