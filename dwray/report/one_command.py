"""The one command that runs a sweep again, if a sweep that comes with dwray is nearly the one that ran."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dwray.errors import SpecError
from dwray.paths import shipped_sweeps
from dwray.spec import to_plain
from dwray.sweepfile import resolve

MOST_SET = 6
"""A command with more settings than this is harder to read, and to trust, than the sweep file."""

_MOST_TRIED = 40
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*")
_NO_WORDS = ("true", "false", "null", "yes", "no", "on", "off", "y", "n")


def one_command(sweep: Path) -> str | None:
    """``dwray sweep NAME``, with ``--set`` where the run was another; None where that cannot say what ran.

    What it returns was tried: that sweep with those settings is the run's sweep, value by value.

    Args:
        sweep: The run's sweep file, every default spelled out.
    """
    try:
        wanted = to_plain(resolve(str(sweep)))
    except SpecError:
        return None
    shipped = [folder / f"{wanted['name']}.yaml" for folder in shipped_sweeps()]
    found = next((str(file) for file in shipped if file.is_file()), None)
    if found is None:
        return None

    def is_it(settings: Sequence[str]) -> bool:
        try:
            return json.dumps(to_plain(resolve(found, settings))) == json.dumps(wanted)  # their order counts, too
        except SpecError:
            return False

    settings = list(_differences(to_plain(resolve(found)), wanted))
    if len(settings) > _MOST_TRIED or not is_it(settings):
        return None
    for each in tuple(settings):  # some follow from others: a protocol has its switches
        fewer = [other for other in settings if other != each]
        if is_it(fewer):
            settings = fewer
    if len(settings) > MOST_SET:
        return None
    return shlex.join(["dwray", "sweep", wanted["name"], *(word for each in settings for word in ("--set", each))])


def _differences(have: Mapping[str, Any], want: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """What must be set to come from one sweep to another, as ``KEY=VALUE``."""
    for key, value in want.items():
        mine = have.get(key)
        if isinstance(mine, dict) and isinstance(value, dict) and list(mine) == list(value):
            yield from _differences(mine, value, f"{prefix}{key}.")
        elif json.dumps(mine) != json.dumps(value):
            yield f"{prefix}{key}={_yaml(value)}"


def _yaml(value: Any) -> str:
    """A value in YAML, of which JSON is a part; a word needs no quotes, unless YAML knows it as something else."""
    if isinstance(value, str) and _WORD.fullmatch(value) and value.lower() not in _NO_WORDS:
        return value
    return json.dumps(value, ensure_ascii=False)  # YAML does not join the two escapes that JSON has of some signs
