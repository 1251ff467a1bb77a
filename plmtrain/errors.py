"""Errors that a user can act on.

Each has three short lines (what is wrong, where it comes from, what to do) and the exit code that the command line defines for
its kind. Any other error is a fault of plmtrain: it ends with exit code 1 and a full traceback in the run's log.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable


class PlmtrainError(Exception):
    """A failure that the user can understand and correct.

    Args:
        what: what is wrong, in one line.
        where: where it comes from: a file and line, a setting's full key, a command-line argument.
        remedy: what to do about it, with the nearest valid name where there is one.
    """

    exit_code = 1

    def __init__(self, what: str, where: str = "", remedy: str = "") -> None:
        super().__init__(what)
        self.what, self.where, self.remedy = what, where, remedy

    def __str__(self) -> str:
        return "\n".join(line for line in (self.what, self.where, self.remedy) if line)

    def __reduce__(self):  # type: ignore[no-untyped-def]  # worker processes send their errors to the parent
        return type(self), (self.what, self.where, self.remedy)


class SettingsError(PlmtrainError):
    """A wrong command, setting, or combination of settings; or a resume with changed settings."""

    exit_code = 2


class SettingsErrors(SettingsError):
    """All errors in one set of settings, reported together."""

    def __init__(self, errors: Iterable[SettingsError]) -> None:
        self.errors = tuple(errors)
        super().__init__("\n\n".join(str(error) for error in self.errors))

    def __reduce__(self):  # type: ignore[no-untyped-def]
        return type(self), (self.errors,)


class DataError(PlmtrainError):
    """Text, labels or prepared data that cannot be used."""

    exit_code = 3


class NotRegularError(OSError):
    """A named pipe, a socket or a device in place of a file: reading it may never end."""


class TooLittleText(DataError):
    """Text that does not fill a row, or of which nothing can be held out."""


class CheckpointError(PlmtrainError):
    """No usable checkpoint, or a damaged one without any other left."""

    exit_code = 4


class DivergedError(PlmtrainError):
    """A loss or gradient that is not finite, or a run that diverged."""

    exit_code = 5


class MemoryExhausted(PlmtrainError):
    """The device or the host ran out of memory."""

    exit_code = 6


class DiskError(PlmtrainError):
    """A full disk, a read-only folder, a missing permission."""

    exit_code = 7


class DistributedError(PlmtrainError):
    """A process of the group failed or could not be reached."""

    exit_code = 8


class Stopped(PlmtrainError):
    """A signal requested a stop; the run can be resumed with the same command."""

    exit_code = 75


_LISTED = 24
"""The most names in a list of all valid ones."""


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return a remedy with the closest valid spelling, or with all valid names if none is close."""
    names = sorted(valid)
    # A longer name than that of a choice means this choice, unless it is a slip of the finger in the name of another one.
    begun = max((other for other in names if name.startswith((f"{other}_", f"{other}-"))), key=len, default=None)
    close = closest(name, names) or begun or closest(name, names, 0.6)
    if close:
        return f"did you mean '{close}'?"
    return f"use one of: {', '.join(names[:_LISTED])}" + (f", ... ({len(names)} in all)" if len(names) > _LISTED else "")


def closest(name: str, valid: Iterable[str], least: float = 0.8) -> str | None:
    """Return the valid name that is most similar to a name; None if none is similar.

    Args:
        name: as it was written.
        valid: the valid names.
        least: the least similarity, from 0 to 1.
    """
    import difflib  # not at the top, which is imported before the process watches for signals

    return next(iter(difflib.get_close_matches(name, sorted(set(valid)), n=1, cutoff=least)), None)


def escaped(text: str) -> str:
    r"""Return a name from the operating system with bytes that are not UTF-8 written as ``\xe9``; other text is unchanged."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def is_panic(error: BaseException) -> bool:
    """Return whether an error is a panic of a library in Rust, such as tokenizers; its class cannot be imported."""
    return type(error).__name__ == "PanicException"


_TOLD = 80
"""The characters of a long name that are told."""
_ANOTHER_KIND = {errno.EISDIR, errno.ENOTDIR, errno.ELOOP}
_DISK_ERRORS = _ANOTHER_KIND | {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.EFBIG}


def understood(error: BaseException) -> PlmtrainError | None:
    """Convert an error of Python, torch or the operating system to one that the user can act on.

    Returns:
        None for a fault of plmtrain.
    """
    if isinstance(error, PlmtrainError):
        return error
    if isinstance(error, KeyboardInterrupt):
        return Stopped("stopped by SIGINT", "", "run the same command again")
    # By name, since this must not import torch.
    kind = type(error).__name__
    if (
        isinstance(error, MemoryError)
        or kind == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error))
    ):
        return MemoryExhausted(
            "out of memory",
            str(error).split("\n")[0],
            "lower trainer.micro_batch_size or write trainer.micro_batch_size=auto, or set trainer.activation_checkpointing=true "
            "(neither changes the result, except that with micro-batches dropout has other masks); with several processes "
            "trainer.sharding=full, for the moments optimizer=adafactor",
        )
    if is_panic(error):
        remedy = "use another tokenizer, or shorten the text"
        return DataError("the tokenizers library gave up on this tokenizer or text", str(error).split("\n")[0][:200], remedy)
    if isinstance(error, NotRegularError):
        remedy = "write its content into a file, and name that"
        return DataError(f"this file cannot be read: {error.strerror}", str(error.filename), remedy)
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        place = str(error.filename or error.filename2)
        return SettingsError("a name is longer than the disk can have", f"path: {_shortened(place)}", "give a shorter one")
    if isinstance(error, RuntimeError) and str(error).startswith("Symlink loop"):  # by pathlib
        return SettingsError("this link leads to itself", _shortened(str(error)), "remove it, or name another path")
    if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
        place = error.filename or error.filename2
        remedy = (
            "free some space"
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            else "remove what is in the place of the file or folder"
            if error.errno in _ANOTHER_KIND
            else "check the disk, its mount and the permissions"
        )
        return DiskError(f"disk: {error.strerror}", f"path: {place}" if place else "", remedy)
    # Gloo, which joins processes on CPUs, reports a lost one by a plain RuntimeError that names its own source file.
    lost = isinstance(error, RuntimeError) and "/gloo/transport/" in str(error)
    if lost or kind in ("DistBackendError", "DistNetworkError", "DistStoreError"):
        return DistributedError(
            "the processes of the run lost each other",
            str(error).split("\n")[0].partition(". This is typically")[0],
            "the same command resumes the run from the last checkpoint",
        )
    return None


def _shortened(name: str) -> str:
    return name if len(name) <= _TOLD else f"{name[:_TOLD]}..."
