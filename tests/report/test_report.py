"""What a person reads: the live display, Markdown and HTML, made of Parquet alone."""

import io
import re
import shutil
from collections.abc import Iterable
from html.parser import HTMLParser
from pathlib import Path

from records import identity, make_run
from rich.console import Console
from trained import Training, trained_run

from dwray.core.config import PROTOCOLS
from dwray.paths import RunPaths
from dwray.report.content import document_of
from dwray.report.documents import read_run, write_report
from dwray.report.heading import provenance, subtitle
from dwray.report.terminal import print_failures, print_provenance
from dwray.report.values import tables_of
from dwray.results.answer import answer
from dwray.results.epochs import Epochs
from dwray.results.records import Records


class Cells(HTMLParser):
    """The text of every cell, and every address that the page would load."""

    def __init__(self) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.addresses: list[str] = []
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag in ("td", "th")
        if self._inside:
            self.cells.append("")
        self.addresses += [value for name, value in attrs if name in ("src", "href") and value]

    def handle_endtag(self, tag: str) -> None:
        self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.cells[-1] += data


class Page(HTMLParser):
    """Every identifier, every address, and how every image is called."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.images: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.ids += filter(None, [found.get("id")])
        self.addresses += filter(None, [found.get("src"), found.get("href")])
        if tag == "svg" and found.get("role") == "img":
            self.images.append((found["aria-label"] or "").split(" on ")[0])

    @staticmethod
    def expected(contenders: Iterable[str]) -> list[str]:
        return [f"{words} of {name}" for name in contenders for words in ("training loss", "validation accuracy")]


def test_the_report_is_made_from_parquet_alone(tmp_path: Path) -> None:
    made = make_run(tmp_path / "here")
    elsewhere = RunPaths(tmp_path / "elsewhere")
    elsewhere.folder.mkdir()
    for path in (made.trials, made.epochs, made.timings):
        shutil.copy(path, elsewhere.folder)
    _, tables = write_report(elsewhere)
    assert elsewhere.markdown.read_text().startswith(f"# hand\n\nrun {made.run_id} on digits, dwray ")
    assert {path.stem for path in (elsewhere.folder / "tables").iterdir()} == {table.name for table in tables}
    assert {"parameters", "accuracy", "training_time", "test_time"} <= {table.name for table in tables}


def test_markdown_and_html_show_every_cell(tmp_path: Path) -> None:
    paths = make_run(tmp_path)
    write_report(paths)
    tables = list(tables_of(document_of(read_run(paths))))
    page = Cells()
    page.feed(paths.html.read_text())
    expected = [text for table in tables for line in table.cells() for text in line]
    headings = {column.heading for table in tables for column in table.shown}
    assert len(expected) > 50
    assert {text for text in expected if text} <= {cell.strip() for cell in page.cells}
    in_markdown = [
        cell.strip().replace("\\|", "|")
        for line in paths.markdown.read_text().splitlines()
        if line.startswith("| ") and " --- " not in line and "---:" not in line
        for cell in re.split(r"(?<!\\)\|", line)[1:-1]
    ]
    assert [cell for cell in in_markdown if cell not in headings] == [
        text.strip() for text in expected if text not in headings
    ]


def test_every_document_says_which_run_by_which_protocol_and_on_what(tmp_path: Path) -> None:
    paths = make_run(tmp_path)
    records, _ = write_report(paths)
    said = "protocol: corrected; measured on some CPU, 2 CPU threads"
    assert provenance(records) == said
    assert f"\n\n{subtitle(records)}\n\n{said}\n\n" in paths.markdown.read_text()
    assert f"{subtitle(records)}<br>{said}</p>" in paths.html.read_text()
    for sentence in answer(records):
        assert f"\n\n{sentence}\n\n" in paths.markdown.read_text()
    assert f"\n\n{said}\\par\n" in paths.latex.read_text()
    output = io.StringIO()
    print_provenance(Console(file=output, width=80), records)
    assert output.getvalue().strip() == said


def test_the_provenance_names_the_switches_that_were_turned_and_every_machine(tmp_path: Path) -> None:
    run = trained_run(
        tmp_path,
        [
            Training("ConvNet", 0, [1.0], device="GPU A", threads=1),
            Training("ConvNet", 1, [1.0], device="GPU B", threads=4),
        ],
        protocol=PROTOCOLS["corrected"].turn("momentum_reset_each_epoch"),
    )
    assert provenance(Records.read(run)) == (
        "protocol: corrected with momentum_reset_each_epoch: true; "
        "measured on GPU A, 1 CPU thread; GPU B, 4 CPU threads"
    )
    assert provenance(Records([], Epochs.of_rows([]), [], identity("hand", ["A"]))) == "protocol: corrected"


def test_the_page_needs_nothing_beside_it_and_escapes_what_trials_say(tmp_path: Path) -> None:
    paths = make_run(tmp_path)
    write_report(paths)
    text = paths.html.read_text()
    page = Cells()
    page.feed(text)
    assert all(address.startswith("#") for address in page.addresses)
    assert "&lt;b&gt;" in text
    assert "memory[/bold] <b>" not in text


def test_figures_are_in_the_page_beside_the_documents_and_named_by_them(tmp_path: Path) -> None:
    evil = 'a "b" <c>|]'
    run = trained_run(
        tmp_path, [Training("ConvNet", seed, [2.0, 1.0]) for seed in (0, 1)] + [Training(evil, 0, [2.0, 1.0])]
    )
    write_report(run)
    files = {path.name for path in (run.folder / "figures").iterdir()}
    assert len(files) == (2 * 2 + 1) * 3, "two contenders with two quantities, their epochs; SVG, PDF and PNG"
    page = Page()
    page.feed(run.html.read_text())
    assert all(address.removeprefix("#") in page.ids for address in page.addresses)
    assert len(page.ids) == len(set(page.ids)), "an identifier is in a page only once"
    drawn = "".join(path.read_text() for path in run.figures.glob("*.svg"))
    referred = re.findall(r"url\(#([^)]*)\)", drawn)
    assert referred
    assert re.findall(r"url\((?!#)", drawn) == []
    assert set(referred) <= set(page.ids)
    assert page.images[:4] == [f"Line chart of the {words}" for words in page.expected(("ConvNet", evil))]
    links = re.findall(r"!\[(?:[^\]\\]|\\.)*\]\((figures/[^)]*)\)", run.markdown.read_text())
    included = re.findall(r"\\includegraphics\[.*?\]\{(.*?)\}", run.latex.read_text())
    assert len(links) == len(included) == 5
    assert all((run.folder / name).is_file() for name in links + included)
    assert all((run.folder / name).read_bytes().startswith(b"%PDF-") for name in included)
    assert all((run.folder / name).with_suffix(".png").read_bytes().startswith(b"\x89PNG") for name in included)


def test_failures_are_listed_by_name_with_their_error(tmp_path: Path) -> None:
    records, _ = write_report(make_run(tmp_path))
    output = io.StringIO()
    print_failures(Console(file=output, width=80), records.failed)
    assert "1 of the trials failed:" in output.getvalue()
    assert "train: B seed=0 (tried 2 times): RuntimeError: [bold]out of | memory[/bold] <b>" in output.getvalue(), (
        "on one line, and not read as markup"
    )
    output = io.StringIO()
    print_failures(Console(file=output), [])
    assert output.getvalue() == ""
