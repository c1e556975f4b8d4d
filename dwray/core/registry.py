"""What a sweep file calls by name."""

from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")


class Registry(dict[str, T]):
    """Entries by name: a dict that ``help`` describes by what is in it, and not by what a dict can do.

    Args:
        text: What the entries are, as a docstring.
        entries: Those that come with dwray.

    Example:
        >>> registry = Registry("Weekdays by name.", {"Monday": 1})
        >>> registry.__doc__, dict(registry)
        ('Weekdays by name.', {'Monday': 1})
    """

    def __init__(self, text: str, entries: Mapping[str, T]) -> None:
        super().__init__(entries)
        self.__doc__ = text
