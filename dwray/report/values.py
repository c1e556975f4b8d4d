"""A report's values as programs take them: CSV and JSON."""

import csv
import io
import json
import re
from collections.abc import Iterator
from typing import Any

from dwray.report.document import Document
from dwray.report.documents import figures_of
from dwray.results.table import ROW_FORM, Column, Table, finite


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


def json_of(document: Document) -> str:
    """:func:`data_of` as text."""
    return json.dumps(data_of(document), indent=2, allow_nan=False, default=str) + "\n"


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
