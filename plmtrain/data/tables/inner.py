"""Columns within columns of objects, named with a dot: ``translation.en``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def with_inner(cells: Mapping[str, object], columns: Iterable[str]) -> Mapping[str, object]:
    """Return the cells of a row, and besides them those that are within objects.

    Args:
        cells: by column.
        columns: the columns that are wanted; the others need not be found.
    """
    inner = {column: _inner(cells, column) for column in columns if column not in cells and "." in column}
    return {**cells, **{column: value[0] for column, value in inner.items() if value}}


def _inner(cells: object, column: str) -> tuple[object, ...]:
    """Return the cell within objects, if there is one."""
    for name in column.split("."):
        if not isinstance(cells, Mapping) or name not in cells:
            return ()
        cells = cells[name]
    return (cells,)
