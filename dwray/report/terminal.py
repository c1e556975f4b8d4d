"""The tables, and what went wrong, in the terminal."""

from collections.abc import Iterable, Sequence

import rich.table
from rich import box
from rich.console import Console
from rich.markup import escape

from dwray.results.table import Row, Table


def print_table(console: Console, table: Table) -> None:
    """Print one table, or that it has nothing to show."""
    console.print()
    if not table.rows:
        console.print(f"[bold]{escape(table.title)}[/bold]: not measured", highlight=False)
        return
    drawn = rich.table.Table(
        title=table.title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    for column in table.shown:
        drawn.add_column(column.heading, justify="right" if column.is_number else "left", no_wrap=True)
    for cells in table.cells():
        drawn.add_row(*map(escape, cells))
    console.print(drawn)
    for note in table.notes:
        console.print(note, style="dim", highlight=False, markup=False)


def print_tables(console: Console, tables: Iterable[Table]) -> None:
    """Print every table."""
    for table in tables:
        print_table(console, table)


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
