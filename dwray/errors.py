"""Errors that a user can mend: one clear line each, and the exit code that the command ends with."""

import difflib
import json
from collections.abc import Iterable
from typing import Any, ClassVar

EXIT_FAILED = 1
"""The command failed."""
EXIT_USAGE = 2
"""Wrong usage or an invalid sweep file (click's own code for the same)."""
EXIT_TRIALS_FAILED = 3
"""The sweep finished, but some trials failed."""
EXIT_NOT_EXCLUSIVE = 4
"""All well, but a timing did not have its device to itself."""
EXIT_INTERRUPTED = 130
"""Stopped by Ctrl-C (128 + SIGINT, as shells count it)."""


DEEPEST = 100
"""No JSON that dwray writes has so many lists and mappings within one another."""


class UserError(Exception):
    """Something the user can mend; the message says what is wrong, where, and how to mend it."""

    exit_code: ClassVar[int] = EXIT_FAILED

    def __str__(self) -> str:
        """One line, whatever the files say that it quotes: line ends and terminals' codes as Python writes them."""
        return "".join(each if each.isprintable() else repr(each)[1:-1] for each in super().__str__())


class SpecError(UserError):
    """A sweep file, or a ``--set``, that cannot be run."""

    exit_code = EXIT_USAGE


class DataError(UserError):
    """Data that is missing, corrupt or not what it says it is."""


class RunError(UserError):
    """A run folder, or a file in it, that cannot be read."""


def one_line(error: BaseException) -> str:
    """The first line of what an error says; its class if it says nothing, and of the system's no number."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror + (f": {error.filename}" if error.filename is not None else "")
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def parse_json(text: str | bytes) -> Any:
    """What a JSON text says, of which whoever takes it may then call itself for each list in a list.

    Raises:
        ValueError: It is none, or is nested too deeply.
    """
    try:
        found = json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    level = [[found]]
    for _ in range(DEEPEST):
        level = [inner for each in level for inner in (each.values() if isinstance(each, dict) else each)]
        level = [each for each in level if isinstance(each, dict | list)]
        if not level:
            return found
    raise ValueError("it is nested too deeply")


def counted(number: float, what: str) -> str:
    """So many things in words: ``1 trial``, ``2 trials``, ``0.5 GPUs``."""
    shown = f"{number:g}" if isinstance(number, float) else number
    return f"{shown} {what}{'' if number == 1 else 's'}"


def near(name: str, known: Iterable[str]) -> str:
    """The known name that was perhaps meant, as the end of an error's line; the known names if none is like it."""
    names = list(known)
    matches = difflib.get_close_matches(name, names, n=1, cutoff=0.5) or [each for each in names if name in each][:1]
    return f"; did you mean {matches[0]!r}?" if matches else f"; known: {', '.join(names)}"
