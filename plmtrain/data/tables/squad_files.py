"""Files in the layout of SQuAD: one JSON object with articles, their paragraphs, and the questions about each paragraph.

KLUE-MRC has the same layout with other names of what identifies a question. A row is a question; it has its own values, the
``context`` and the ``title``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import Any

from plmtrain.errors import DataError
from plmtrain.json_files import DamagedJson, parse
from plmtrain.text.json_objects import Lines, json_objects, kind
from plmtrain.text.readers import SKIP

_NAMES = ("id", "guid")
"""The keys of a question's name, in SQuAD and in KLUE-MRC."""
_LONGEST = 2**30  # characters; the file is in memory as a whole

Cells = tuple[str, Mapping[str, Any]]
"""A row: its file and line, and its cells by column."""


def questions_in(source: str, stream: Lines, refuse: Callable[[DataError], None]) -> Iterator[Cells]:
    """Yield the questions of a file in the layout of SQuAD, or the rows of a file of JSON objects, one a line or in an array.

    Args:
        source: the name of the file in messages.
        stream: its lines.
        refuse: called with the error of each line that is no object; it raises it or counts it.

    Raises:
        DataError: naming file and line, if the file is neither.
    """
    first = next(((number, line) for number, line in stream if line and not line.isspace()), None)
    if first is None:
        return
    stream = chain([first], stream)
    if _is_whole(first[1]):
        yield from _rows(source, stream)
    else:
        for _, where, cells in json_objects(source, stream, f"a JSON object was expected; {SKIP}", refuse):
            yield where, cells


def _is_whole(line: str) -> bool:
    """Return whether a file with this first line is one JSON object, of several lines or with articles in it."""
    if not line.lstrip().startswith("{"):
        return False
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return not line.rstrip().endswith("}")  # it goes on in the next line
    return isinstance(value, dict) and isinstance(value.get("data"), list)


def _rows(source: str, stream: Lines) -> Iterator[Cells]:
    """Yield the questions of one JSON object."""
    numbers, lines = zip(*stream, strict=True)
    text = "\n".join(lines)
    if len(text) > _LONGEST:
        raise DataError(f"this file is longer than {_LONGEST >> 30} GB", source, "divide it, and name the parts in data.files")
    try:
        value = parse(text)
    except DamagedJson as error:
        remedy = "copy it again; SQuAD's files are one JSON object, other files have one a line"
        raise DataError(f"this is no complete JSON: {error}", f"{source}:{numbers[0]}", remedy) from None
    place, line = 0, numbers[0]
    for at, article in _items(value, "data", source):
        for inside, paragraph in _items(article, "paragraphs", at):
            for where, question in _items(paragraph, "qas", inside):
                name = next((question[key] for key in _NAMES if isinstance(question.get(key), str)), None)
                if name is not None and (there := text.find(json.dumps(name, ensure_ascii=False), place)) >= 0:
                    line, place = line + text.count("\n", place, there), there
                    where = f"{source}:{line}, question {name}"
                shared = {**_only(article, "title"), **_only(paragraph, "context")}
                yield where, {**shared, **question, **({} if name is None else {"id": name})}


def _only(value: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Return an object with one of its keys; without any if it lacks this one."""
    return {key: value[key]} if key in value else {}


def _items(value: Any, key: str, where: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the objects in the list of a key, each with its place."""
    items = value.get(key) if isinstance(value, dict) else None
    if not isinstance(items, list):
        there = f"{', '.join(map(str, value)) or 'no key'}" if isinstance(value, dict) else kind(value)
        what = f"there is no list '{key}' here, but {there}"
        raise DataError(what, where, "SQuAD's layout was expected: data, with paragraphs, with qas")
    for number, item in enumerate(items):
        place = f"{where}, {key}[{number}]"
        if not isinstance(item, dict):
            raise DataError(f"an object was expected, but this is {kind(item)}", place, "see the layout of SQuAD's files")
        yield place, item
