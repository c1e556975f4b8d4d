"""A report as one HTML page that needs nothing beside it, and that nothing can leave: its script has no network.

Without a script, and in print, it is whole: tables, figures as SVG, the first trials. The script adds charts that can
be explored, tables that sort and filter, and the choice of a dark page.
"""

import base64
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any

import jinja2
import vl_convert
from markupsafe import Markup

from dwray.report.document import Document
from dwray.report.figures import Figure, svg
from dwray.report.interactive import InteractiveChart, interactive
from dwray.results.table import Column, Table

FIRST_ROWS = 50
"""Rows of a sortable table that the page shows at once, and all that it shows without its script."""

MOST_CHOICES = 8
"""A text column with no more different values than this can be filtered by them."""

TRIAL = "trial"
"""The column that names a row, wherever it stands; in a table without it, the first does."""

LONG_CELL = 26
"""Characters: a longer cell may be broken into lines."""

LONG_WORD = 32
"""Characters: a longer word may be broken as well."""


@dataclass(frozen=True)
class Cell:
    """A cell as it is shown."""

    text: str
    look: str
    """Its class: ``number``, ``words``, ``long``, ``broken`` (a long one with a long word) or none."""
    is_repeated: bool = False
    """It says what the cell above says: it is there for those who hear the table, and not to be seen."""


@dataclass(frozen=True)
class Choice:
    """A column that a sortable table can be filtered by."""

    column: int
    heading: str
    values: Sequence[str]


@dataclass(frozen=True)
class Sortable:
    """What the script needs to sort and filter a table."""

    rows: Sequence[Sequence[str]]
    ranks: Sequence[Sequence[int | None] | None]
    """For each column of numbers, each row's rank, None where it has no number; None for a column of text."""
    choices: Sequence[Choice]
    header: int
    """The column that names a row to those who hear the table."""

    def data(self) -> dict[str, Any]:
        """As JSON may hold it."""
        return {
            "rows": self.rows,
            "ranks": self.ranks,
            "header": self.header,
            "page": FIRST_ROWS,
            "long": [LONG_CELL, LONG_WORD],
        }


@dataclass(frozen=True)
class Drawing:
    """A figure as the page shows it."""

    figure: Figure
    picture: Markup
    chart: InteractiveChart


def page(document: Document) -> str:
    """The whole report as one self-contained page.

    Args:
        document: What it says.
    """
    scripts = (_libraries(), Markup(_asset("page.js")))
    style = Markup(_asset("page.css"))
    return _template().render(
        document=document,
        drawings={each.name: _drawing(each) for section in document.sections for each in section.figures},
        policy=_policy(scripts, style),
        style=style,
        scripts=scripts,
        cells=cells,
        sortable=sortable,
        first_rows=FIRST_ROWS,
    )


def _drawing(figure: Figure) -> Drawing:
    # The SVG is made here, with all that comes from a run escaped in it: it is markup, not text.
    return Drawing(figure, Markup(svg(figure)), interactive(figure.chart.to_dict()))


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("dwray.report", "page"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    return environment.get_template("page.html.j2")


def _asset(name: str) -> str:
    return files("dwray.report").joinpath("page", name).read_text(encoding="utf-8")


@cache
def _libraries() -> Markup:
    """Vega, Vega-Lite and vega-embed as one script, from the same package that draws the figures."""
    bundle = str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"))
    if "</script" in bundle or "<!--" in bundle:
        raise AssertionError("vl_convert's bundle would end the page's script element")
    return Markup(bundle)


def _policy(scripts: Sequence[str], style: str) -> str:
    """The page's Content-Security-Policy: nothing is loaded or sent, and no script runs but the page's own."""
    allowed = " ".join(f"'sha256-{_digest(script)}'" for script in scripts)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'sha256-{_digest(style)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def cells(table: Table) -> list[list[Cell]]:
    """The cells of a table; one of a group that goes on still has its text."""
    return [
        [
            Cell(text or full, _look(column, text or full), is_repeated=not text and bool(full))
            for column, text, full in zip(table.shown, texts, fulls, strict=True)
        ]
        for texts, fulls in zip(table.cells(), _ungrouped(table).cells(), strict=True)
    ]


def _look(column: Column, text: str) -> str:
    if column.is_number:
        return "number"
    if any(len(word) > LONG_WORD for word in text.split()):
        return "broken"
    return "long" if len(text) > LONG_CELL else "words" if " " in text.strip() else ""


def _ungrouped(table: Table) -> Table:
    return replace(table, columns=tuple(replace(column, group=False) for column in table.columns))


def sortable(table: Table) -> Sortable:
    """A table with what it takes to sort and filter it."""
    rows = _ungrouped(table).cells()
    by_column = [list(texts) for texts in zip(*rows, strict=True)]
    return Sortable(
        rows=rows,
        ranks=[
            ranks([row.get(column.name) for row in table.rows]) if column.is_number else None for column in table.shown
        ],
        choices=[
            Choice(number, column.heading, sorted(different))
            for number, (column, texts) in enumerate(zip(table.shown, by_column, strict=False))
            if not column.is_number and 1 < len(different := set(texts)) <= MOST_CHOICES
        ],
        header=next((number for number, column in enumerate(table.shown) if column.name == TRIAL), 0),
    )


def ranks(values: Sequence[float | None]) -> list[int | None]:
    """Each value's place among the different ones, from 0; None for what is no number."""
    known = sorted({value for value in values if value is not None and not math.isnan(value)})
    places: Mapping[float, int] = {value: place for place, value in enumerate(known)}
    return [None if value is None else places.get(value) for value in values]
