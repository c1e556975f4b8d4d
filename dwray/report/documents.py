"""The report as files: Markdown, LaTeX, the figures, and one HTML page that needs nothing beside it."""

import re
from collections.abc import Iterable
from pathlib import Path

import vl_convert

from dwray.paths import RunPaths
from dwray.report.content import ReportedRun, document_of
from dwray.report.document import Document, Listing, Section
from dwray.report.figures import Figure, pdf, svg
from dwray.report.formats import FORMATS, text_of
from dwray.report.markdown import markdown_table, shortened
from dwray.results.records import Records
from dwray.results.table import Table
from dwray.results.tables import make_tables, write_tables
from dwray.storage import write_atomically

PNG_SCALE = 2
"""Pixels of a PNG for each of the figure's: sharp on a dense screen, and in a slide."""


def figures_of(document: Document) -> list[Figure]:
    """Every figure of a document, in its order."""
    return [figure for section in document.sections for figure in section.figures]


def markdown_figure(figure: Figure, folder: str = "figures", level: int = 2) -> str:
    """One figure in Markdown, as the SVG in a folder, under a heading of some level."""
    alt_text = re.sub(r"([\\\[\]])", r"\\\1", figure.alt_text)
    return f"{'#' * level} {figure.heading}\n\n![{alt_text}]({folder}/{figure.name}.svg)\n\n{figure.caption}"


def markdown_listing(listing: Listing) -> str:
    """A text as it is, between fences that it does not have itself."""
    ticks = max(map(len, re.findall(r"`+", listing.text)), default=0)
    fence = "`" * max(3, ticks + 1)
    return f"{listing.caption}:\n\n{fence}\n{listing.text.rstrip()}\n{fence}"


def markdown(document: Document, folder: str = "figures") -> str:
    """The whole report as Markdown.

    Args:
        document: What it says.
        folder: Of the figures, as the document refers to it.
    """
    parts = [f"# {document.title}", document.subtitle, document.provenance, *document.answer]
    for section in document.sections:
        parts += _markdown_section(section, folder)
    return "\n\n".join(parts) + "\n"


def _markdown_section(section: Section, folder: str) -> list[str]:
    return [
        f"## {section.title}",
        *section.paragraphs,
        *(markdown_table(shortened(table), level=3) for table in section.tables),
        *(markdown_figure(figure, folder, level=3) for figure in section.figures),
        *map(markdown_listing, section.listings),
    ]


def write_figures(figures: Iterable[Figure], folder: Path) -> None:
    """Draw figures into a folder: each as SVG, as PDF for LaTeX, and as PNG."""
    for figure in figures:
        image = svg(figure)
        write_atomically(folder / f"{figure.name}.svg", image.encode())
        write_atomically(folder / f"{figure.name}.pdf", pdf(image))
        write_atomically(folder / f"{figure.name}.png", bytes(vl_convert.svg_to_png(image, scale=PNG_SCALE)))


def read_run(paths: RunPaths) -> ReportedRun:
    """A run, and its tables made from its Parquet files.

    Raises:
        RunError: A Parquet file is missing or cannot be read.
    """
    records = Records.read(paths)
    return ReportedRun(paths, records, make_tables(records))


def write_report(paths: RunPaths) -> tuple[Records, list[Table]]:
    """Make every table, figure and document of a run from its Parquet files, and write them.

    Raises:
        RunError: A Parquet file is missing or cannot be read.
    """
    run = read_run(paths)
    document = document_of(run)
    write_tables(paths, run.records, run.tables)
    write_figures(figures_of(document), paths.figures)
    for name, form in FORMATS.items():
        if form.in_run:
            write_atomically(paths.report(form.endings[0]), text_of(document, name, paths.figures.name).encode())
    return run.records, list(run.tables)
