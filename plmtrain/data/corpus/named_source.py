"""Failures of one text among several, in the words of that text's own settings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from plmtrain.errors import DataError
from plmtrain.settings.data import SourceSettings

_KEY = re.compile(rf"\bdata\.(?=({'|'.join(SourceSettings.model_fields)})\b)")
_CHOICE = re.compile(r"\bdata=(?=\w)")


def told_of(error: DataError, name: str | None) -> DataError:
    """Return the same failure with the settings of the source of a mix that it is about.

    Args:
        error: a failure, in the words of data that are one text.
        name: of the source; None outside a mix, where failures stay as they are.
    """
    if name is None:
        return error
    place = f"data.sources.{name}"
    lines = [_CHOICE.sub(f"{place}.type=", _KEY.sub(f"{place}.", line)) for line in (error.what, error.where, error.remedy)]
    if not any(place in line for line in lines):
        lines[1] = f"{lines[1]} ({place})" if lines[1] else place
    return type(error)(*lines)


@contextmanager
def of_source(name: str | None) -> Iterator[None]:
    """Let a failure inside the ``with`` name the source of a mix that it is about.

    Args:
        name: of the source; None outside a mix.

    Raises:
        DataError: as ``told_of`` has it.
    """
    try:
        yield
    except DataError as error:
        raise told_of(error, name) from error
