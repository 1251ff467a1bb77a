"""Telling a person something beside the training, whatever has become of standard output."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from rich.console import Console, RenderableType


class QuietConsole(Console):
    """A console that tells of a closed pipe by an error: rich would end the process."""

    def on_broken_pipe(self) -> None:
        """Pass the error on."""
        raise BrokenPipeError


def tell(*what: RenderableType) -> None:
    """Print lines or tables. Once whoever reads us has gone (``plmtrain pretrain … | head``), nothing is told any more."""
    try:
        console = QuietConsole(highlight=False)
        for one in what:
            # A line stays one line: a terminal breaks it by itself, and elsewhere nobody wants it broken.
            console.print(one, markup=False, soft_wrap=True) if isinstance(one, str) else console.print(one)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except UnicodeEncodeError:  # the C locale
        for one in what:
            print(str(one).encode("ascii", "backslashreplace").decode() if isinstance(one, str) else "")


def warn(line: str) -> None:
    """Tell of something that may not be as the user thinks, on standard error."""
    with suppress(OSError):
        print(line.encode("ascii", "backslashreplace").decode(), file=sys.stderr)
