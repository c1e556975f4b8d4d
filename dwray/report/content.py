"""What a report says of a run, and in which order: a :class:`~dwray.report.document.Document`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dwray.core.registry import Registry
from dwray.paths import RunPaths
from dwray.report.document import Document, Section
from dwray.report.figures import figures
from dwray.report.heading import provenance, subtitle, title
from dwray.report.reproduction import read_text, reproduction
from dwray.report.roofline_figure import roofline_figure
from dwray.report.search_figures import search_figure
from dwray.report.timing_figures import timing_figures
from dwray.results.answer import answer
from dwray.results.crossings import crossings_table
from dwray.results.records import Records
from dwray.results.search_path import search_settings, search_table
from dwray.results.table import Table
from dwray.results.trials import trials_table

_PLACES = {
    "parameters": "paper-tables",
    "accuracy": "paper-tables",
    "training_time": "paper-tables",
    "test_time": "paper-tables",
    "settings": "linear-search",
    "test_time_by_mode": "timing",
    "roofline": "limits",
    "verdicts": "claims",
}
"""The section of each table of a run; one that is new stands with the verdicts, behind them.

The names of sections, tables and figures are anchors of one page: no two are the same.
"""

MOST_SEARCHED = 50
"""A search of more values than this is a table to sort and filter; of fewer, one to read."""


@dataclass(frozen=True)
class ReportedRun:
    """A run and what is said of it: its files, its records, and the tables made of those."""

    paths: RunPaths
    records: Records
    tables: Sequence[Table]


def document_of(run: ReportedRun) -> Document:
    """The report of one run."""
    records = run.records
    sections = [make(run) for make in SECTIONS.values()]
    return Document(title(records), subtitle(records), provenance(records), answer(records), sections)


def _tables(run: ReportedRun, section: str) -> list[Table]:
    """The tables of a run that stand in a section."""
    return [table for table in run.tables if _PLACES.get(table.name, "claims") == section]


def _with_rows(tables: Sequence[Table]) -> list[Table]:
    return [table for table in tables if table.rows]


def _section(name: str, title: str, otherwise: str, *, is_empty: bool | None = None, **parts: Any) -> Section:
    """A section, with a line that says what is missing where it is empty (by default: where it has no parts)."""
    empty = not any(parts.values()) if is_empty is None else is_empty
    return Section(name, title, paragraphs=(otherwise,) if empty else (), **parts)


def _paper_tables(run: ReportedRun) -> Section:
    return Section("paper-tables", "The paper's tables, measured", tables=_tables(run, "paper-tables"))


def _figures(run: ReportedRun) -> Section:
    return _section("figures", "Figures", "No training has an epoch yet.", figures=figures(run.records))


def _linear_search(run: ReportedRun) -> Section:
    settings = search_settings(read_text(run.paths.sweep))
    searched = search_table(run.records, settings)
    found = search_figure(run.records, settings)
    return _section(
        "linear-search",
        "The linear search",
        "Nothing was searched: the settings are those of the sweep file.",
        tables=_with_rows([searched, *_tables(run, "linear-search")]),
        figures=[found] if found else [],
        is_empty=not searched.rows,
        sortable=len(searched.rows) > MOST_SEARCHED,
    )


def _timing(run: ReportedRun) -> Section:
    return _section(
        "timing",
        "Timing",
        "Nothing was timed, and no training has completed.",
        tables=_with_rows([*_tables(run, "timing"), crossings_table(run.records)]),
        figures=timing_figures(run.records),
    )


def _limits(run: ReportedRun) -> Section:
    roofline = roofline_figure(run.records)
    return _section(
        "limits",
        "The roofline",
        "No completed training recorded the limits of its device.",
        tables=_with_rows(_tables(run, "limits")),
        figures=[roofline] if roofline else [],
    )


def _claims(run: ReportedRun) -> Section:
    return _section(
        "claims",
        "The paper's claims",
        "The claims are about ConvNet and DepthwiseConvNet, and this run does not have both.",
        tables=_with_rows(_tables(run, "claims")),
    )


def _trials(run: ReportedRun) -> Section:
    records = run.records
    failed = len(records.failed)
    if not records.trials:
        said = "No trial has begun."
    elif failed:
        said = f"{failed:,} of the {len(records.trials):,} trials failed; they stand first, with their errors."
    else:
        said = "No trial failed."
    return Section("all-trials", "Trials", paragraphs=(said,), tables=(trials_table(records),), sortable=True)


def _reproduce(run: ReportedRun) -> Section:
    return reproduction(run.paths, run.records)


SECTIONS: Registry[Callable[[ReportedRun], Section]] = Registry(
    """The parts of a run's report in their order: a section's name, and what makes it.

    A part that has nothing to say says so in a line.
    """,
    {
        "paper-tables": _paper_tables,
        "figures": _figures,
        "linear-search": _linear_search,
        "timing": _timing,
        "limits": _limits,
        "claims": _claims,
        "all-trials": _trials,
        "reproduce": _reproduce,
    },
)
"""Every part of a run's report, with its tables and figures; a new one is one entry."""
