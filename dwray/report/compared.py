"""What a report says of several runs: what they are, the runs together, what changed, and then each with its parts."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dwray.errors import SpecError, parse_json
from dwray.paths import RunPaths
from dwray.report.content import ReportedRun, document_of
from dwray.report.document import Document, Section
from dwray.report.several_figures import several_figure
from dwray.results.answer import Finding, accuracy_finding, training_time_finding
from dwray.results.differences import changes_in_words, differences_table
from dwray.results.several import (
    NamedRun,
    differing_settings,
    identity_tables,
    named_runs,
    notes_on_several,
    several_tables,
)
from dwray.yamltext import parse

MOST_NAMED = 4
"""So many settings in which runs differ are named in a sentence; of more, their number."""

NO_SETTING = ("name", "environment.recorded_at")
"""What differs between any two runs, or is told with their names."""


def document_of_several(runs: Sequence[ReportedRun]) -> Document:
    """The report of several runs: together first, and then each with all its parts, which a page folds away."""
    named = named_runs([(run.records, settings_of(run.paths)) for run in runs])
    figure = several_figure(named)
    sections = [
        Section("runs", "The runs", tables=identity_tables(named)),
        Section("together", "Together", figures=[figure] if figure else []),
        Section("changes", "What changed", tables=[differences_table(named)]),
        Section("several", "Side by side", tables=several_tables(named)),
    ]
    for number, (each, run) in enumerate(zip(named, runs, strict=True), start=1):
        document = document_of(run)
        said = (f"{document.title}: {document.subtitle}", document.provenance, *document.answer)
        sections.append(Section(f"run{number}", f"Run {each.name}", paragraphs=said))
        sections += [_of_run(section, number, each.name) for section in document.sections]
    return Document(
        title=f"{len(runs)} runs compared",
        subtitle="; ".join(each.name for each in named),
        provenance=_places(named),
        answer=_answer(named),
        sections=sections,
    )


def _places(runs: Sequence[NamedRun]) -> str:
    """On what the runs were measured, and which of them where, if not all in one place."""
    found: dict[str, list[str]] = {}
    for run in runs:
        found.setdefault(run.trained_on or run.timed_on or "no machine yet", []).append(run.name)
    said = [place if len(found) == 1 else f"{place} ({'; '.join(names)})" for place, names in found.items()]
    return f"measured on {' and on '.join(said)}"


def _answer(runs: Sequence[NamedRun]) -> list[str]:
    """What changed, in what the runs differ, and what each shows by itself."""
    return [
        *changes_in_words(runs),
        " ".join(_differing(runs)),
        f"Accuracy within each run: {_by_claim(runs, [accuracy_finding(run.records) for run in runs])}.",
        f"Training time within each run: {_by_claim(runs, [training_time_finding(run.records) for run in runs])}.",
    ]


def _differing(runs: Sequence[NamedRun]) -> list[str]:
    """What keeps the runs from being alike, and in which other settings they differ; of those, if they are known."""
    notes = notes_on_several(runs)
    if not all(any(not key.startswith("environment.") for key in run.settings) for run in runs):
        return [*notes, "In which settings they differ is not known of all: a sweep file is missing."]
    settings = [key for key in differing_settings(runs) if not key.startswith(("environment.", "protocol."))]
    other = "other " if notes else ""
    if not settings:
        return [*notes, f"No {other}setting of their sweep files differs."]
    more = len(settings) - MOST_NAMED
    return [
        *notes,
        f"They differ in {', '.join(settings[:MOST_NAMED])}{f' and {more} more settings' if more > 0 else ''}.",
    ]


def _by_claim(runs: Sequence[NamedRun], findings: Sequence[Finding]) -> str:
    """The findings of the runs, each once, with the runs that it is of."""
    found: dict[str, list[str]] = {}
    for run, finding in zip(runs, findings, strict=True):
        found.setdefault(finding.claim, []).append(run.name)
    if len(found) == 1:
        return f"{next(iter(found))} (in {'both' if len(runs) == 2 else 'all'})"
    return "; ".join(f"{claim} (in {' and in '.join(names)})" for claim, names in found.items())


def _of_run(section: Section, number: int, name: str) -> Section:
    """A section of one of several runs: its names are its own in the document, and its title says whose it is."""
    return replace(
        section,
        name=f"run{number}-{section.name}",
        title=f"{name}: {section.title}",
        part_of=f"run{number}",
        tables=[replace(table, name=f"run{number}_{table.name}") for table in section.tables],
        figures=[replace(figure, name=f"run{number}_{figure.name}") for figure in section.figures],
    )


def settings_of(paths: RunPaths) -> dict[str, str]:
    """A run's settings and what it ran on, by dotted names; of files that are missing or cannot be read, none."""
    environment = {"environment": _read(paths.environment, parse_json)}
    found = dict(_flat({**_read(paths.sweep, lambda text: parse(text, paths.sweep.name)), **environment}))
    return {key: text for key, text in found.items() if key not in NO_SETTING}


def _read(path: Path, parsed: Callable[[str], Any]) -> dict[str, Any]:
    """A mapping in a file; nothing of one that is missing or holds something else."""
    try:
        found = parsed(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, SpecError):
        return {}
    return found if isinstance(found, dict) else {}


def _flat(settings: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in settings.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}.")
        else:
            yield name, value if isinstance(value, str) else json.dumps(value, default=str)
