"""The tables, and what went wrong, in the terminal."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING

import rich.table
from rich import box
from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.text import Text

from dwray.results.table import Column, Row, Table

if TYPE_CHECKING:
    from dwray.results.records import Records

_GAP = 2
"""Between two columns: one of padding, one of the box."""

_MOST_DIVERGED = 8
"""A search may try many learning rates that are too high."""

_INDENT = 2
"""Of the rows below a section's heading."""


def print_table(console: Console, table: Table) -> None:
    """Print one table, or that it has nothing to show.

    Its section columns become headings between the rows, and its wide columns are left out, with their notes. Where the
    rest is wider than the console, headings and texts are wrapped; a number never is.
    """
    console.print()
    if not table.rows:
        console.print(f"[bold]{escape(table.title)}[/bold]: not measured", highlight=False)
        return
    console.print(table.title, style="bold", highlight=False, markup=False)
    columns, sections = _sections(table)
    indent = _INDENT if any(column.section for column in table.columns) else 0
    rows = [cells for _, section in sections for cells in section]
    widths = _widths(columns, rows, console.width - indent)
    console.print(Padding(_lines(columns, widths, [], show_header=True), (0, 0, 0, indent), expand=False))
    for heading, section in sections:
        if heading:
            console.print(heading, style="bold dim", highlight=False, markup=False)
        console.print(Padding(_lines(columns, widths, section, show_header=False), (0, 0, 0, indent), expand=False))
    for note in table.notes:
        if note not in table.wide_notes:
            console.print(note, style="dim", highlight=False, markup=False)


def _sections(table: Table) -> tuple[list[Column], list[tuple[str, list[list[str]]]]]:
    """The columns that are drawn, and their cells below the heading of each section."""
    narrow = tuple(column for column in table.shown if not column.wide)
    marks = tuple(column for column in narrow if column.section)
    # The marks are needed in every row, the other columns where they change.
    full = replace(table, columns=tuple(replace(column, group=False) for column in marks)).cells()
    headings = [", ".join(map(_mark, marks, cells)) for cells in full]
    drawn = [index for index, column in enumerate(narrow) if not column.section]
    rows = [[cells[index] for index in drawn] for cells in replace(table, columns=narrow).cells()]
    grouped = groupby(zip(headings, rows, strict=True), key=itemgetter(0))
    return [narrow[index] for index in drawn], [(heading, [row for _, row in group]) for heading, group in grouped]


def _mark(column: Column, text: str) -> str:
    """A value as part of a heading; a number says what it is a number of."""
    return f"{column.heading} {text}" if column.is_number else text


def _widths(columns: Sequence[Column], rows: Sequence[Sequence[str]], room: int) -> list[int]:
    """The columns' widths: as wide as their widest cells, and narrower where there is no room for that."""
    widths, least = [], []
    for index, column in enumerate(columns):
        cells = [row[index] for row in rows]
        widths.append(max(map(cell_len, (column.heading, *cells))))
        unbroken = cells if column.is_number else [word for cell in cells for word in cell.split()]
        least.append(max(map(cell_len, (*column.heading.split(), *unbroken)), default=0))
    while sum(widths) + _GAP * (len(widths) - 1) > room and widths != least:
        slack = [width - needed for width, needed in zip(widths, least, strict=True)]
        widths[slack.index(max(slack))] -= 1
    return widths


def _lines(
    columns: Sequence[Column], widths: Sequence[int], rows: Iterable[Sequence[str]], *, show_header: bool
) -> RenderableType:
    """Rows as aligned columns; tables of the same widths stand exactly below each other."""
    lines = rich.table.Table(
        box=box.SIMPLE_HEAD, show_header=show_header, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0)
    )
    for column, width in zip(columns, widths, strict=True):
        # "fold": what has no room even so is broken, not cut off.
        lines.add_column(
            Text(column.heading), justify="right" if column.is_number else "left", width=width, overflow="fold"
        )
    for cells in rows:
        lines.add_row(*map(Text, cells))
    return lines


def print_tables(console: Console, tables: Iterable[Table]) -> None:
    """Print every table; a note that several have stands below the first of them."""
    said: set[str] = set()
    for table in tables:
        # What several tables say of their numbers is read once; a footnote's number is its table's own.
        notes = tuple(note for note in table.notes if note not in said)
        said.update(note for note in table.notes if not note.startswith("["))
        print_table(console, replace(table, notes=notes))


def print_provenance(console: Console, records: "Records") -> None:
    """Print by which protocol, and on what, the tables were measured."""
    from dwray.report.heading import provenance  # scipy, which drawing a table does not need

    console.print()
    console.print(provenance(records), style="dim", highlight=False, markup=False)


def print_answer(console: Console, answer: Iterable[str]) -> None:
    """Print what a run answers, a sentence a paragraph."""
    console.print()
    for sentence in answer:
        console.print(sentence, highlight=False, markup=False)


def print_places(console: Console, places: Mapping[str, str | None]) -> None:
    """Print where things lie, a line each that can be copied whole; what has no place is left out."""
    console.print()
    named = {name: place for name, place in places.items() if place}
    width = max(map(len, named), default=0) + 1
    for name, place in named.items():
        console.print(f"{name + ':':<{width}} {place}", soft_wrap=True, highlight=False, markup=False)


def print_diverged(console: Console, diverged: Sequence[Row]) -> None:
    """Name each trial that diverged, or as many as are read."""
    if not diverged:
        return
    console.print(f"\n{len(diverged)} of the trials diverged:", style="bold yellow", highlight=False)
    for row in diverged[:_MOST_DIVERGED]:
        after = f" in epoch {row['epochs_done']} of {row['epochs']}" if row["epochs_done"] else ""
        console.print(f"  {row['stage']}: {row['trial']}{after}", soft_wrap=True, markup=False, highlight=False)
    if len(diverged) > _MOST_DIVERGED:
        console.print(f"  ... and {len(diverged) - _MOST_DIVERGED} more", highlight=False)


def disturbed_line(disturbed: Sequence[Row]) -> str:
    """What is to be known of timings that did not have their device to themselves, of which there is one at least."""
    alone = "was not alone on its device" if len(disturbed) == 1 else "were not alone on their device"
    return (
        f"{len(disturbed)} of the timings {alone}: {disturbed[0]['disturbance']}; end what else runs there and sweep "
        "again (timings.parquet marks them in its column exclusive)"
    )


def print_failures(console: Console, failed: Sequence[Row]) -> None:
    """Name each trial that failed, with its error."""
    if not failed:
        return
    console.print(f"\n{len(failed)} of the trials failed:", style="bold red", highlight=False)
    for row in failed:
        tries = row["failures"]
        console.print(
            f"  {row['stage']}: {row['trial']} (tried {tries} time{'s' if tries != 1 else ''}): {row['error']}",
            soft_wrap=True,
            markup=False,
            highlight=False,
        )
