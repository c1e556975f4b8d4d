"""The report as files: Markdown, and one HTML page that needs nothing beside it."""

from collections.abc import Sequence
from functools import cache

import jinja2

from dwray.paths import RunPaths
from dwray.results.records import Records
from dwray.results.store import write_atomically
from dwray.results.table import Table
from dwray.results.tables import make_tables, write_tables


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


@cache
def _page() -> jinja2.Template:
    loader = jinja2.PackageLoader("dwray", "report")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("page.html.j2")


def subtitle(records: Records) -> str:
    """Which run a report is of, in one line."""
    identity = records.identity
    datasets = ", ".join(dict.fromkeys(row["dataset"] for row in records.trials))
    return (
        f"run {identity.get('run_id', '?')} on {datasets or 'no data'}"
        f"{' (SYNTHETIC)' if records.synthetic else ''}, dwray {identity.get('dwray_version', '?')}"
    )


def markdown(records: Records, tables: Sequence[Table]) -> str:
    """The whole report as Markdown."""
    parts = [f"# {records.identity.get('sweep', 'sweep')}", subtitle(records), *map(markdown_table, tables)]
    if records.failed:
        rows = [f"- {row['stage']}: {row['trial']}: `{row['error']}`" for row in records.failed]
        parts.append("\n".join([f"## {len(records.failed)} of the trials failed", "", *rows]))
    return "\n\n".join(parts) + "\n"


def html(records: Records, tables: Sequence[Table]) -> str:
    """The whole report as one self-contained page."""
    return _page().render(
        title=records.identity.get("sweep", "sweep"),
        subtitle=subtitle(records),
        tables=tables,
        failed=records.failed,
    )


def write_report(paths: RunPaths) -> tuple[Records, list[Table]]:
    """Make every table and document of a run from its Parquet files, and write them.

    Raises:
        RunError: A Parquet file is missing or cannot be read.
    """
    records = Records.read(paths)
    tables = make_tables(records)
    write_tables(paths, records, tables)
    write_atomically(paths.markdown, markdown(records, tables).encode())
    write_atomically(paths.html, html(records, tables).encode())
    return records, tables
