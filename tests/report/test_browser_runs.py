"""Reports of whole runs in a browser, as ``dwray report`` makes them: large ones, several in one, and for everyone."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from browsing import DESKTOP, IN_A_BROWSER, PHONE, Opened, first_paint, playwright, until
from contrasts import AA_TEXT, contrast
from postprocess import write_run
from records import make_run
from trained import Training, trained_run

from dwray.report.compared import document_of_several
from dwray.report.documents import read_run, write_report
from dwray.report.formats import write
from dwray.report.html import FIRST_ROWS

pytestmark = IN_A_BROWSER

TRIALS = 5000

WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]

LOOKS = pytest.mark.parametrize(
    ("size", "scheme"), [(DESKTOP, "light"), (DESKTOP, "dark"), (PHONE, "light")], ids=["light", "dark", "phone"]
)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of 5,000 trials, half of them a search's."""
    paths = write_run(tmp_path_factory.mktemp("large"), TRIALS, 30)
    write_report(paths)
    return paths.html


@pytest.fixture(scope="module")
def paper_size(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the paper's experiment: 24 search trials, then both networks with three seeds, and the notebook's curves."""
    paths = write_run(tmp_path_factory.mktemp("paper"), 30, 270, searched=24 / 30, unfinished=0)
    write_report(paths)
    return paths.html


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of three runs: two alike, with a search and timed passes, and one of the paper's networks with their curves."""
    folder = tmp_path_factory.mktemp("several")
    trainings = [
        Training(network, seed, [2.0 / epoch + 0.1 * seed for epoch in range(1, 21)], network=network)
        for network in ("ConvNet", "DepthwiseConvNet")
        for seed in range(3)
    ]
    runs = [
        make_run(folder),
        make_run(folder, name="other"),
        trained_run(folder, trainings, dataset="cifar10", compare_with="cifar10"),
    ]
    write(document_of_several([read_run(run) for run in runs]), "html", folder / "comparison.html")
    return folder / "comparison.html"


def test_five_thousand_trials_are_soon_there_and_are_sorted_and_filtered(
    open_file: Callable[..., Opened], large: Path
) -> None:
    assert large.stat().st_size < 12e6
    opened = open_file(large)
    assert first_paint(opened) < 3000
    table = opened.page.locator("#table-trials")
    playwright.expect(table.locator(".shown")).to_have_text(f"1 to {FIRST_ROWS} of 5,000 rows")
    assert table.locator("tbody tr").first.inner_text().find("failed") >= 0, "failures come first"
    table.get_by_role("button", name="val. %").click()
    accuracy = table.locator("thead th").all_inner_texts().index("val. %") + 1
    rising = [float(text) for text in table.locator(f"tbody :is(td, th):nth-child({accuracy})").all_inner_texts()]
    assert len(rising) == FIRST_ROWS
    assert rising == sorted(rising)
    table.get_by_label("stage").select_option("search")
    table.get_by_label("status").select_option("completed")
    table.get_by_role("searchbox").fill("number=2498")
    playwright.expect(table.locator(".shown")).to_have_text(re.compile(r"1 to 1 of 1 rows \(of 5,000\)"))
    assert table.locator("tbody th").all_inner_texts() == ["ConvNet number=2498"]
    assert opened.charts() >= 5
    assert opened.said == []
    assert opened.requests == [large.as_uri()]


def test_a_run_of_the_papers_size_is_a_small_page(open_file: Callable[..., Opened], paper_size: Path) -> None:
    assert paper_size.stat().st_size < 6e6
    opened = open_file(paper_size)
    assert first_paint(opened) < 3000
    figures = opened.page.locator("#figures figure h3").all_inner_texts()
    assert [title.partition(":")[0] for title in figures] == [f"Figure {number}" for number in (4, 5, 6, 7)]
    assert opened.charts() == 7
    assert opened.page.locator("#figures [data-series=notebook]").count() == 4
    assert opened.page.locator("#figure-search_scores .chart .role-title text").all_inner_texts() != []
    for series in opened.page.locator("[data-series]").all():
        series.click()
    until(lambda: opened.page.locator(".chart :is(.mark-line, .mark-symbol).role-mark path").count() == 0)
    assert opened.said == [], "of figures without a series, too"
    assert opened.requests == [paper_size.as_uri()]


def ticks(opened: Opened, figure: str) -> list[str]:
    return opened.page.locator(f"#{figure} .chart .role-axis-label text").all_text_contents()


def faults(opened: Opened) -> list[str]:
    """What axe-core finds in the page as it is, against WCAG 2.2 AA."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
    found = axe.Axe().run(opened.page, options={"runOnly": WCAG, "resultTypes": ["violations"]})
    return [f"{each['id']}: {node['html'][:200]}" for each in found.response["violations"] for node in each["nodes"]]


def in_hex(colour: str) -> str:
    return "#" + "".join(f"{int(part):02x}" for part in re.findall(r"\d+", colour)[:3])


@LOOKS
def test_nothing_keeps_anyone_out(
    open_file: Callable[..., Opened], paper_size: Path, size: tuple[int, int], scheme: str
) -> None:
    opened = open_file(paper_size, size, scheme)
    opened.charts()
    assert faults(opened) == []
    ground = in_hex(opened.page.evaluate("getComputedStyle(document.body).backgroundColor"))
    inks = "[...document.querySelectorAll('.chart text')].map((each) => getComputedStyle(each).fill)"
    found = {in_hex(ink) for ink in opened.page.evaluate(inks)}
    assert found
    assert all(contrast(ink, ground) >= AA_TEXT for ink in found), "which axe does not look at in a drawing"


@LOOKS
def test_several_runs_are_folded_open_and_drawn(
    open_file: Callable[..., Opened], several: Path, size: tuple[int, int], scheme: str
) -> None:
    opened = open_file(several, size, scheme)
    assert opened.charts() == 1, "the others are folded away"
    assert opened.page.locator("details.part[open]").count() == 0
    part = opened.page.locator("#run3-figures")
    assert part.locator("figure").count() == 4
    assert not part.locator("figure").first.is_visible()
    part.locator("summary").first.click()
    assert opened.charts("#run3-figures") == 4
    assert not opened.sticks_out()
    opened.page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    assert not opened.sticks_out()
    if scheme == "dark":
        assert faults(opened) == [], "of what was folded away, too"
    assert opened.said == []
    assert opened.requests == [several.as_uri()]


def test_a_run_is_hidden_in_the_figure_of_all_and_comes_back(open_file: Callable[..., Opened], several: Path) -> None:
    opened = open_file(several)
    opened.charts()
    figure = opened.page.locator("#figure-runs_together")
    points = figure.locator(".chart .mark-symbol.role-mark path")
    runs, drawn = figure.locator("[data-series]").all(), points.count()
    axes = ticks(opened, "figure-runs_together")
    assert len(runs) == 3
    runs[0].click()
    playwright.expect(runs[0]).to_have_attribute("aria-pressed", "false")
    until(lambda: 0 < points.count() < drawn)
    for run in runs[1:]:
        run.click()
    until(lambda: points.count() == 0)
    assert ticks(opened, "figure-runs_together") == axes, "they stay"
    for run in runs:
        run.click()
    playwright.expect(points).to_have_count(drawn)
    assert opened.said == []


def test_the_way_to_a_run_leads_past_its_folded_parts(open_file: Callable[..., Opened], several: Path) -> None:
    opened = open_file(several)
    links = opened.page.locator("nav a")
    assert [link.get_attribute("href") for link in links.all()][-3:] == ["#run1", "#run2", "#run3"]
    links.last.click()
    playwright.expect(opened.page.locator("#run3 h2")).to_be_in_viewport()
    playwright.expect(links.last).to_have_attribute("aria-current", "true")
    assert opened.page.locator("nav [aria-current]").count() == 1
    summary = opened.page.locator("#run3-claims summary")
    summary.focus()
    opened.page.keyboard.press("Enter")
    playwright.expect(opened.page.locator("#run3-claims .table").first).to_be_visible()
    opened.page.locator("#run3-claims").evaluate("(part) => part.scrollIntoView()")
    playwright.expect(links.last).to_have_attribute("aria-current", "true")


VISIBLE = """(part) => [...part.querySelectorAll("table, .picture > svg, pre")]
    .filter((each) => !each.closest("figure details")).every((each) => each.checkVisibility() && each.clientHeight)"""


def test_on_paper_nothing_of_a_run_is_folded_away(
    open_file: Callable[..., Opened], several: Path, tmp_path: Path
) -> None:
    opened = open_file(several)
    opened.charts()
    opened.page.emulate_media(media="print")
    parts = opened.page.locator("[data-part-of]").all()
    assert len(parts) == 3 * 8
    assert all(part.evaluate(VISIBLE) for part in parts)
    assert not opened.page.locator(".frame").first.is_visible()
    assert opened.page.pdf(path=tmp_path / "comparison.pdf").startswith(b"%PDF-")
