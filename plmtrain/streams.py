"""Standard input, output and error of the process, prepared so that their state never decides the fate of the work.

A stream that was closed before the start leads to the null device: otherwise the next file that is opened would take its place.
Characters that an encoding lacks are escaped. What standard error does not take is lost. Standard output reports the first failed
write, then takes and loses everything else: commands whose product is their output end there (``plmtrain list | head -1``),
others continue.
"""

from __future__ import annotations

import io
import os
import select
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO, cast

from plmtrain.stopping import safe_point

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

_WAIT = 0.2
"""Seconds between two looks for a signal while input is awaited."""


def prepare() -> None:
    """Prepare the standard streams; the first thing that the command line does, after ``stopping.watch``."""
    for descriptor, mode in ((0, os.O_RDONLY), (1, os.O_WRONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest free descriptor is taken, and all below are in use; children inherit these three.
            os.set_inheritable(os.open(os.devnull, mode), True)
    sys.stdout = _text(sys.stdout, _FailingOnce(1, "w", closefd=False))
    sys.stderr = _text(sys.stderr, _NeverFailing(2, "w", closefd=False))


class OutputClosed(BrokenPipeError):
    """The reader of standard output has closed the pipe, as with ``plmtrain list | head -1``."""


class _FailingOnce(io.FileIO):
    """An output whose failure is raised once; from then on it leads to the null device."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            discard(self)
            raise OutputClosed from None
        except OSError as error:
            discard(self)
            raise OSError(error.errno, error.strerror, "standard output") from None


class _NeverFailing(io.FileIO):
    """An output that loses what it cannot write."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


def _text(before: TextIO | None, raw: io.FileIO) -> io.TextIOWrapper:
    """Return a text stream over an output, with the encoding and the buffering of the stream that Python had made for it."""
    made = cast(io.TextIOWrapper | None, before)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding="utf-8" if made is None else made.encoding,
        errors="backslashreplace",
        line_buffering=made is None or made.line_buffering,
        write_through=made is not None and made.write_through,
    )


def discard(stream: io.IOBase | TextIO) -> None:
    """Redirect an output to the null device, so that what is still buffered for it fails neither later nor at the end."""
    with suppress(OSError, ValueError):  # no file, or a closed one
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def speaks_unicode(stream: TextIO) -> bool:
    """Return whether a stream can encode every character."""
    return (stream.encoding or "utf-8").lower().startswith("utf")


def standard_input() -> io.BufferedReader:
    """Return standard input as bytes, with a safe point while it is awaited.

    Raises:
        Stopped: by every read, if a signal requested it.
    """
    return io.BufferedReader(_Awaited(0, "r", closefd=False))


class _Awaited(io.FileIO):
    """An input that nobody may ever write to."""

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        while not select.select([self], [], [], _WAIT)[0]:
            safe_point()
        return super().readinto(buffer)
