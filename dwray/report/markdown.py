"""A table in Markdown."""

from dwray.results.table import Table


def _markdown_cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")


def markdown_table(table: Table) -> str:
    """One table in GitHub's Markdown, with its title and notes."""
    lines = [f"## {table.title}", ""]
    if table.rows:
        lines.append("| " + " | ".join(_markdown_cell(column.heading) for column in table.shown) + " |")
        lines.append("|" + "|".join(" ---: " if column.is_number else " --- " for column in table.shown) + "|")
        lines += ["| " + " | ".join(map(_markdown_cell, cells)) + " |" for cells in table.cells()]
    else:
        lines.append("Not measured.")
    for note in table.notes:
        lines += ["", note]
    return "\n".join(lines)
