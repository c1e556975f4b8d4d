"""What a report says of a run, in its order."""

import json
import shutil
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest
from records import make_run
from trained import Training, trained_run

from dwray.paths import RunPaths
from dwray.report.content import SECTIONS, ReportedRun, document_of
from dwray.report.document import Document, Listing, Section
from dwray.report.documents import figures_of, markdown_listing, read_run, write_report
from dwray.report.formats import FORMATS, write
from dwray.report.reproduction import commands
from dwray.report.values import tables_of
from dwray.results.answer import answer
from dwray.results.search_path import search_settings
from dwray.results.table import Column, Table

SWEEP = """
name: hand
networks: { A: { training: { initial_lr: 0.2 } }, B: null }
training: { initial_lr: 0.1, lr_decay: 0.9 }
search: { axes: { initial_lr: [0.1, 0.2] }, metric: validation_accuracy_percent }
"""

COMMIT = "0123456789abcdef0123456789abcdef01234567"
ENVIRONMENT = {"python": "3.11.7", "torch": "2.15.0+cu132", "ray": "2.60.0", "numpy": "2.4.1", "torchvision": None}


def reported(tmp_path: Path, name: str = "hand") -> ReportedRun:
    paths = make_run(tmp_path, name=name)
    paths.sweep.write_text(SWEEP)
    paths.environment.write_text(json.dumps({**ENVIRONMENT, "git_commit": f"{COMMIT}-dirty"}))
    return read_run(paths)


def sections(document: Document) -> dict[str, Section]:
    return {section.name: section for section in document.sections}


def anchors(document: Document) -> list[str]:
    tables = [table.name for table in tables_of(document)]
    figures = [figure.name for figure in figures_of(document)]
    return [section.name for section in document.sections] + tables + figures


def test_the_parts_stand_in_the_order_in_which_they_are_read(tmp_path: Path) -> None:
    run = reported(tmp_path)
    document = document_of(run)
    assert list(sections(document)) == [
        "paper-tables",
        "figures",
        "linear-search",
        "timing",
        "limits",
        "claims",
        "all-trials",
        "reproduce",
    ]
    assert document.answer == answer(run.records)
    four = [table.title.split(".")[0] for table in sections(document)["paper-tables"].tables]
    assert four == ["Table 1", "Table 2", "Table 3", "Table 4"]
    assert [figure.name for figure in figures_of(document)][-3:] == [
        "search_scores",
        "epoch_seconds",
        "test_time_by_batch",
    ]


def test_every_table_with_rows_is_somewhere(tmp_path: Path) -> None:
    run = reported(tmp_path)
    shown = {table.name for table in tables_of(document_of(run))}
    assert {table.name for table in run.tables if table.rows} | {"search", "trials"} <= shown


def test_a_part_is_called_as_its_entry_is_and_a_new_one_is_one_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def extra(run: ReportedRun) -> Section:
        table = Table(
            "contenders",
            "One table more",
            (Column("name", "network", pa.string()),),
            ({"name": run.records.contenders[0]},),
        )
        return Section("extra", "One part more", paragraphs=("It has a table.",), tables=(table,))

    monkeypatch.setitem(SECTIONS, "extra", extra)
    run = reported(tmp_path)
    document = document_of(run)
    assert [section.name for section in document.sections] == list(SECTIONS)
    assert list(SECTIONS)[-1] == "extra"
    for form, made in FORMATS.items():
        write(document, form, tmp_path / "out" / form)
        where = tmp_path / "out" / form
        text = "".join(path.read_text() for path in (where.iterdir() if made.is_folder else [where]))
        assert "One part more" in text or form in ("csv", "json"), "those have tables alone"
        assert "One table more" in text or form == "csv", "whose files are called by the tables' names"
    assert (tmp_path / "out" / "csv" / "contenders.csv").read_text() == "name\nA\n"


def test_an_anchor_is_one_places_own(tmp_path: Path) -> None:
    names = anchors(document_of(reported(tmp_path)))
    assert [name for name, count in Counter(names).items() if count > 1] == []


def test_failures_are_counted_and_stand_first(tmp_path: Path) -> None:
    trials = sections(document_of(reported(tmp_path)))["all-trials"]
    assert trials.paragraphs == ("1 of the 6 trials failed; they stand first, with their errors.",)
    assert trials.tables[0].rows[0]["status"] == "failed"
    assert trials.sortable


def test_it_says_how_to_repeat_the_run(tmp_path: Path) -> None:
    part = sections(document_of(reported(tmp_path)))["reproduce"]
    command, versions, sweep, environment = part.listings
    assert (command.caption, command.text, command.file) == ("The command", "dwray sweep sweep.yaml", None)
    assert "save it as sweep.yaml first" in part.paragraphs[0]
    assert versions.text.splitlines() == [
        "# in a clone of dwray's repository, with Python 3.11.7; sweep.yaml is the file below, saved there",
        f"git checkout {COMMIT}",
        "python3 -m venv .venv && . .venv/bin/activate",
        "pip install -e . torch==2.15.0 ray==2.60.0 numpy==2.4.1",
        "dwray sweep sweep.yaml",
    ]
    assert (versions.file, sweep.text, sweep.file) == (None, SWEEP, "sweep.yaml")
    assert "git_commit" in environment.text
    assert f"at commit {COMMIT}." in part.paragraphs[1]
    assert "not committed" in part.paragraphs[2]


@pytest.mark.parametrize("evil", ["$(halt)", "1; halt", "1 || halt", "-r https://evil", "1\nhalt", None, 3, ["1"], {}])
def test_of_the_records_nothing_but_versions_and_a_commit_is_in_the_commands(evil: object) -> None:
    said = commands(dict.fromkeys((*ENVIRONMENT, "git_commit"), evil), "0.1.0", "sweep.yaml")
    assert "halt" not in said
    assert "evil" not in said
    assert "git checkout" not in said
    assert said.startswith("# in the source tree of dwray 0.1.0")


def test_a_run_whose_sweep_file_is_gone_or_damaged_is_reported_all_the_same(tmp_path: Path) -> None:
    made = make_run(tmp_path / "here")
    part = sections(document_of(read_run(made)))["reproduce"]
    assert [listing.caption for listing in part.listings] == ["The command", "With the very versions of the run"]
    assert "git checkout" not in part.listings[1].text
    assert "The sweep file is missing" in part.paragraphs[2]
    made.sweep.write_text("search: [: broken")
    made.environment.write_bytes(b"\xff\xfe")
    assert len(sections(document_of(read_run(made)))["reproduce"].listings) == 3


@pytest.mark.parametrize("text", [None, "", "- a list", "search: text", "networks: [A]", "search: { axes: [1] }", "{"])
def test_a_sweep_file_that_says_nothing_of_its_search_leaves_the_defaults(text: str | None) -> None:
    found = search_settings(text)
    assert found.metric == "validation_accuracy_percent"
    assert (found.axes, found.starts) == ({}, {})


def test_the_sweep_file_says_what_was_compared_and_where_each_network_began() -> None:
    found = search_settings(SWEEP.replace("validation_accuracy_percent", "validation_loss"))
    assert found.metric == "validation_loss"
    assert found.axes == {"initial_lr": [0.1, 0.2]}
    assert found.starts == {"A": {"initial_lr": 0.2, "lr_decay": 0.9}, "B": {"initial_lr": 0.1, "lr_decay": 0.9}}


def test_parts_without_anything_say_so(tmp_path: Path) -> None:
    run = trained_run(tmp_path, [Training("A", 0, [], status="failed")])
    document = document_of(read_run(run))
    for name in ("figures", "linear-search", "timing", "limits", "claims"):
        part = sections(document)[name]
        assert len(part.paragraphs) == 1, name
        assert not part.figures, name


def test_a_fence_is_longer_than_those_in_the_text() -> None:
    said = markdown_listing(Listing("The file", "a\n````\nb\n"))
    assert said == "The file:\n\n`````\na\n````\nb\n`````"


def test_the_report_of_a_copied_run_has_its_listings(tmp_path: Path) -> None:
    made = reported(tmp_path / "here").paths
    elsewhere = RunPaths(tmp_path / "elsewhere")
    shutil.copytree(made.folder, elsewhere.folder)
    write_report(elsewhere)
    assert "\ndwray sweep sweep.yaml\n```" in elsewhere.markdown.read_text()
    assert "dwray sweep sweep.yaml" in elsewhere.html.read_text()
