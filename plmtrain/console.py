"""Messages to the user beside the training, whatever the state of standard output."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from rich.console import Console, RenderableType


class QuietConsole(Console):
    """A console that reports a closed pipe as an error, where rich would end the process."""

    def on_broken_pipe(self) -> None:
        """Raise the error again."""
        raise BrokenPipeError


def tell(*items: RenderableType) -> None:
    """Print lines or tables; after the reader of a pipe has closed it (``plmtrain pretrain … | head``), print nothing more."""
    try:
        console = QuietConsole(highlight=False)
        for item in items:
            # A line is not wrapped here: a terminal wraps it by itself, and elsewhere it must stay one line.
            console.print(item, markup=False, soft_wrap=True) if isinstance(item, str) else console.print(item)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except UnicodeEncodeError:  # the C locale
        for item in items:
            print(str(item).encode("ascii", "backslashreplace").decode() if isinstance(item, str) else "")


def warn(line: str) -> None:
    """Print a warning on standard error."""
    with suppress(OSError):
        print(line.encode("ascii", "backslashreplace").decode(), file=sys.stderr)


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
