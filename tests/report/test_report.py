"""What a person reads: the terminal, Markdown and HTML, made of Parquet alone."""

import io
import re
import shutil
import sys
import threading
from html.parser import HTMLParser
from pathlib import Path

import pytest
from records import make_run
from rich.console import Console

from dwray.paths import RunPaths
from dwray.report.display import LiveDisplay, PlainDisplay, display, duration
from dwray.report.documents import write_report
from dwray.report.terminal import print_failures, print_tables
from dwray.results.progress import StageProgress, TrialProgress


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


def test_the_report_is_made_from_parquet_alone(tmp_path: Path) -> None:
    made = make_run(tmp_path / "here")
    elsewhere = RunPaths(tmp_path / "elsewhere")
    elsewhere.folder.mkdir()
    for path in (made.trials, made.epochs, made.timings):
        shutil.copy(path, elsewhere.folder)
    write_report(elsewhere)
    assert elsewhere.markdown.read_text().startswith(f"# hand\n\nrun {made.run_id} on digits, dwray ")
    assert {path.name for path in (elsewhere.folder / "tables").iterdir()} == {
        "parameters.parquet",
        "settings.parquet",
        "accuracy.parquet",
        "training_time.parquet",
        "test_time.parquet",
    }


def test_markdown_html_and_terminal_show_the_same_cells(tmp_path: Path) -> None:
    paths = make_run(tmp_path)
    _, tables = write_report(paths)
    page = Cells()
    page.feed(paths.html.read_text())
    expected = [text for table in tables for line in table.cells() for text in line]
    headings = {column.heading for table in tables for column in table.shown}
    assert [cell for cell in page.cells if cell not in headings] == [text for text in expected if text not in headings]
    in_markdown = [
        cell.strip()
        for line in paths.markdown.read_text().splitlines()
        if line.startswith("| ") and " --- " not in line and "---:" not in line
        for cell in re.split(r"(?<!\\)\|", line)[1:-1]
    ]
    assert [cell for cell in in_markdown if cell not in headings] == [text for text in expected if text not in headings]
    output = io.StringIO()
    print_tables(Console(file=output, width=80), tables)
    for text in expected:
        assert text in output.getvalue()
    assert "…" not in output.getvalue(), "nothing is cut off at 80 columns"
    assert max(map(len, output.getvalue().splitlines())) <= 80


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
