"""A table in Markdown."""

from dataclasses import replace

from dwray.results.table import Table

MOST_ROWS = 100
"""So many rows of a table are in a document that is read from its first page to its last; the page has them all."""


def shortened(table: Table) -> Table:
    """A table of at most MOST_ROWS rows, with a note of how many more there are."""
    more = len(table.rows) - MOST_ROWS
    if more <= 0:
        return table
    note = f"{more:,} more rows: in the page, and as CSV and JSON (dwray report --format)."
    return replace(table, rows=table.rows[:MOST_ROWS], notes=(note, *table.notes))


def _markdown_cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")


def markdown_table(table: Table, level: int = 2) -> str:
    """One table in GitHub's Markdown, with its title, a heading of some level, and its notes."""
    lines = [f"{'#' * level} {table.title}", ""]
    if table.rows:
        lines.append("| " + " | ".join(_markdown_cell(column.heading) for column in table.shown) + " |")
        lines.append("|" + "|".join(" ---: " if column.is_number else " --- " for column in table.shown) + "|")
        lines += ["| " + " | ".join(map(_markdown_cell, cells)) + " |" for cells in table.cells()]
    else:
        lines.append("Not measured.")
    for note in table.notes:
        lines += ["", note]
    return "\n".join(lines)
