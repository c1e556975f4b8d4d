"""One table: its rows as data, and how a person sees them. The renderers know nothing else."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

Row = Mapping[str, Any]

ROW_FORM = "row"
"""As a column's form: each row has its own, under ``form``."""


def finite(value: Any) -> Any:
    """A value as JSON can say it, which has no NaN and no infinity: a loss that diverged is null."""
    if isinstance(value, Mapping):
        return {name: finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@dataclass(frozen=True)
class Column:
    """A column of a table, and how a person sees it."""

    name: str
    heading: str
    kind: pa.DataType
    form: str = ""
    """Format of a value, as in an f-string; or ROW_FORM."""
    group: bool = False
    """Its value is shown only where it changes from the row above."""
    shown: bool = True
    """A column that is not shown is in the data alone."""
    wide: bool = False
    """Shown where there is room: in documents, not in a terminal's 80 columns."""
    marked: bool = False
    """A row's footnote marks (its ``marks``, such as ``[1]``) are shown behind the value; the data has it alone."""
    section: bool = False
    """A group column that a terminal draws as a heading above its rows."""

    @property
    def is_number(self) -> bool:
        """Aligned to the right."""
        return bool(pa.types.is_integer(self.kind) or pa.types.is_floating(self.kind))


@dataclass(frozen=True)
class Table:
    """One table: its rows as data, and its columns as a person sees them."""

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    wide_notes: frozenset[str] = frozenset()
    """Those of the notes that explain wide columns alone: read where those are shown."""

    def to_arrow(self, identity: Mapping[str, str]) -> pa.Table:
        """The rows, typed, with the run's identity, the title and the notes (a JSON list) as metadata."""
        metadata = {**identity, "title": self.title, "notes": json.dumps(self.notes)}
        schema = pa.schema([(column.name, column.kind) for column in self.columns], metadata=metadata)
        return pa.Table.from_pylist(self.data(), schema=schema)

    def data(self) -> list[dict[str, Any]]:
        """The rows without what only concerns their looks; what was not measured is None."""
        return [{column.name: row.get(column.name) for column in self.columns} for row in self.rows]

    @property
    def shown(self) -> tuple[Column, ...]:
        """The columns that a person sees: none that is there for what was not measured in any row."""
        return tuple(
            column
            for column in self.columns
            if column.shown and not (column.wide and all(row.get(column.name) is None for row in self.rows))
        )

    def cells(self) -> list[list[str]]:
        """The shown values as text, row by row; what was not measured is a dash."""
        lines: list[list[str]] = []
        shown: list[str | None] = []
        for row in self.rows:
            texts = [_text(row, column) for column in self.shown]
            groups: list[str | None] = [
                text if column.group else None for text, column in zip(texts, self.shown, strict=True)
            ]
            lines.append(
                [
                    "" if column.group and shown[: index + 1] == groups[: index + 1] else text
                    for index, (text, column) in enumerate(zip(texts, self.shown, strict=True))
                ]
            )
            shown = groups
        return lines


def _text(row: Row, column: Column) -> str:
    value = row.get(column.name)
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = format(value, row["form"] if column.form == ROW_FORM else column.form)
    return f"{text} {row['marks']}" if column.marked and row.get("marks") else text
