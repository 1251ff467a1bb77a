"""Cells that have a list: of JSON and parquet, or of text that is written as a JSON list."""

from __future__ import annotations

from plmtrain.data.tables.table_files import Row
from plmtrain.errors import DataError
from plmtrain.json_files import DamagedJson, parse
from plmtrain.text.json_objects import kind
from plmtrain.text.readers import SKIP


def items(row: Row, column: str) -> list[object] | None:
    """Return the items of a cell that is a list, or the text of one in JSON; None for any other cell."""
    value = row.cells[column]
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = parse(value)
        except DamagedJson:
            return None
    return value if isinstance(value, list) else None


def texts(row: Row, column: str, remedy: str) -> tuple[str, ...]:
    """Return the texts in a cell that must be a list of them.

    Args:
        row: the row.
        column: of the cell.
        remedy: what to do if it is none.

    Raises:
        DataError: if it is none.
    """
    values = items(row, column)
    if values is None:
        what = f"column '{column}' should be a list of texts, but is {kind(row.cells[column])}"
        raise DataError(what, row.where, f"{remedy}; {SKIP}")
    return tuple(
        Row(row.where, {f"{column}[{number}]": value}).text(f"{column}[{number}]") for number, value in enumerate(values)
    )
