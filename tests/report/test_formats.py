"""A report in each format: what one says, the others say."""

import csv
import io
import json
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from records import make_run

from dwray.report.content import document_of
from dwray.report.document import Document
from dwray.report.documents import figures_of, read_run
from dwray.report.formats import FORMATS, Format, text_of, write
from dwray.report.values import csv_of, data_of, tables_of, unit
from dwray.results.table import ROW_FORM, Column, Table


@pytest.fixture
def document(tmp_path: Path) -> Document:
    return document_of(read_run(make_run(tmp_path / "runs")))


def test_csv_has_a_file_for_each_table_with_every_column_and_row(document: Document, tmp_path: Path) -> None:
    write(document, "csv", tmp_path / "csv")
    tables = {table.name: table for table in tables_of(document)}
    assert {path.name for path in (tmp_path / "csv").iterdir()} == {f"{name}.csv" for name in tables}
    rows = list(csv.DictReader(io.StringIO((tmp_path / "csv" / "trials.csv").read_text())))
    assert len(rows) == len(tables["trials"].rows)
    assert list(rows[0]) == [column.name for column in tables["trials"].columns]
    assert rows[0]["error"] == "RuntimeError: [bold]out of | memory[/bold] <b>"
    assert rows[0]["test_accuracy_percent"] == "", "what was not measured is empty"
    accuracy = list(csv.DictReader(io.StringIO(csv_of(tables["accuracy"]))))
    assert accuracy[0]["measured"] == "92.0", "numbers are not rounded"


def test_json_has_the_answer_and_every_table_with_its_units(document: Document) -> None:
    found = json.loads(text_of(document, "json"))
    assert found["answer"] == list(document.answer)
    assert set(found["tables"]) == {table.name for table in tables_of(document)}
    units = {column["name"]: column["unit"] for column in found["tables"]["trials"]["columns"]}
    assert (units["seconds"], units["test_accuracy_percent"], units["stage"]) == ("s", "%", None)
    assert found["tables"]["accuracy"]["rows"][0]["measured"] == 92.0
    assert {figure["name"] for figure in found["figures"]} == {figure.name for figure in figures_of(document)}


def test_json_has_no_nan(document: Document) -> None:
    table = Table("x", "X", (Column("value", "value", pa.float64()),), ({"value": math.nan}, {"value": 1.0}))
    section = document.sections[0]
    one = Document("t", "s", "p", (), (type(section)("s", "S", tables=(table,)),))
    assert data_of(one)["tables"]["x"]["rows"] == [{"value": None}, {"value": 1.0}]


@pytest.mark.parametrize(
    ("table", "name", "heading", "kind", "form", "expected"),
    [
        ("trials", "seconds", "seconds", pa.float64(), ".1f", "s"),
        ("test_time", "images_per_second", "images/s", pa.float64(), "", "images/s"),
        ("roofline", "matrix_flops_per_second", "FLOP/s", pa.float64(), "", "FLOP/s"),
        ("roofline", "ridge", "ridge", pa.float64(), "", "FLOP/byte"),
        ("test_time", "difference", "difference", pa.float64(), "", "s"),
        ("test_time", "longer_percent", "longer %", pa.float64(), "", "%"),
        ("roofline", "measured", "measured s", pa.float64(), "", "s"),
        ("accuracy", "measured", "measured", pa.float64(), ROW_FORM, None),
        ("trials", "seed", "seeds", pa.int64(), "", None),
        ("trials", "error", "error in %", pa.string(), "", None),
    ],
)
def test_units_are_those_of_the_names(
    table: str, name: str, heading: str, kind: pa.DataType, form: str, expected: str | None
) -> None:
    assert unit(table, Column(name, heading, kind, form)) == expected


@pytest.mark.parametrize(("form", "suffix", "link"), [("md", ".md", ".svg"), ("latex", ".tex", ".pdf")])
def test_figures_lie_beside_the_file_that_shows_them(
    document: Document, tmp_path: Path, form: Any, suffix: str, link: str
) -> None:
    file = tmp_path / "out" / f"my-report{suffix}"
    write(document, form, file)
    text = file.read_text()
    for figure in figures_of(document):
        name = f"my-report-figures/{figure.name}{link}"
        assert name in text
        assert (file.parent / name).is_file()


@pytest.mark.parametrize("stem", ["my report", "100%", "a#b", "a_b{c}$&~^\\\\", "(x)[y]", "bericht ä", "v1.2"])
def test_the_folder_of_the_figures_has_a_name_that_every_format_takes(
    document: Document, tmp_path: Path, stem: str
) -> None:
    for form, suffix, link in (("md", ".md", r"\]\((.*?\.svg)\)\n"), ("latex", ".tex", r"keepaspectratio\]\{(.*)\}")):
        file = tmp_path / f"{stem}{suffix}"
        write(document, form, file)  # type: ignore[arg-type]
        links = re.findall(link, file.read_text())
        assert len(links) == len(figures_of(document))
        for each in links:
            assert re.fullmatch(r"[A-Za-z0-9._+/-]+", each)
            assert (tmp_path / each).is_file()


def test_the_page_is_one_file(document: Document, tmp_path: Path) -> None:
    write(document, "html", tmp_path / "out" / "page.html")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["page.html"]
    assert (tmp_path / "out" / "page.html").read_text().lstrip().startswith("<!DOCTYPE html>")


def test_a_new_format_is_one_entry(document: Document, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FORMATS, "txt", Format(lambda document, figures: f"{document.title}, {figures}", (".txt",)))
    assert text_of(document, "txt") == "hand, figures"
    write(document, "txt", tmp_path / "mine.txt")
    assert (tmp_path / "mine.txt").read_text() == "hand, mine-figures"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("mine")] == ["mine.txt"]


ADDED = """
import sys
from dwray.report.formats import FORMATS, Format
FORMATS["txt"] = Format(lambda document, figures: document.title, (".txt",), in_run=True)
FORMATS["parts"] = Format(files=lambda document: {"title": document.title})
from dwray.cli import main
sys.argv[0] = "dwray"
main()
"""


def test_the_command_line_and_a_runs_folder_have_a_new_format(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs")

    def report(*arguments: str) -> str:
        command = [sys.executable, "-c", ADDED, "report", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    assert report("hand", "--format", "txt") == "hand"
    assert report("hand", "-o", "mine.txt") == "mine.txt\n"
    assert Path(report("hand", "--format", "parts").strip()) == run.in_format("parts")
    assert (run.in_format("parts") / "title").read_text() == "hand"
    assert not run.report(".txt").exists()
    report("hand", "-q")
    assert run.report(".txt").read_text() == "hand"


def test_csv_is_no_single_text(document: Document) -> None:
    with pytest.raises(ValueError, match="a file for each table"):
        text_of(document, "csv")
