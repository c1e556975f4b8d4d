"""The page in a browser: it draws, responds, says nothing on the console, and reaches for nothing."""

import re
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from browsing import DESKTOP, IN_A_BROWSER, PHONE, Opened, playwright, until
from pages import LISTINGS, example
from trained import Training, trained_run

from dwray.report.content import document_of
from dwray.report.documents import read_run
from dwray.report.html import FIRST_ROWS, page

pytestmark = IN_A_BROWSER

TRIALS = 5000


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    written = folder / "report.html"
    written.write_text(page(example(folder, TRIALS)), encoding="utf-8")
    return written


@pytest.fixture
def open_page(open_file: Callable[..., Opened], file: Path) -> Callable[..., Opened]:
    return partial(open_file, file)


def lines(opened: Opened, figure: str) -> int:
    """How many lines a figure draws."""
    drawn = opened.page.locator(f"#{figure} .chart .mark-line path")
    return sum("L" in (path.get_attribute("d") or "") for path in drawn.all())


def ticks(opened: Opened, figure: str) -> list[str]:
    return sorted(opened.page.locator(f"#{figure} .chart .role-axis-label text").all_text_contents())


LOSS = "figure-training_loss_ConvNet"


@pytest.mark.parametrize(
    ("size", "scheme"), [(DESKTOP, "light"), (DESKTOP, "dark"), (PHONE, "light")], ids=["light", "dark", "phone"]
)
def test_everything_is_drawn_without_a_word_on_the_console_or_a_request(
    open_page: Callable[..., Opened], file: Path, size: tuple[int, int], scheme: str
) -> None:
    opened = open_page(size, scheme)
    assert opened.charts() >= 5
    assert opened.page.locator(".table table").count() == 2
    assert not opened.sticks_out()
    assert opened.said == []
    assert opened.requests == [file.as_uri()]
    assert opened.page.title().startswith("example </script>"), "what is evil in it did not run"


def test_not_even_a_script_in_the_page_could_send_anything(open_page: Callable[..., Opened]) -> None:
    opened = open_page()
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}/"
        opened.page.evaluate(f"fetch('{address}').catch(() => 0)")
        opened.page.evaluate(f"document.body.append(Object.assign(new Image(), {{ src: '{address}' }}))")
        server.settimeout(1)
        with pytest.raises(TimeoutError):
            server.accept()
    assert len(opened.said) >= 2
    assert all("violates" in said or "Content Security Policy" in said for said in opened.said)


def test_a_series_is_hidden_with_its_band_and_comes_back(open_page: Callable[..., Opened]) -> None:
    opened = open_page()
    opened.charts()
    band = opened.page.locator(f"#{LOSS} .chart .mark-area path")
    measured, notebook = opened.page.locator(f"#{LOSS} [data-series]").all()
    assert lines(opened, LOSS) == 2
    assert band.count() == 1
    measured.click()
    playwright.expect(measured).to_have_attribute("aria-pressed", "false")
    playwright.expect(band).to_have_count(0)
    assert lines(opened, LOSS) == 1
    notebook.click()
    playwright.expect(opened.page.locator(f"#{LOSS} .chart .mark-line path")).to_have_count(0)
    measured.click()
    playwright.expect(band).to_have_count(1)
    assert lines(opened, LOSS) == 1


def test_the_notebooks_line_is_dashed_and_the_measured_is_not(open_page: Callable[..., Opened]) -> None:
    opened = open_page()
    opened.charts()
    drawn = opened.page.locator(f"#{LOSS} .chart .mark-line path")
    assert sorted(path.get_attribute("stroke-dasharray") for path in drawn.all()) == ["1,0", "5,3"]


def test_the_scale_becomes_logarithmic_and_linear_again(open_page: Callable[..., Opened]) -> None:
    opened = open_page()
    opened.charts()
    linear = ticks(opened, LOSS)
    button = opened.page.locator(f"#{LOSS} .log")
    playwright.expect(button).to_have_attribute("aria-pressed", "false")
    button.click()
    playwright.expect(button).to_have_attribute("aria-pressed", "true")
    until(lambda: "0.0" not in ticks(opened, LOSS))
    logarithmic = ticks(opened, LOSS)
    assert linear != logarithmic
    assert "0.0" in linear
    assert lines(opened, LOSS) == 2
    assert opened.page.locator(f"#{LOSS} .chart .mark-area path").count() == 1
    button.click()
    until(lambda: ticks(opened, LOSS) == linear)
    assert opened.said == []


def test_it_zooms_by_buttons_and_by_the_wheel_with_a_key_alone(open_page: Callable[..., Opened]) -> None:
    opened = open_page()
    opened.charts()
    chart = opened.page.locator(f"#{LOSS} .chart")
    whole = ticks(opened, LOSS)

    def zoomed(by: Callable[[], None]) -> list[str]:
        before = ticks(opened, LOSS)
        by()
        until(lambda: ticks(opened, LOSS) != before)
        return ticks(opened, LOSS)

    assert zoomed(opened.page.locator(f"#{LOSS} .zoom-in").click) != whole
    back = zoomed(opened.page.locator(f"#{LOSS} .zoom-out").click)
    assert set(whole) - set(back) <= {"0.0"}, "but for the rounding of an end"
    chart.hover()
    opened.page.keyboard.down("Control")
    near = zoomed(lambda: opened.page.mouse.wheel(0, -300))
    opened.page.keyboard.up("Control")
    assert near != whole
    assert zoomed(opened.page.locator(f"#{LOSS} .reset").click) == whole
    chart.hover()
    top = opened.page.evaluate("scrollY")
    opened.page.mouse.wheel(0, 200)
    until(lambda: opened.page.evaluate("scrollY") > top)
    assert ticks(opened, LOSS) == whole, "the wheel alone scrolls the page"
    assert opened.said == []


def test_a_chart_moves_and_zooms_by_keys(open_page: Callable[..., Opened]) -> None:
    opened = open_page()
    opened.charts()
    frame, keys = opened.page.locator(f"#{LOSS} .frame"), opened.page.locator(f"#{LOSS} .keys")
    whole = ticks(opened, LOSS)
    assert not keys.is_visible()
    opened.page.locator(f"#{LOSS} .reset").focus()
    opened.page.keyboard.press("Tab")
    assert frame.evaluate("(frame) => frame === document.activeElement")
    playwright.expect(keys).to_be_visible()
    assert frame.evaluate("(frame) => getComputedStyle(frame).outlineStyle") == "solid"
    assert keys.inner_text() == "Arrow keys move, + and \N{MINUS SIGN} zoom, 0 resets."

    def shown() -> tuple[float, float]:
        """The middle of the epochs and of the values on the axes."""
        found = ticks(opened, LOSS)
        epochs = [float(text) for text in found if "." not in text]
        values = [float(text) for text in found if "." in text]
        return sum(epochs) / len(epochs), sum(values) / len(values)

    top = opened.page.evaluate("scrollY")
    opened.page.keyboard.press("+")
    until(lambda: ticks(opened, LOSS) != whole)
    for key, axis, sign in (("ArrowRight", 0, 1), ("ArrowLeft", 0, -1), ("ArrowUp", 1, 1), ("ArrowDown", 1, -1)):
        before = shown()
        for _ in range(4):
            opened.page.keyboard.press(key)
        until(lambda axis=axis, sign=sign, before=before: sign * (shown()[axis] - before[axis]) > 0)
        assert shown()[1 - axis] == before[1 - axis], "along the other axis nothing moved"
    assert opened.page.evaluate("scrollY") == top, "the page stays"
    opened.page.keyboard.press("0")
    until(lambda: ticks(opened, LOSS) == whole)
    opened.page.keyboard.press("Control+0")
    opened.page.keyboard.press("-")
    until(lambda: ticks(opened, LOSS) != whole)
    assert frame.evaluate("(frame) => frame === document.activeElement")
    assert opened.said == []


def test_a_trial_is_the_header_of_its_row_however_it_is_sorted(open_page: Callable[..., Opened]) -> None:
    opened = open_page()
    headers = opened.page.locator("#table-trials tbody th[scope=row]")
    assert headers.all_inner_texts() == [f"trial {number}" for number in range(FIRST_ROWS)]
    opened.page.locator("#table-trials th button", has_text="val. %").click()
    assert headers.all_inner_texts() == column(opened, 2)
    assert headers.count() == FIRST_ROWS
    assert "trial 0" not in headers.all_inner_texts()
    without = open_page(script=False).page.locator("#table-trials tbody th[scope=row]")
    assert without.all_inner_texts() == [f"trial {number}" for number in range(FIRST_ROWS)]


def test_what_is_under_the_pointer_is_told_and_escape_ends_it(open_page: Callable[..., Opened]) -> None:
    opened = open_page()
    opened.charts()
    opened.page.locator(f"#{LOSS} .chart").hover()
    hint = opened.page.locator("#hint")
    playwright.expect(hint).to_be_visible()
    said = dict(zip(hint.locator("th").all_inner_texts(), hint.locator("td").all_inner_texts(), strict=True))
    assert {"line", "epoch", "training loss (nats)"} <= set(said)
    assert said["line"] in ("notebook", "measured, mean of 3 seeds, 95% band")
    assert float(said["epoch"]).is_integer()
    assert "training" not in said, "it is empty"
    opened.page.keyboard.press("Escape")
    playwright.expect(hint).to_be_hidden()


@pytest.mark.parametrize("script", [True, False], ids=["script", "no script"])
def test_a_figures_data_are_tables_that_say_what_they_are(open_page: Callable[..., Opened], *, script: bool) -> None:
    opened = open_page(script=script)
    opened.page.locator(f"#{LOSS} summary").click()
    data = opened.page.locator(f"#{LOSS} details table")
    playwright.expect(data.first).to_be_visible()
    assert data.locator("caption").all_inner_texts() == [
        "Training loss by epoch: measured, mean of 3 seeds, 95% band",
        "Training loss by epoch: notebook",
    ]
    heads = [each.locator("thead th").all_inner_texts() for each in data.all()]
    assert heads == [
        ["epoch", "training loss (nats)", "95% low (nats)", "95% high (nats)"],
        ["epoch", "training loss (nats)"],
    ]
    assert data.first.locator("tbody tr").first.locator("th, td").all_inner_texts()[:2] == ["1", "2.1"]


def column(opened: Opened, number: int) -> list[str]:
    return opened.page.locator(f"#table-trials tbody :is(td, th):nth-child({number})").all_inner_texts()


def test_trials_are_sorted_by_number_with_the_missing_last(open_page: Callable[..., Opened]) -> None:
    opened = open_page()
    head = opened.page.locator("#table-trials th", has_text="val. %")
    head.locator("button").click()
    rising = [float(text) for text in column(opened, 4)]
    assert rising == sorted(rising)
    assert rising[0] < 1
    playwright.expect(head).to_have_attribute("aria-sort", "ascending")
    head.locator("button").press("Enter")
    playwright.expect(head).to_have_attribute("aria-sort", "descending")
    falling = [float(text) for text in column(opened, 4)]
    assert falling == sorted(falling, reverse=True)
    assert falling[0] > 99
    opened.page.locator("#table-trials th button", has_text="trial").click()
    assert column(opened, 2)[:3] == ["trial 0", "trial 1", "trial 2"], "as numbers, not as letters"
    assert opened.page.locator("#table-trials [aria-sort]").count() == 1


def test_trials_are_found_by_word_and_by_status_and_paged_through(open_page: Callable[..., Opened]) -> None:
    opened = open_page()
    shown, search = opened.page.locator("#table-trials .shown"), opened.page.locator("#table-trials .search")
    playwright.expect(shown).to_have_text(f"1 to {FIRST_ROWS} of 5,000 rows")
    as_it_came = opened.page.locator("#table-trials tbody").inner_text()
    opened.page.locator("#table-trials .next").click()
    assert column(opened, 2) == [f"trial {number}" for number in range(FIRST_ROWS, 2 * FIRST_ROWS)]
    opened.page.locator("#table-trials .previous").click()
    assert opened.page.locator("#table-trials tbody").inner_text() == as_it_came
    opened.page.get_by_label("status").select_option("failed")
    playwright.expect(shown).to_have_text(f"1 to {FIRST_ROWS} of 500 rows (of 5,000)")
    assert all("out of memory" in text for text in column(opened, 5))
    search.fill("MEMORY 4990")
    playwright.expect(shown).to_have_text("1 to 1 of 1 rows (of 5,000)")
    assert column(opened, 2) == ["trial 4990"]
    assert opened.page.locator("#table-trials .next").is_disabled()
    search.fill("no such thing")
    playwright.expect(shown).to_have_text("No row matches (of 5,000)")
    assert opened.said == []


def test_a_file_is_copied_and_saved_as_it_is_without_a_request(
    open_page: Callable[..., Opened], file: Path, tmp_path: Path
) -> None:
    opened = open_page()
    opened.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    for listing, part in zip(LISTINGS, opened.page.locator(".listing").all(), strict=True):
        part.get_by_role("button", name="Copy").click()
        playwright.expect(part.get_by_role("status")).to_have_text("Copied")
        assert opened.page.evaluate("navigator.clipboard.readText()") == listing.text
    save = opened.page.get_by_role("button", name=re.compile("^Download"))
    assert save.all_inner_texts() == ["Download sweep.yaml"], "commands are no file"
    with opened.page.expect_download() as download:
        save.click()
    assert download.value.suggested_filename == "sweep.yaml"
    download.value.save_as(tmp_path / "sweep.yaml")
    assert (tmp_path / "sweep.yaml").read_text() == LISTINGS[1].text
    assert opened.said == []
    assert [url for url in opened.requests if not url.startswith("blob:")] == [file.as_uri()]


def test_what_cannot_be_copied_is_selected(open_page: Callable[..., Opened]) -> None:
    opened = open_page()
    opened.page.evaluate("delete Navigator.prototype.clipboard")
    part = opened.page.locator(".listing").first
    part.get_by_role("button", name="Copy").click()
    playwright.expect(part.get_by_role("status")).to_have_text("Selected: copy it with the keyboard")
    assert opened.page.evaluate("getSelection().toString()") == LISTINGS[0].text


def test_the_page_turns_dark_and_light_and_its_charts_with_it(open_page: Callable[..., Opened]) -> None:
    opened = open_page(scheme="light")
    opened.charts()
    ground = "getComputedStyle(document.body).backgroundColor"
    light, line = opened.page.evaluate(ground), f"#{LOSS} .chart .mark-line path >> nth=0"
    drawn = opened.page.get_attribute(line, "stroke")
    opened.page.locator("#theme").click()
    playwright.expect(opened.page.locator("#theme")).to_have_attribute("aria-pressed", "true")
    assert opened.page.evaluate(ground) != light
    playwright.expect(opened.page.locator(line)).not_to_have_attribute("stroke", drawn)
    dark = open_page(scheme="dark")
    assert dark.page.evaluate(ground) == opened.page.evaluate(ground)
    dark.page.locator("#theme").click()
    assert dark.page.evaluate(ground) == light


def test_the_keyboard_skips_to_the_report_and_reaches_every_table(open_page: Callable[..., Opened]) -> None:
    opened = open_page()
    opened.page.keyboard.press("Tab")
    assert opened.page.evaluate("document.activeElement.className") == "skip"
    opened.page.keyboard.press("Enter")
    assert opened.page.evaluate("document.activeElement.id") == "answer"
    reached = set()
    for _ in range(400):
        opened.page.keyboard.press("Tab")
        reached.add(opened.page.evaluate("document.activeElement.outerHTML.slice(0, 200)"))
    found = "\n".join(reached)
    for control in ('aria-label="Table 4. Test time"', 'class="log"', "data-series", 'class="search"', 'class="sort"'):
        assert control in found


def test_a_screen_reader_finds_landmarks_figures_and_tables(open_page: Callable[..., Opened]) -> None:
    opened = open_page()
    opened.charts()
    heard = opened.page.locator("body").aria_snapshot()
    assert 'navigation "Parts of the report"' in heard
    assert "main" in heard
    assert 'heading "Figures" [level=2]' in heard
    assert heard.count('img "Line chart of the ') == 4, "of a picture and its chart one is heard"
    assert 'columnheader "network"' in heard
    assert re.search(r'region "Table 4. Test time"', heard)
    assert 'button "Log scale"' in heard


def test_without_a_script_the_page_is_whole(open_page: Callable[..., Opened]) -> None:
    opened = open_page(script=False)
    for picture in opened.page.locator("figure .picture > svg").all():
        assert picture.is_visible()
    assert opened.page.locator("#table-trials tbody tr").count() == FIRST_ROWS
    assert opened.page.get_by_text("The first 50 of 5,000 rows.").is_visible()
    assert not opened.page.locator("#table-trials .controls").is_visible()


A4 = 703
"""Pixels between the margins."""

TORN = """
    [...document.querySelectorAll("tbody td, tbody th")].filter((cell) => !cell.children.length).flatMap((cell) =>
        [...cell.textContent.matchAll(/\\w+/g)].map((word) => {
            const range = document.createRange();
            range.setStart(cell.firstChild, word.index);
            range.setEnd(cell.firstChild, word.index + word[0].length);
            return new Set([...range.getClientRects()].map((box) => box.top)).size > 1 ? word[0] : null;
        }).filter(Boolean))
"""
"""The words of tables that are broken; of cells whose text is all their own."""

TOO_WIDE = """
    [...document.querySelectorAll("main table")].filter((table) => table.checkVisibility())
        .filter((table) => table.scrollWidth > document.querySelector("main").clientWidth).length
"""


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a run of both networks, some of whose trainings failed on machines of long names."""
    folder = tmp_path_factory.mktemp("compared")
    trainings = [
        Training(network, seed, [2.0 / epoch for epoch in range(1, 6)], network=network, status=status)
        for network in ("ConvNet", "DepthwiseConvNet")
        for seed, status in enumerate(("completed", "completed", "completed", "interrupted"))
    ]
    document = document_of(read_run(trained_run(folder, trainings, dataset="cifar10", compare_with="cifar10")))
    written = folder / "report.html"
    written.write_text(page(document), encoding="utf-8")
    return written


def test_on_paper_tables_fit_and_no_word_is_broken(open_file: Callable[..., Opened], compared: Path) -> None:
    opened = open_file(compared, (A4, 900))
    opened.page.emulate_media(media="print")
    assert "DepthwiseConvNet" in opened.page.locator("#claims").inner_text()
    assert opened.page.evaluate(TOO_WIDE) == 0
    assert opened.page.evaluate(TORN) == []


def test_words_go_to_the_next_line_before_a_table_scrolls(open_file: Callable[..., Opened], compared: Path) -> None:
    opened = open_file(compared)
    assert "DepthwiseConvNet" in opened.page.locator("#claims").inner_text()
    assert opened.page.evaluate(TOO_WIDE) == 0
    assert opened.page.evaluate(TORN) == []


def test_a_table_that_is_wider_than_the_page_shows_that_it_scrolls(
    open_file: Callable[..., Opened], compared: Path
) -> None:
    opened = open_file(compared, PHONE)
    assert opened.page.evaluate(TOO_WIDE) > 0
    shade = opened.page.locator("#claims .scroll").first.evaluate("(box) => getComputedStyle(box).backgroundAttachment")
    assert shade == "local, local, scroll, scroll"
    assert not opened.sticks_out()
    assert opened.page.evaluate(TORN) == []


def test_on_paper_are_the_pictures_and_no_controls(open_page: Callable[..., Opened], tmp_path: Path) -> None:
    opened = open_page(scheme="dark")
    opened.charts()
    opened.page.emulate_media(media="print", color_scheme="dark")
    assert opened.page.locator(f"#{LOSS} .picture > svg").is_visible()
    for hidden in ("nav", f"#{LOSS} .chart", f"#{LOSS} .log", "#table-trials .search"):
        assert not opened.page.locator(hidden).is_visible()
    assert opened.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert opened.page.pdf(path=tmp_path / "report.pdf").startswith(b"%PDF-")
