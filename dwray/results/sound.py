"""Whether a file of a run holds what a run can have written: a reader of the records relies on nothing less.

Pages have checksums, but not those of an older dwray, and a checksum does not know who wrote a file.
"""

import dataclasses
import sys
from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dwray.core.config import SWITCHES, FieldError, ProtocolConfig, TrainingConfig, switches_of
from dwray.errors import parse_json
from dwray.results.schema import ALWAYS, STAGES, STATUSES

MOST = 10**18
"""No count, time or rate of a run is larger."""
SETTINGS = (*(field.name for field in dataclasses.fields(TrainingConfig)), "learning_rate")
"""Columns of what a user set, which may be as large as a number can be."""
LAST_MILLISECOND = 253_402_300_799_999
"""Of the year 9999, the last that Python's datetime knows, since 1970."""
KNOWN: Mapping[str, tuple[str, ...]] = {
    "stage": STAGES,
    "status": STATUSES,
    "set": ("train", "validation", "test"),
    "axis": tuple(field.name for field in dataclasses.fields(TrainingConfig)),
}
"""Columns of names, and the names."""
LEAST = {"epoch": 1, "pass_number": 1, "images": 1}
"""Columns that do not begin at 0."""


def fault_of_table(table: pa.Table, schema: pa.Schema) -> str | None:
    """What no run writes into the columns of a table; None if there is nothing.

    Args:
        table: With the columns of the schema, in their types.
        schema: One of ``results.schema``.
    """
    try:
        table.validate(full=True)  # offsets, and that text is UTF-8
    except pa.ArrowException as error:
        return f"is damaged ({str(error).splitlines()[0]})"
    if (
        "axis" in schema.names
        and pc.any(pc.and_(pc.equal(table["stage"], "search"), pc.is_null(table["axis"]))).as_py()
    ):
        return "column 'axis' has no value for a trial of the search"
    open_ended = _open_ended(table, schema)
    columns = ((_known(table.column(field.name), field, open_ended), field) for field in schema)
    return next(filter(None, (_fault_of_column(column, field) for column, field in columns)), None)


def _open_ended(table: pa.Table, schema: pa.Schema) -> pa.ChunkedArray | None:
    """Which rows are of a training that diverged, or may yet be found to have; None in a table of something else."""
    if "status" in schema.names:
        return pc.not_equal(table["status"], "completed")
    return pc.fill_null(table["diverged"], False) if "diverged" in schema.names else None


def _known(column: pa.ChunkedArray, field: pa.Field, open_ended: pa.ChunkedArray | None) -> pa.ChunkedArray:
    """A column without the accuracies that are no number, where they may be."""
    if open_ended is None or not field.name.endswith("accuracy_percent"):
        return column
    return pc.if_else(pc.and_(open_ended, pc.is_nan(column)), pa.scalar(None, column.type), column)


def _fault_of_column(column: pa.ChunkedArray, field: pa.Field) -> str | None:
    if ALWAYS.encode() in (field.metadata or {}) and column.null_count:
        return f"column {field.name!r} has no value in {column.null_count} of {len(column)} rows"
    if field.name in KNOWN:
        unknown = set(column.unique().to_pylist()) - {None, *KNOWN[field.name]}
        if unknown:
            return f"column {field.name!r} holds {min(unknown)!r}, which is none of {', '.join(KNOWN[field.name])}"
    if pa.types.is_timestamp(field.type):
        return _outside(column.cast(pa.int64()), field.name, 0, LAST_MILLISECOND)
    if field.name.endswith("loss"):
        return None  # of a training that diverged it may be anything
    if pa.types.is_integer(field.type) or pa.types.is_floating(field.type):
        is_free = field.name in SETTINGS and pa.types.is_floating(field.type)
        return _outside(column, field.name, LEAST.get(field.name, 0), sys.float_info.max if is_free else MOST)
    return None


def _outside(column: pa.ChunkedArray, name: str, least: int, most: float) -> str | None:
    """The first value that does not lie in a range; NaN lies in none."""
    number = float if pa.types.is_floating(column.type) else int
    ends = [pa.scalar(number(end), column.type) for end in (least, most)]
    inside = pc.and_(pc.greater_equal(column, ends[0]), pc.less_equal(column, ends[1]))
    first = pc.index(inside, False).as_py()
    if first < 0:
        return None
    return (
        f"column {name!r} holds {column[first].as_py()!r} in row {first + 1}, which does not lie in {least} to {most}"
    )


def fault_of_identity(identity: Mapping[str, str]) -> str | None:
    """What is wrong with what a file's metadata say of its run; None if nothing is."""
    for key, problem in _IDENTITY.items():
        if key not in identity:
            return f"its metadata lack {key!r}"
        try:
            wrong = problem(identity[key])
        except (ValueError, TypeError):
            wrong = True
        if wrong:
            return f"its metadata {key!r} are none of a run's"
    return None


def _names(text: str) -> list[str]:
    """A JSON list of different texts.

    Raises:
        ValueError: It is none.
    """
    names = parse_json(text)
    if not isinstance(names, list) or not all(isinstance(name, str) and name.isprintable() for name in names):
        raise ValueError
    if len(set(names)) < len(names):
        raise ValueError
    return names


def _is_no_protocol(text: str) -> bool:
    try:
        protocol = ProtocolConfig(**parse_json(text))
    except FieldError:
        return True
    kinds = {field.name: type(field.default) for field in dataclasses.fields(ProtocolConfig)}
    return any(not isinstance(getattr(protocol, name), kind) for name, kind in kinds.items())


_IDENTITY: Mapping[str, Callable[[str], Any]] = {
    **{key: lambda text: not (text and text.isprintable()) for key in ("sweep", "run_id", "dwray_version")},
    "contenders": lambda text: not _names(text),
    "protocol": _is_no_protocol,
    "errata": lambda text: not all(set(switches_of(name)) <= set(SWITCHES) for name in _names(text)),
    "compare_with": lambda text: text not in ("", "cifar10", "cifar100"),
    "target_accuracy_percent": lambda text: text != "" and not 0 < float(text) < 100,
}
