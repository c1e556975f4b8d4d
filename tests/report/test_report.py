"""What a person reads: the live display, Markdown and HTML, made of Parquet alone."""

import io
import re
import shutil
import sys
import threading
from collections.abc import Iterable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from records import make_run
from rich.console import Console
from trained import Training, trained_run

from dwray.core.config import PROTOCOLS
from dwray.paths import RunPaths
from dwray.report.display import LiveDisplay, PlainDisplay, display, duration
from dwray.report.documents import write_report
from dwray.report.heading import provenance, subtitle
from dwray.report.terminal import print_failures, print_provenance
from dwray.results.progress import StageProgress, TrialProgress
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
        if tag == "svg":
            assert found["role"] == "img"
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


def test_markdown_and_html_show_the_same_cells(tmp_path: Path) -> None:
    paths = make_run(tmp_path)
    _, tables = write_report(paths)
    page = Cells()
    page.feed(paths.html.read_text())
    expected = [text for table in tables for line in table.cells() for text in line]
    headings = {column.heading for table in tables for column in table.shown}
    assert len(expected) > 50
    assert [cell for cell in page.cells if cell not in headings] == [text for text in expected if text not in headings]
    in_markdown = [
        cell.strip()
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
    assert provenance(Records.read(trained_run(tmp_path, []))) == "protocol: corrected"


def test_the_page_needs_nothing_beside_it_and_escapes_what_trials_say(tmp_path: Path) -> None:
    paths = make_run(tmp_path)
    write_report(paths)
    text = paths.html.read_text()
    page = Cells()
    page.feed(text)
    assert page.addresses == []
    assert "url(" not in text
    assert "&lt;b&gt;" in text
    assert "<b>" not in text


def test_figures_are_in_the_page_beside_the_documents_and_named_by_them(tmp_path: Path) -> None:
    evil = 'a "b" <c>|]'
    run = trained_run(
        tmp_path, [Training("ConvNet", seed, [2.0, 1.0]) for seed in (0, 1)] + [Training(evil, 0, [2.0, 1.0])]
    )
    write_report(run)
    files = {path.name for path in (run.folder / "figures").iterdir()}
    assert len(files) == 2 * 2 * 2, "two contenders, two quantities, SVG and PDF"
    page = Page()
    page.feed(run.html.read_text())
    assert page.addresses == []
    assert re.findall(r"url\((?!#)", run.html.read_text()) == []
    assert len(page.ids) == len(set(page.ids)), "an identifier is in a page only once"
    referred = re.findall(r"url\(#([^)]*)\)", run.html.read_text())
    assert referred
    assert set(referred) <= set(page.ids)
    assert page.images == [f"Line chart of the {words}" for words in page.expected(("ConvNet", evil))]
    links = re.findall(r"!\[(?:[^\]\\]|\\.)*\]\((figures/[^)]*)\)", run.markdown.read_text())
    included = re.findall(r"\\includegraphics\[.*?\]\{(.*?)\}", run.latex.read_text())
    assert len(links) == len(included) == 4
    assert all((run.folder / name).is_file() for name in links + included)
    assert all((run.folder / name).read_bytes().startswith(b"%PDF-") for name in included)


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


RUNNING = TrialProgress(
    trial_id="1",
    name="ConvNet initial_lr=0.1",
    status="running",
    contender="ConvNet",
    varies="initial_lr=0.1",
    iteration=2,
    iterations=5,
    seconds_per_iteration=1.25,
    seconds_left=3.75,
    loss=0.5,
    accuracy_percent=91.234,
    images_per_second=1234.5,
)


def test_plain_lines_say_all_that_the_table_says() -> None:
    output = io.StringIO()
    console = Console(file=output, width=40)
    assert not console.is_terminal
    with display(console, quiet=False) as listen:
        assert isinstance(listen, PlainDisplay)
        listen(StageProgress("search", 3))
        listen(RUNNING)
        listen(StageProgress("search", ended=True, seconds=75, notes=("ConvNet: initial_lr 0.1",)))
    assert output.getvalue().splitlines() == [
        "search: started, 3 trials at most",
        "ConvNet initial_lr=0.1: running, epoch 2/5, loss 0.5000, accuracy 91.23%, 1.25 s/epoch, 1234 images/s, "
        "3.75 s left",
        "search: done in 1:15",
        "search: ConvNet: initial_lr 0.1",
    ]


def test_the_live_table_shows_a_trials_network_what_varies_and_its_pace_at_80_columns() -> None:
    output = io.StringIO()
    console = Console(file=output, width=80, force_terminal=True)
    with display(console, quiet=False) as listen:
        assert isinstance(listen, LiveDisplay)
        listen(StageProgress("search", 30))
        for number in range(20):
            listen(TrialProgress(str(100 + number), "x", "completed", contender="ConvNet", varies=f"v{number}"))
        listen(RUNNING)
        listen(
            TrialProgress("2", "x", "failed", contender="DepthwiseConvNet", varies="weight_decay=0.0005", error="no")
        )
        listen.live.refresh()
    drawn = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", output.getvalue())
    line = next(line for line in drawn.splitlines() if "initial_lr=0.1" in line)
    for text in ("ConvNet", "2/5", "0.500", "91.23", "1.25", "1234", "3.75 s"):
        assert text in line
    assert "21 trials ended of at most 30, 1 running" in drawn
    assert re.search(r"DepthwiseConvNet +weight_decay=0.0005 .*failed", drawn)
    assert "…" not in drawn


def test_the_live_table_can_be_drawn_while_it_is_told_of_more() -> None:
    live = LiveDisplay(Console(file=io.StringIO(), width=80, force_terminal=True))
    drawing = Console(file=io.StringIO(), width=80)
    failures: list[BaseException] = []
    stop = threading.Event()

    def draw() -> None:
        try:
            while not stop.is_set():
                drawing.print(live._draw())
        except BaseException as error:
            failures.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    drawer = threading.Thread(target=draw)
    drawer.start()
    try:
        for _ in range(30):
            live(StageProgress("search", 30))
            for number in range(30):
                live(TrialProgress(str(number), "x", "running", contender="ConvNet"))
            live(StageProgress("search", ended=True))
    finally:
        stop.set()
        drawer.join()
        sys.setswitchinterval(interval)
    assert failures == []


def test_a_quiet_display_says_nothing() -> None:
    output = io.StringIO()
    with display(Console(file=output), quiet=True) as listen:
        listen(StageProgress("search", 3))
    assert output.getvalue() == ""


@pytest.mark.parametrize(
    ("seconds", "said"), [(None, ""), (0.421, "0.42 s"), (12.4, "12 s"), (185, "3:05"), (3723, "1:02:03")]
)
def test_durations_are_as_a_person_reads_them(seconds: float | None, said: str) -> None:
    assert duration(seconds) == said
