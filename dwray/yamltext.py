"""YAML from anybody: keys and values that have an end, or one line that says where it is wrong."""

import re
import reprlib
from collections.abc import Hashable, Mapping
from typing import Any

import yaml

from dwray.errors import SpecError

MOST_VALUES = 10_000
"""Of a sweep file; those that come with dwray have a hundred."""


def parse(text: str, where: str) -> dict[str, Any]:
    """The keys and values of a sweep file's text, not yet validated; ``where`` (a file name) begins the error's line.

    A file of another version of dwray's can be read so. What it holds has an end, and is nested no deeper than whoever
    takes it can follow.

    Raises:
        SpecError: It is no YAML of keys and values, or holds more or larger ones than any sweep.
    """
    values = load_yaml(text, where)
    if not isinstance(values, dict):
        raise SpecError(f"{where}: must hold keys and values (networks:, data:, ...)")
    check_size(values, where)
    return values


def check_size(values: Mapping[str, Any], where: str) -> None:
    """Refuse what only an accident or an attack can be: aliases that expand without end, numbers that no file can hold.

    Raises:
        SpecError: There are more than MOST_VALUES values, aliases expanded, or an integer that is no int64.
    """
    left: list[Any] = [values]
    for _ in range(MOST_VALUES):
        if not left:
            return
        value = left.pop()
        if isinstance(value, dict):
            left += value.values()
        elif isinstance(value, list):
            left += value
        elif isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise SpecError(f"{where}: an integer of {value.bit_length()} bits is too large; the records hold 64")
    raise SpecError(f"{where}: holds more than {MOST_VALUES:,} values, its aliases (*name) expanded; say it with fewer")


def load_yaml(text: str, where: str) -> Any:
    """What a text in YAML says; ``where`` begins the error's line.

    Raises:
        SpecError: It is no YAML.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except RecursionError as error:
        raise SpecError(f"{where}: not valid YAML: it is nested too deeply") from error
    except (ValueError, OverflowError) as error:  # an escape in a string that is no character
        raise SpecError(f"{where}: not valid YAML: an escape (\\U...) is no character") from error
    except yaml.reader.ReaderError as error:
        found, number = f"the character U+{error.character:04X}", text.count("\n", 0, error.position) + 1
        raise SpecError(f"{where}, line {number}: not valid YAML: {found} cannot be in it") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error)
        raise SpecError(f"{where}{line}: not valid YAML: {problem}") from error


class _Loader(yaml.SafeLoader):
    """YAML with YAML 1.2's floats (1e-3 is a number) and without a key given twice."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, ArithmeticError, LookupError, AttributeError, TypeError) as error:
            # What Python makes of "2024-99-99", of !!bool perhaps, of an integer of 5,000 digits.
            text = reprlib.repr(node.value) if isinstance(node, yaml.ScalarNode) else "this"
            kind = node.tag.rpartition(":")[2]
            raise yaml.MarkedYAMLError(problem=f"{text} is no {kind}", problem_mark=node.start_mark) from error

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.MarkedYAMLError(problem=f"the key {key!r} is no name", problem_mark=key_node.start_mark)
            if key in seen:
                raise yaml.MarkedYAMLError(problem=f"the key {key!r} is given twice", problem_mark=key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$"),
    list("-+0123456789."),
)
