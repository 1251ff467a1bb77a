"""Files and folders that are either complete or not there, whatever happens while they are written.

The method is always the same: write beside the target under a name that ends in ``.tmp``, flush to the disk, rename, flush the
folder that contains the name (Pillai et al. 2014, "All file systems are not created equal", section 4). The leftovers of a killed
process are recognised by their names and removed by the next owner of the folder.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import json
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from plmtrain.errors import DiskError, NotRegularError
from plmtrain.stopping import safe_point

CHUNK = 8 * 2**20
"""Bytes that are read or written at a time."""

_TEMPORARY = ".tmp"
_REPLACED = ".replaced"
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_OF_THE_DISK = _FULL | {errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ENODEV, errno.ENXIO, errno.EFBIG, errno.ESTALE}
_ANOTHER_KIND = frozenset({errno.EISDIR, errno.ENOTDIR, errno.ELOOP})
_OF_THE_NAME = _ANOTHER_KIND | {errno.ENOENT, errno.EEXIST, errno.ENOTEMPTY, errno.ENAMETOOLONG}


def size_in_words(count: int) -> str:
    """Format a number of bytes for people."""
    size = float(count)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def free_bytes(path: Path) -> int | None:
    """Return the bytes that this user can still write at a path (or at the nearest existing folder above it); None if unknown."""
    for place in (path, *path.absolute().parents):
        with suppress(OSError):
            return shutil.disk_usage(place).free
    return None


def nearest_folder(path: Path) -> Path:
    """Return the folder at a path, or the nearest existing one above it."""
    return next(place for place in (path.absolute(), *path.absolute().parents) if place.is_dir())


def disk_error(error: OSError, path: Path, needed: int | None = None) -> DiskError:
    """Build the error that reports a failed write to the user.

    Args:
        error: from the operating system.
        path: of the file or folder being written.
        needed: the bytes of all of it, if known.
    """
    reason = os.strerror(error.errno) if error.errno else str(error)
    amounts = []
    if error.errno not in _OF_THE_NAME:
        free = free_bytes(path)
        amounts += [f"{size_in_words(needed)} needed"] if needed is not None else []
        amounts += [f"{size_in_words(free)} free"] if free is not None else []
    if error.errno in _FULL:
        remedy = "free some space and run the same command again"
    elif error.errno == errno.ENOENT:
        remedy = f"make the folder {path.parent}, or name another"
    else:
        remedy = "check the folder, its permissions and its disk, then run again"
    return DiskError(
        f"cannot write {path.name}: {reason}" + (f" ({', '.join(amounts)})" if amounts else ""),
        str(path),
        remedy,
    )


@contextmanager
def disk_errors(path: Path, needed: int | None = None) -> Iterator[None]:
    """Turn errors of the disk under a path into a DiskError; other errors pass unchanged."""
    try:
        yield
    except OSError as error:
        inside = error.filename is None or _is_near(Path(os.fsdecode(error.filename)), path)
        if error.errno in _OF_THE_DISK | _OF_THE_NAME and inside:
            raise disk_error(error, path, needed) from error
        raise


def _is_near(place: Path, path: Path) -> bool:
    """Return whether a path lies in the folder of another one, or above it: not, for example, among the files that are read."""
    place, folder = place.absolute(), path.absolute().parent
    return place.is_relative_to(folder) or folder.is_relative_to(place)


def fsync(path: Path) -> None:
    """Flush a file's bytes, or a folder's names, from the cache to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems cannot flush a folder; their renames are synchronous.
        if not (error.errno == errno.EINVAL and path.is_dir()):
            raise
    finally:
        os.close(descriptor)


def make_folder(path: Path) -> Path:
    """Create a folder and those above it, so that the names survive a power failure too."""
    missing = [place for place in (path, *path.parents) if not place.exists()]
    with disk_errors(path):
        path.mkdir(parents=True, exist_ok=True)
        for place in reversed(missing):
            fsync(place.parent)
    return path


def temporary_name(target: Path) -> Path:
    """Return an unused name beside the target that ``clear_leftovers`` recognises."""
    return target.with_name(f"{target.name}.{secrets.token_hex(4)}{_TEMPORARY}")


@contextmanager
def atomic_file(path: Path, needed: int | None = None) -> Iterator[IO[bytes]]:
    """Write a file so that readers see the old one or the new one, and never a part of it. If the body raises, nothing changes.

    Args:
        path: of the file.
        needed: its bytes if known, for the message if there is no room.

    Raises:
        DiskError: if the disk refuses; the old file is unchanged.
    """
    temporary = temporary_name(path)
    with disk_errors(path, needed):
        try:
            with temporary.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        fsync(path.parent)


def write_bytes_atomically(path: Path, data: bytes) -> None:
    """Write bytes with ``atomic_file``.

    Raises:
        DiskError: if the disk refuses; the old file is unchanged.
    """
    with atomic_file(path, len(data)) as file:
        file.write(data)


def write_text_atomically(path: Path, text: str) -> None:
    """Write text as UTF-8 with ``write_bytes_atomically``."""
    write_bytes_atomically(path, text.encode())


def write_json_atomically(path: Path, value: Any) -> None:
    """Write a JSON value with ``write_text_atomically``, indented for people."""
    write_text_atomically(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


@contextmanager
def atomic_folder(
    target: Path, *, needed: int | None = None, replace: bool = False, before_rename: Callable[[], None] | None = None
) -> Iterator[Path]:
    """Write a folder that appears at its place only when it is complete and on the disk.

    The body writes into a temporary folder. Afterwards each file and folder in it is flushed, the temporary folder is renamed to
    ``target``, and the parent is flushed. If the body raises, the temporary folder is removed.

    Args:
        target: where the folder is to appear; its parent is created.
        needed: the bytes that it takes, for the message if there is no room.
        replace: whether an existing folder at ``target`` is replaced; it is removed last, and restored if this process is killed
            before.
        before_rename: called when everything is on the disk and before the folder appears.

    Raises:
        DiskError: if the disk refuses, or if something exists at ``target`` and may not be replaced.
    """
    make_folder(target.parent)
    temporary = temporary_name(target)
    with disk_errors(target, needed):
        try:
            temporary.mkdir()
            yield temporary
            flush_tree(temporary)
            if before_rename is not None:
                before_rename()
            _publish(temporary, target, replace)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise


def flush_tree(folder: Path) -> None:
    """Flush every file below a folder, then the folders from the inside out."""
    for here, _, names in os.walk(folder, topdown=False):
        for name in names:
            fsync(Path(here) / name)
        fsync(Path(here))


def _publish(temporary: Path, target: Path, replace: bool) -> None:
    """Rename, after moving an existing folder aside if it may be replaced."""
    aside = target.with_name(target.name + _REPLACED)
    moved = replace and target.exists()
    if moved:
        if aside.exists():
            remove_folder(aside)
        target.rename(aside)
    elif target.exists():
        # A rename would silently replace an empty folder.
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
    try:
        temporary.rename(target)
    except OSError:
        if moved:
            aside.rename(target)
        raise
    fsync(target.parent)
    if moved:
        with suppress(OSError):
            remove_folder(aside)


def remove_folder(folder: Path) -> None:
    """Remove a folder so that no process ever sees a part of it: first its name goes, then its contents."""
    temporary = temporary_name(folder)
    folder.rename(temporary)
    shutil.rmtree(temporary, ignore_errors=True)


def clear_leftovers(folder: Path) -> list[str]:
    """Remove the leftovers of killed writers in a folder that only this process uses now.

    Temporary files and folders are removed. A folder that was moved aside for a newer one is restored if the newer one never
    appeared.

    Returns:
        The names that were cleared.
    """
    cleared = []
    for place in sorted(folder.glob(f"*{_REPLACED}")):
        original = place.with_name(place.name.removesuffix(_REPLACED))
        if original.exists():
            remove_folder(place)
        else:
            place.rename(original)
        cleared.append(place.name)
    for place in sorted(folder.glob(f"*{_TEMPORARY}")):
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place, ignore_errors=True)
        else:
            place.unlink(missing_ok=True)
        cleared.append(place.name)
    return cleared


def clear_leftovers_of(target: Path) -> None:
    """Remove the leftovers of killed writers beside a path that no process writes to now."""
    left = re.compile(rf"{re.escape(target.name)}\.[0-9a-f]{{8}}{re.escape(_TEMPORARY)}")
    for place in target.parent.iterdir() if target.parent.is_dir() else ():
        if left.fullmatch(place.name) and place.is_dir() and not place.is_symlink():
            shutil.rmtree(place, ignore_errors=True)


def require_regular(path: Path) -> None:
    """Refuse what is no regular file: reading a named pipe waits for whoever writes into it, and /dev/zero never ends.

    Raises:
        OSError: if it is none, or not there; ``strerror`` is the reason.
    """
    mode = path.stat().st_mode
    if path == Path("/dev/stdin") or path.is_relative_to("/dev/fd"):
        # It may lead to a regular file now, and no later command finds that again; files in /dev/shm stay where they are.
        raise NotRegularError(errno.EINVAL, "it is an open stream, and only regular files are read", str(path))
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        kind = "a named pipe" if stat.S_ISFIFO(mode) else "a socket" if stat.S_ISSOCK(mode) else "a device"
        raise NotRegularError(errno.EINVAL, f"it is {kind}, and only regular files are read", str(path))


def open_regular(path: Path) -> io.BufferedReader:
    """Open a regular file for reading bytes.

    Raises:
        OSError: if it cannot be opened, or is not a regular file; ``strerror`` is the reason.
    """
    require_regular(path)
    return path.open("rb")


def read_bytes(path: Path) -> bytes:
    """Return the content of a regular file.

    Raises:
        OSError: if it cannot be read, or is not a regular file.
    """
    with open_regular(path) as file:
        return file.read()


def read_text(path: Path) -> str:
    """Return the content of a regular file of UTF-8 text.

    Raises:
        OSError: if it cannot be read, or is not a regular file.
        UnicodeDecodeError: if it is not UTF-8.
    """
    with io.TextIOWrapper(open_regular(path), encoding="utf-8") as file:
        return file.read()


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal; memory use does not depend on its size."""
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(min(CHUNK, max(1, path.stat().st_size))))
    with open_regular(path) as file:
        while count := file.readinto(buffer):
            digest.update(buffer[:count])
    return digest.hexdigest()


class FolderLock:
    """A lock that one process holds at a time while others wait. The kernel releases it when its holder ends in any way.

    It is a POSIX record lock: unlike with ``flock``, children forked by the holder do not keep it when the holder is killed. It
    excludes processes, not threads, and has no effect on a file system without locks (some parallel ones are mounted so): what it
    guards must then still be atomic, but may be done twice.

    Args:
        path: the lock's file, which is created and stays. Nothing else may open it.
        on_wait: called once if another process holds the lock.
    """

    def __init__(self, path: Path, on_wait: Callable[[], None] | None = None) -> None:
        self._path = path
        self._on_wait = on_wait
        self._descriptor = -1

    def __enter__(self) -> FolderLock:
        with disk_errors(self._path):
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            waited = False
            while not self._taken():
                if not waited and self._on_wait is not None:
                    self._on_wait()
                waited = True
                safe_point()
                time.sleep(0.02)
        except BaseException:
            os.close(self._descriptor)
            raise
        return self

    def _taken(self) -> bool:
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                return False
            if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
                raise
        return True

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        os.close(self._descriptor)
