"""A page of the report, opened in the system's Chromium."""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright", exc_type=ImportError)

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
IN_A_BROWSER = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="needs Chromium")]

DESKTOP, PHONE = (1280, 900), (390, 844)


@dataclass
class Opened:
    """The page, opened, and what it did."""

    page: "playwright.Page"
    said: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def charts(self, within: str = "body") -> int:
        """Scroll through all figures that are not folded away; how many there are once each has its chart."""
        figures = [figure for figure in self.page.locator(f"{within} figure").all() if figure.is_visible()]
        for figure in figures:
            figure.scroll_into_view_if_needed()
            playwright.expect(figure.locator(".chart svg.marks")).to_be_visible(timeout=30_000)
        return len(figures)

    def sticks_out(self) -> bool:
        """The page is wider than its window, and scrolls sideways."""
        width: int = self.page.evaluate("document.documentElement.scrollWidth")
        return width > self.page.viewport_size["width"]


def until(condition: Callable[[], bool]) -> None:
    """Wait for what the page does; asked from here, since its policy forbids to evaluate text in it."""
    for _ in range(200):
        if condition():
            return
        time.sleep(0.05)
    pytest.fail("the page did not do it in ten seconds")


def first_paint(opened: Opened) -> float:
    """Milliseconds until something of the page was there to be seen."""
    entries = "performance.getEntriesByName('first-contentful-paint')"
    until(lambda: opened.page.evaluate(f"{entries}.length"))
    return float(opened.page.evaluate(f"{entries}[0].startTime"))
