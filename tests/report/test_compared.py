"""What a report says of several runs: together, what changed, and then each with its parts folded away."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest
from records import make_run

from dwray.report.compared import document_of_several, settings_of
from dwray.report.content import ReportedRun, document_of
from dwray.report.document import Document, Section
from dwray.report.documents import figures_of, read_run
from dwray.report.html import page
from dwray.report.values import tables_of
from dwray.results.answer import answer

SWEEP = "name: hand\ntraining: { epochs: 2, flip: false }\nseeds: [0, 1]\n"


def reported(runs: Path, name: str = "hand", sweep: str = SWEEP) -> ReportedRun:
    paths = make_run(runs, name=name)
    paths.sweep.write_text(sweep)
    paths.environment.write_text(json.dumps({"recorded_at": str(runs), "torch": "2.0"}))
    return read_run(paths)


def sections(document: Document) -> dict[str, Section]:
    return {section.name: section for section in document.sections}


@pytest.fixture
def pair(tmp_path: Path) -> list[ReportedRun]:
    return [reported(tmp_path / "one"), reported(tmp_path / "two", "other", SWEEP.replace("epochs: 2", "epochs: 3"))]


def test_runs_stand_together_above_the_parts_of_each(pair: list[ReportedRun]) -> None:
    document = document_of_several(pair)
    assert [name for name, section in sections(document).items() if not section.part_of] == [
        "runs",
        "together",
        "changes",
        "several",
        "run1",
        "run2",
    ]
    assert document.title == "2 runs compared"
    assert document.subtitle == "hand; other"
    assert document.provenance == "measured on some CPU, 2 CPU threads"
    part = sections(document)["run2-reproduce"]
    assert (part.part_of, part.title) == ("run2", "other: How to reproduce it")
    assert sections(document)["run1"].title == "Run hand"
    assert answer(pair[1].records)[0] in sections(document)["run2"].paragraphs
    own = [section.name for section in document_of(pair[0]).sections]
    assert [name for name, each in sections(document).items() if each.part_of == "run1"] == [f"run1-{n}" for n in own]


def test_the_answer_says_what_changed_and_in_what_they_differ(pair: list[ReportedRun]) -> None:
    changed, differing, accuracy, time = document_of_several(pair).answer
    assert changed.startswith("other against hand: no change of test accuracy is shown;")
    assert differing == "They differ in training.epochs."
    claim = "A 92.00% (66.59 to 100.00), with nothing to compare it with"
    assert accuracy == f"Accuracy within each run: {claim} (in both)."
    assert time.endswith("(in both).")


def test_what_is_not_known_of_the_settings_is_said(tmp_path: Path) -> None:
    runs = [reported(tmp_path / "one"), reported(tmp_path / "two")]
    assert document_of_several(runs).answer[1] == "No setting of their sweep files differs."
    runs[1].paths.sweep.write_text("[: broken")
    assert settings_of(runs[1].paths) == {"environment.torch": "2.0"}
    assert "not known of all" in document_of_several(runs).answer[1]


def test_settings_have_dotted_names(pair: list[ReportedRun]) -> None:
    assert settings_of(pair[0].paths) == {
        "training.epochs": "2",
        "training.flip": "false",
        "seeds": "[0, 1]",
        "environment.torch": "2.0",
    }


def test_an_anchor_is_one_places_own(pair: list[ReportedRun]) -> None:
    document = document_of_several([*pair, pair[0]])
    names = [section.name for section in document.sections]
    names += [table.name for table in tables_of(document)] + [figure.name for figure in figures_of(document)]
    assert [name for name, count in Counter(names).items() if count > 1] == []


def test_a_run_twice_is_told_apart(pair: list[ReportedRun]) -> None:
    titles = [sections(document_of_several([pair[0], pair[0]]))[f"run{number}"].title for number in (1, 2)]
    name = f"hand/{pair[0].paths.run_id}"
    assert titles == [f"Run {name} (1)", f"Run {name} (2)"]


def test_the_page_folds_the_parts_of_a_run_away_and_leads_to_the_run(pair: list[ReportedRun]) -> None:
    document = document_of_several(pair)
    made = page(document)
    entries = re.findall(r'<li><a href="#([^"]*)">', made)
    assert entries == ["answer", "runs", "together", "changes", "several", "run1", "run2"]
    parts = [section for section in document.sections if section.part_of]
    assert made.count('<details class="part">') == len(parts)
    for part in parts:
        opening = f'<section id="{part.name}" aria-labelledby="{part.name}-title" data-part-of="{part.part_of}">'
        assert re.search(re.escape(opening) + r'\s*<details class="part"><summary><h3', made)
