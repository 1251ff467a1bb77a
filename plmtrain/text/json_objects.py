"""Objects in files of JSON: one a line, or the items of one array; errors name the file and the line or the item."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

from plmtrain.errors import DataError

Lines = Iterator[tuple[int, str]]
"""Lines of text with their numbers, counted from 1, and without their ends."""

_ARRAY = re.compile(r"\s*\[\s*(\{|$)")
"""The first line of a file that is one JSON array of objects."""
_LONGEST_ARRAY = 2**28  # characters; an array is in memory as a whole


def json_objects(
    source: str, stream: Lines, remedy: str, refuse: Callable[[DataError], None]
) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Yield JSON objects, each with its number and its place.

    Args:
        source: the name of the file in messages.
        stream: its lines.
        remedy: what to do about a line that is no object.
        refuse: called with the error of each such line; it raises it or counts it.

    Raises:
        DataError: for an array that is not complete, or too long.
    """
    first = next(((number, line) for number, line in stream if line and not line.isspace()), None)
    if first is None:
        return
    rest = chain([first], stream)
    values = _items(source, rest) if _ARRAY.match(first[1]) else _lines(source, rest, remedy, refuse)
    for number, where, value in values:
        if isinstance(value, dict):
            yield number, where, value
        else:
            refuse(DataError(f"a JSON object was expected, but this is {kind(value)}", where, remedy))


def _lines(source: str, stream: Lines, remedy: str, refuse: Callable[[DataError], None]) -> Iterator[tuple[int, str, Any]]:
    for number, line in stream:
        if not line or line.isspace():
            continue
        where = f"{source}:{number}"
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            refuse(DataError(f"this is not a complete line of JSON: {_problem(error)}", where, remedy))
            continue
        yield number, where, value


def _items(source: str, stream: Lines) -> Iterator[tuple[int, str, Any]]:
    remedy = f"write one object a line, as jq -c '.[]' {source} does"
    text: list[str] = []
    length = opening = 0
    for number, line in stream:
        opening = opening or number
        text.append(line)
        length += len(line) + 1
        if length > _LONGEST_ARRAY:
            raise DataError(f"this JSON array is longer than {_LONGEST_ARRAY >> 20} MB", source, remedy)
    try:
        items = json.loads("\n".join(text))
    except (ValueError, RecursionError) as error:
        at = opening + (error.lineno - 1 if isinstance(error, json.JSONDecodeError) else 0)
        raise DataError(f"this is not a complete JSON array: {_problem(error)}", f"{source}:{at}", remedy) from None
    yield from ((number, f"{source}, item {number}", item) for number, item in enumerate(items, start=1))


def kind(value: object) -> str:
    """Return JSON's name for the type of a value."""
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _problem(error: ValueError | RecursionError) -> str:
    """Return the JSON parser's complaint without its own line number, which would be misleading: the file has others."""
    return f"{error.msg}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)
