"""The rows of epochs.parquet, kept as columns: a run can have millions of them, and a dict each would not fit."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, overload

import numpy as np
import pyarrow as pa

from dwray.results.table import Row


class EpochRow(Mapping[str, Any]):
    """One row, looked up in its columns when it is asked for a value."""

    __slots__ = ("_index", "_rows")

    def __init__(self, rows: "EpochRows", index: int) -> None:
        self._rows, self._index = rows, index

    def __getitem__(self, name: str) -> Any:
        return self._rows.kept_column(name)[self._index]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows.names)

    def __len__(self) -> int:
        return len(self._rows.names)


class EpochRows(Sequence[Row]):
    """Some epochs in their order, as rows, or column by column, which is faster and keeps nothing.

    Args:
        columns: All the epochs there are: arrays of one length, by name.
        start: The first of these rows.
        stop: The row behind the last.
    """

    def __init__(self, columns: Mapping[str, pa.Array], start: int, stop: int) -> None:
        self._columns, self._start, self._stop = columns, start, stop
        self._kept: dict[str, list[Any]] = {}

    @property
    def names(self) -> Sequence[str]:
        """The columns."""
        return list(self._columns)

    def __len__(self) -> int:
        return self._stop - self._start

    @overload
    def __getitem__(self, index: int) -> Row: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Row]: ...

    def __getitem__(self, index: int | slice) -> Row | Sequence[Row]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"there are {len(self)} epochs, and none of index {index}")
        return EpochRow(self, index % len(self))

    def column(self, name: str) -> list[Any]:
        """A column's values, None where it is null.

        Raises:
            KeyError: There is no such column.
        """
        values = self._columns[name].slice(self._start, len(self))
        plain = pa.types.is_floating(values.type) or pa.types.is_integer(values.type)
        # NumPy is many times as fast, but knows no null.
        found: list[Any] = values.to_numpy().tolist() if plain and values.null_count == 0 else values.to_pylist()
        return found

    def kept_column(self, name: str) -> list[Any]:
        """The same, kept for the next row that asks."""
        if name not in self._kept:
            self._kept[name] = self.column(name)
        return self._kept[name]


class Epochs(EpochRows):
    """All the epochs of a run: training by training, each in the order of its epochs.

    Args:
        table: With at least the columns ``trial_id`` and ``epoch``, in any order of rows.
    """

    def __init__(self, table: pa.Table) -> None:
        ids = table.column("trial_id").combine_chunks().dictionary_encode()
        codes = ids.indices.to_numpy()
        order = np.lexsort((table.column("epoch").to_numpy(), codes))
        if (order[1:] < order[:-1]).any():
            table = table.take(pa.array(order))
        table = table.combine_chunks()
        columns = {
            name: column.chunk(0) if column.num_chunks else pa.array([], column.type)
            for name, column in zip(table.column_names, table.columns, strict=True)
        }
        super().__init__(columns, 0, len(table))
        ends = np.cumsum(np.bincount(codes, minlength=len(ids.dictionary))).tolist()
        self._spans = dict(zip(ids.dictionary.to_pylist(), zip([0, *ends], ends, strict=False), strict=True))

    @classmethod
    def of_rows(cls, rows: Iterable[Row]) -> "Epochs":
        """Rows that were made by hand, with whatever columns the first of them has."""
        found = list(rows)
        if not found:
            return cls(pa.table({"trial_id": pa.array([], pa.string()), "epoch": pa.array([], pa.int64())}))
        return cls(pa.Table.from_pylist([dict(row) for row in found]))

    def of(self, trial_id: str) -> EpochRows:
        """The epochs of a trial, in order; none of a trial that has none."""
        return EpochRows(self._columns, *self._spans.get(trial_id, (0, 0)))
