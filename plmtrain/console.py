"""Printing: by rich, as JSON, and beside the work. ``plmtrain.streams`` sees to the streams themselves."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from rich.console import Console, RenderableType

from plmtrain.streams import speaks_unicode

_UNLIMITED = 1000
"""Columns of a table where no terminal sets the width."""


class QuietConsole(Console):
    """A console that reports a closed pipe as an error, where rich would end the process."""

    def on_broken_pipe(self) -> None:
        """Raise the error again."""
        raise  # rich calls this while it handles the error


@contextmanager
def beside_the_work() -> Iterator[Console]:
    """Yield a console for what need not be read: inside the ``with``, drawing ends quietly where it cannot be written."""
    with suppress(OSError):
        yield QuietConsole(highlight=False)


def tell(*items: RenderableType) -> None:
    """Print lines or tables beside the work, which goes on even if they cannot be written (``plmtrain pretrain … | head``)."""
    with beside_the_work() as console:
        for item in items:
            # A line is not wrapped here: a terminal wraps it by itself, and elsewhere it must stay one line.
            console.print(item, markup=False, soft_wrap=True) if isinstance(item, str) else console.print(item)


def tell_whole(table: RenderableType) -> None:
    """Print a table beside the work; where no terminal sets the width, it takes what it needs, for cut columns are useless."""
    with beside_the_work() as console:
        if not console.is_terminal:
            console.width = _UNLIMITED
        console.print(table)


def print_json(value: Any) -> None:
    """Print a value as JSON on one line; characters that the output cannot encode are written as JSON escapes them."""
    print(json.dumps(value, ensure_ascii=not speaks_unicode(sys.stdout)), flush=True)


def warn(line: str) -> None:
    """Print a line on standard error, which whoever reads the output does not get."""
    print(line, file=sys.stderr, flush=True)


def counted(count: int, name: str) -> str:
    """Return a number with its noun in the singular or plural."""
    plural = f"{name}es" if name.endswith("s") else f"{name}s"
    return f"{count:,} {name if count == 1 else plural}"


def duration(seconds: float) -> str:
    """Format a duration for people."""
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours // 24} d {hours % 24} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
