"""The report as files: Markdown, LaTeX, the figures, and one HTML page that needs nothing beside it."""

import re
from collections.abc import Sequence
from functools import cache

import jinja2

from dwray.paths import RunPaths
from dwray.report.figures import Figure, pdf, svg
from dwray.report.figures import figures as make_figures
from dwray.report.heading import provenance, subtitle, title
from dwray.report.latex import latex
from dwray.report.markdown import markdown_table
from dwray.results.records import Records
from dwray.results.table import Table
from dwray.results.tables import make_tables, write_tables
from dwray.storage import write_atomically


@cache
def _page() -> jinja2.Template:
    loader = jinja2.PackageLoader("dwray", "report")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("page.html.j2")


def markdown_figure(figure: Figure) -> str:
    """One figure in Markdown, as the SVG in ``figures/``."""
    alt_text = re.sub(r"([\\\[\]])", r"\\\1", figure.alt_text)
    return f"## {figure.heading}\n\n![{alt_text}](figures/{figure.name}.svg)\n\n{figure.caption}"


MOST_FAILURES = 50
"""So many trials that failed are named in a document; the records have them all."""


def markdown(records: Records, tables: Sequence[Table], figures: Sequence[Figure]) -> str:
    """The whole report as Markdown."""
    parts = [
        f"# {title(records)}",
        subtitle(records),
        provenance(records),
        *map(markdown_table, tables),
        *map(markdown_figure, figures),
    ]
    if records.failed:
        rows = [f"- {row['stage']}: {row['trial']}: `{row['error']}`" for row in records.failed[:MOST_FAILURES]]
        if len(records.failed) > MOST_FAILURES:
            rows.append(f"- and {len(records.failed) - MOST_FAILURES:,} more, in trials.parquet")
        parts.append("\n".join([f"## {len(records.failed)} of the trials failed", "", *rows]))
    return "\n\n".join(parts) + "\n"


def html(records: Records, tables: Sequence[Table], drawn: Sequence[tuple[Figure, str]]) -> str:
    """The whole report as one self-contained page.

    Args:
        records: What a run measured.
        tables: Its tables.
        drawn: Its figures, each with its SVG.
    """
    return _page().render(
        title=title(records),
        subtitle=subtitle(records),
        provenance=provenance(records),
        tables=tables,
        figures=drawn,
        failed=records.failed,
        most_failures=MOST_FAILURES,
    )


def write_report(paths: RunPaths) -> tuple[Records, list[Table]]:
    """Make every table, figure and document of a run from its Parquet files, and write them.

    Raises:
        RunError: A Parquet file is missing or cannot be read.
    """
    records = Records.read(paths)
    tables = make_tables(records)
    write_tables(paths, records, tables)
    figures = make_figures(records)
    drawn = [(figure, svg(figure)) for figure in figures]
    for figure, image in drawn:
        write_atomically(paths.figure(figure.name), image.encode())
        write_atomically(paths.figure(figure.name, "pdf"), pdf(image))
    write_atomically(paths.markdown, markdown(records, tables, figures).encode())
    write_atomically(paths.latex, latex(records, tables, figures).encode())
    write_atomically(paths.html, html(records, tables, drawn).encode())
    return records, tables
