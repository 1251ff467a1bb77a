"""Read JSON that may be damaged or hostile: a run's own files after an accident, and the files of strangers.

Everything that is wrong with a file is one error, ``DamagedJson``; what it means is for the caller to say. Depth is limited
because the parser, and every function that walks a value, uses the stack: 100,000 brackets must not end the process.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from plmtrain.files import read_bytes

LARGEST = 256 * 2**20
"""The most bytes of a file, unless the caller names another number."""

DEEPEST = 64
"""The greatest depth of nested objects and lists."""

RecordT = TypeVar("RecordT")


class DamagedJson(ValueError):
    """A text or a file that is not the JSON that was expected; the message says why, in a few words."""


def parse(text: str | bytes) -> Any:
    """Return the value of a JSON text.

    Raises:
        DamagedJson: if it is not JSON, or is nested too deeply.
    """
    try:
        value = json.loads(text)
    except RecursionError:
        raise DamagedJson(_TOO_DEEP) from None
    except ValueError as error:
        raise DamagedJson(f"not JSON: {error}") from None
    if _is_too_deep(value):
        raise DamagedJson(_TOO_DEEP)
    return value


_TOO_DEEP = f"nested more than {DEEPEST} times"


def _is_too_deep(value: Any) -> bool:
    """Return whether a value is nested too deeply; a level at a time, so that this does not use the stack."""
    level = [value]
    for _ in range(DEEPEST + 1):
        level = [part for part in level if isinstance(part, dict | list)]
        if not level:
            return False
        level = [inner for part in level for inner in (part.values() if isinstance(part, dict) else part)]
    return True


def read_object(path: Path, largest: int = LARGEST) -> dict[str, Any]:
    """Return the JSON object in a file.

    Args:
        path: the file.
        largest: the most bytes that are read.

    Raises:
        FileNotFoundError: if nothing is there.
        DamagedJson: if it is not a plain file, cannot be read, is too large, or contains anything but one JSON object.
    """
    try:
        if path.is_dir():
            raise DamagedJson("a folder")
        if (size := path.stat().st_size) > largest:
            raise DamagedJson(f"{size:,} bytes, more than such a file needs")
        value = parse(read_bytes(path))
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DamagedJson(str(error.strerror)) from None
    if not isinstance(value, dict):
        raise DamagedJson("not a JSON object")
    return value


def read_record(path: Path, kind: type[RecordT]) -> RecordT:
    """Return the dataclass that a file holds as a JSON object.

    Args:
        path: the file.
        kind: the dataclass; fields with defaults may be absent.

    Raises:
        FileNotFoundError: if nothing is there.
        DamagedJson: if the file is damaged, or a field is absent or of another type.
    """
    return as_record(read_object(path), kind)


def as_record(values: dict[str, Any], kind: type[RecordT]) -> RecordT:
    """Return the dataclass with these fields.

    Raises:
        DamagedJson: if a field is absent or of another type.
    """
    try:
        # As JSON: of Python values the strict check accepts nothing but the dataclass itself. Floats come back exactly.
        record: RecordT = _adapter(kind).validate_json(json.dumps(values), strict=True)  # type: ignore[arg-type]  # a class is hashable
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise DamagedJson(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    return record


@cache
def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
