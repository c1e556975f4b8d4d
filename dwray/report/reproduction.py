"""How to run a run again: one command, the very environment for it, the sweep file, and what it ran on."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dwray
from dwray.errors import parse_json
from dwray.paths import RunPaths
from dwray.report.document import Listing, Section
from dwray.report.one_command import one_command
from dwray.results.records import Records

_PACKAGES = ("torch", "torchvision", "ray", "numpy", "pyarrow", "scikit-learn")
"""Whose versions the environment has, and may change what is measured."""

_COMMIT = re.compile(r"([0-9a-f]{7,64})(-dirty)?")
_VERSION = re.compile(r"\d[0-9A-Za-z.!]*")
"""Of a release that pip can find: without the build (``+cu132``), which a package index of its own has."""


def reproduction(paths: RunPaths, records: Records) -> Section:
    """The last part of a run's report."""
    sweep, environment = read_text(paths.sweep), read_text(paths.environment)
    found = _mapping(environment)
    commit, is_changed = _commit(found)
    version = records.identity.get("dwray_version", "?")
    by_name = one_command(paths.sweep) if version == dwray.__version__ else None
    source = (
        "by a sweep that comes with it, which these settings make the run's"
        if by_name
        else f"by the run's sweep file, which stands below: save it as {paths.sweep.name} first"
    )
    said = [
        f"One command repeats the run where dwray {version} is installed, {source}.",
        "The same seed gives the same bits only on the same processor, with as many threads and the same versions: "
        f"below it stands how to have those of the run{f', at commit {commit}' if commit else ''}.",
    ]
    if sweep is None:
        said.append(f"The sweep file is missing: {paths.sweep.name} does not lie beside the records.")
    if is_changed:
        said.append("The source tree had changes that were not committed: the commit alone is not what ran.")
    listings = [
        Listing("The command", by_name or f"dwray sweep {paths.sweep.name}"),
        Listing("With the very versions of the run", commands(found, version, paths.sweep.name)),
    ]
    if sweep is not None:
        listings.append(Listing(f"The sweep file, {paths.sweep.name}", sweep, file=paths.sweep.name))
    if environment:
        name = paths.environment.name
        listings.append(Listing(f"The environment, {name}", environment, file=name))
    return Section("reproduce", "How to reproduce it", paragraphs=said, listings=listings)


def commands(environment: Mapping[str, Any], version: str, sweep: str) -> str:
    """What to paste into a shell, in the source tree of dwray.

    Only what looks like a commit or a version is taken from the environment: the records may be another's.

    Args:
        environment: That of the run; what it does not say is not asked for.
        version: Of dwray.
        sweep: Name of the sweep file.
    """
    commit, _ = _commit(environment)
    python = _version(environment.get("python"))
    versions = {package: _version(environment.get(package)) for package in _PACKAGES}
    pinned = [f"{package}=={found}" for package, found in versions.items() if found]
    tree = "in a clone of dwray's repository" if commit else f"in the source tree of dwray {version}"
    lines = [
        f"# {tree}{f', with Python {python}' if python else ''}; {sweep} is the file below, saved there",
        *([f"git checkout {commit}"] if commit else []),
        "python3 -m venv .venv && . .venv/bin/activate",
        " ".join(["pip install -e .", *pinned]),
        f"dwray sweep {sweep}",
    ]
    return "\n".join(lines)


def read_text(path: Path) -> str | None:
    """A text file beside the records; None where it is not there or is none."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def _mapping(environment: str | None) -> Mapping[str, Any]:
    try:
        found = parse_json(environment or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _commit(environment: Mapping[str, Any]) -> tuple[str | None, bool]:
    """The commit, and whether the source tree had been changed since."""
    found = _COMMIT.fullmatch(str(environment.get("git_commit")))
    return (found[1], bool(found[2])) if found else (None, False)


def _version(text: Any) -> str | None:
    release = str(text).partition("+")[0]
    return release if _VERSION.fullmatch(release) else None
