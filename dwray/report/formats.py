"""The formats that a report is made in. What makes one is imported when it is: charts and templates take a second."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dwray.core.registry import Registry

if TYPE_CHECKING:
    from dwray.report.document import Document


@dataclass(frozen=True)
class Format:
    """One format: an entry of FORMATS. It makes one text or several files.

    Example:
        >>> Format(lambda document, figures: document.title, (".txt",)).is_folder
        False
    """

    text: "Callable[[Document, str], str] | None" = None
    """The report as one text, which finds its figures in the folder of this name."""
    endings: tuple[str, ...] = ()
    """Of the files that are in this format; the first is that of the file in a run's folder."""
    files: "Callable[[Document], Mapping[str, str]] | None" = None
    """The report as texts of several files by their names, which make a folder."""
    shows_figures: bool = False
    """Its text shows figures that are files of their own."""
    in_run: bool = False
    """A run's folder has it, as ``report`` with the first ending."""

    @property
    def is_folder(self) -> bool:
        """It is several files."""
        return self.text is None


def _html(document: "Document", figures: str) -> str:
    from dwray.report.html import page

    return page(document)


def _markdown(document: "Document", figures: str) -> str:
    from dwray.report.documents import markdown

    return markdown(document, figures)


def _latex(document: "Document", figures: str) -> str:
    from dwray.report.latex import latex

    return latex(document, figures)


def _csv(document: "Document") -> dict[str, str]:
    from dwray.report.values import csv_of, tables_of

    return {f"{table.name}.csv": csv_of(table) for table in tables_of(document)}


def _json(document: "Document", figures: str) -> str:
    from dwray.report.values import json_of

    return json_of(document)


FORMATS: Registry[Format] = Registry(
    "The formats of a report by the names that ``dwray report --format`` takes.",
    {
        "html": Format(_html, (".html", ".htm"), in_run=True),
        "md": Format(_markdown, (".md",), shows_figures=True, in_run=True),
        "latex": Format(_latex, (".tex",), shows_figures=True, in_run=True),
        "csv": Format(files=_csv),
        "json": Format(_json, (".json",)),
    },
)
"""Every format of a report; a new one is one entry."""


def text_of(document: "Document", form: str, figures: str = "figures") -> str:
    """A report as the text of one file.

    Args:
        document: What it says.
        form: Its format, of FORMATS.
        figures: Folder of the figures, as Markdown and LaTeX refer to it.

    Raises:
        ValueError: The format is several files, as CSV is, which has one for each table.
    """
    text = FORMATS[form].text
    if text is None:
        raise ValueError(f"{form} is several files (such as a file for each table), not one text")
    return text(document, figures)


def write(document: "Document", form: str, to: Path) -> None:
    """Write a report in a format, and beside a text that shows figures those, in ``<name>-figures``.

    Args:
        document: What it says.
        form: Its format, of FORMATS.
        to: The file; for CSV the folder, where a table's file of the same name is replaced.

    Raises:
        OSError: It cannot be written.
    """
    from dwray.report.documents import figures_of, write_figures
    from dwray.storage import write_atomically

    files = FORMATS[form].files
    if files is not None:
        for name, text in files(document).items():
            write_atomically(to / name, text.encode())
        return
    figures = f"{_to_link(to.stem)}-figures"
    if FORMATS[form].shows_figures:
        write_figures(figures_of(document), to.parent / figures)
    write_atomically(to, text_of(document, form, figures).encode())


def _to_link(name: str) -> str:
    """A name that Markdown and LaTeX take as it stands: other characters than the plainest as their numbers."""
    return re.sub(r"[^A-Za-z0-9._+-]", lambda found: f"_{ord(found[0]):x}", name)
