"""A report in the format that is asked for: HTML, Markdown, LaTeX, CSV or JSON."""

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from dwray.report.document import Document
from dwray.report.documents import figures_of, markdown, write_figures
from dwray.report.html import page
from dwray.report.latex import latex
from dwray.results.table import ROW_FORM, Column, Table, finite
from dwray.storage import write_atomically

Format = Literal["html", "md", "latex", "csv", "json"]


def text_of(document: Document, form: Format, figures: str = "figures") -> str:
    """A report as the text of one file.

    Args:
        document: What it says.
        form: Its format.
        figures: Folder of the figures, as Markdown and LaTeX refer to it.

    Raises:
        ValueError: CSV, which is a file for each table.
    """
    if form == "csv":
        raise ValueError("CSV is a file for each table, not one text")
    if form == "html":
        return page(document)
    if form == "md":
        return markdown(document, figures)
    if form == "latex":
        return latex(document, figures)
    return json.dumps(data_of(document), indent=2, allow_nan=False, default=str) + "\n"


def write(document: Document, form: Format, to: Path) -> None:
    """Write a report in a format, and beside Markdown and LaTeX the figures that they show, in ``<name>-figures``.

    Args:
        document: What it says.
        form: Its format.
        to: The file; for CSV the folder, where a table's file of the same name is replaced.

    Raises:
        OSError: It cannot be written.
    """
    if form == "csv":
        for table in tables_of(document):
            write_atomically(to / f"{table.name}.csv", csv_of(table).encode())
        return
    figures = f"{to.stem}-figures"
    if form in ("md", "latex"):
        write_figures(figures_of(document), to.parent / figures)
    write_atomically(to, text_of(document, form, figures).encode())


def tables_of(document: Document) -> Iterator[Table]:
    """Every table of a document, in its order."""
    for section in document.sections:
        yield from section.tables


def csv_of(table: Table) -> str:
    """A table's rows with all their columns; what was not measured is empty."""
    file = io.StringIO()
    writer = csv.DictWriter(file, [column.name for column in table.columns], lineterminator="\n")
    writer.writeheader()
    writer.writerows(table.data())
    return file.getvalue()


def data_of(document: Document) -> dict[str, Any]:
    """A report as plain values for JSON: the answer, and every table with the unit of each of its columns."""
    return {
        "title": document.title,
        "subtitle": document.subtitle,
        "provenance": document.provenance,
        "answer": list(document.answer),
        "tables": {table.name: _table_data(table) for table in tables_of(document)},
        "figures": [
            {"name": figure.name, "number": figure.number, "title": figure.title, "caption": figure.caption}
            for figure in figures_of(document)
        ],
        "listings": {listing.caption: listing.text for section in document.sections for listing in section.listings},
    }


def _table_data(table: Table) -> dict[str, Any]:
    return {
        "title": table.title,
        "columns": [
            {"name": column.name, "heading": column.heading, "unit": unit(table.name, column)}
            for column in table.columns
        ],
        "rows": finite(table.data()),
        "notes": list(table.notes),
    }


_UNITS = (
    (r"images_per_second", "images/s"),
    (r"flops_per_second", "FLOP/s"),
    (r"bytes_per_second", "bytes/s"),
    (r"percent", "%"),
    (r"seconds", "s"),
)
"""What a column's name says of its unit, the longer names first."""


_OTHER_UNITS = {
    ("test_time", "paper"): "s",
    ("test_time", "notebook"): "s",
    ("test_time", "difference"): "s",
    ("roofline", "ridge"): "FLOP/byte",
}
"""Of a table's columns whose names do not say theirs."""


def unit(table: str, column: Column) -> str | None:
    """The unit of a table's column; None of a text, a count, or a column whose rows have units of their own.

    Of those, the row tells: in its quantity, as in ``training pass, s``, or in a column ``unit``.
    """
    if not column.is_number or column.form == ROW_FORM:
        return None
    named = next((each for part, each in _UNITS if re.search(part, column.name)), None)
    if named:
        return named
    if "%" in column.heading:
        return "%"
    return "s" if re.search(r"(^| )s$", column.heading) else _OTHER_UNITS.get((table, column.name))
