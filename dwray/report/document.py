"""What a report says, in its order, apart from how a page, a Markdown file or a paper shows it."""

from collections.abc import Sequence
from dataclasses import dataclass

from dwray.report.figures import Figure
from dwray.results.table import Table


@dataclass(frozen=True)
class Listing:
    """A text that is shown as it is: a sweep file, commands."""

    caption: str
    text: str
    file: str | None = None
    """The name that it can be saved by; None: it is no file."""


@dataclass(frozen=True)
class Section:
    """One part of a report: paragraphs, then tables, then figures, then listings."""

    name: str
    """Its anchor: lower case, digits and hyphens."""
    title: str
    paragraphs: Sequence[str] = ()
    tables: Sequence[Table] = ()
    figures: Sequence[Figure] = ()
    listings: Sequence[Listing] = ()
    sortable: bool = False
    """Its tables may be long: a page lets the reader sort and filter them."""
    part_of: str = ""
    """The anchor of the section before it that it is a part of: a page folds it away."""


@dataclass(frozen=True)
class Document:
    """A report."""

    title: str
    subtitle: str
    provenance: str
    answer: Sequence[str]
    """Three sentences: who wins at what, how sure that is, and on which machine."""
    sections: Sequence[Section]
