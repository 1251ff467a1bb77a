"""The prepared shards of a run on the disk, as the processes that read them see them.

A run has a cache of its own, so that no other run removes what it still reads. One process fills it (``shards.ahead``); all
processes of the run read it, and wait for a shard that is not there yet. What is known of a shard outlives its removal in a
record, from which the place of any step is found again. Without the record the shards are prepared, and counted, once more.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import Field

from plmtrain.data.corpus.store import Store
from plmtrain.data.shards.shard_files import ShardFiles
from plmtrain.data.shards.shard_order import ROWS
from plmtrain.errors import DataError, DiskError, DistributedError, MemoryExhausted, PlmtrainError, Stopped, escaped
from plmtrain.files import disk_errors, make_folder, open_regular, read_bytes, write_json_atomically
from plmtrain.json_files import DamagedJson, as_record, parse, read_record

_POLL = 0.02
"""Seconds between two looks for a shard that is awaited."""
_LOST = 120.0
"""Seconds after which nobody who prepares means that it ended: it starts in less, even from a slow network file system. The
process that started it knows sooner (``AwaitedShards``)."""

_PATIENCE = 5.0
"""Seconds of waiting that a user is told of."""

KindT = TypeVar("KindT")

Count = Annotated[int, Field(ge=0, lt=ROWS)]
"""No shard has more of anything than a record may claim."""


@dataclass(frozen=True, kw_only=True)
class ShardFacts:
    """The facts of a shard that was prepared once.

    Args:
        key: ``ShardFiles.key``.
        sha256: of its file.
        tokens: document-end marks included.
        bytes: on the disk, prepared.
        documents: that are prepared.
        dropped: documents that are left out since they are held out.
        skipped: lines that could not be read (``data.on_bad=skip``).
        first_skipped: where the first of these is, and why.
    """

    key: str
    sha256: str
    tokens: Count
    bytes: Count
    documents: Count
    dropped: Count
    skipped: Count
    first_skipped: str = ""


class ShardRecord:
    """A file with the facts of each shard that was prepared, a line each, in the order in which that happened.

    Args:
        path: of the file; only one process adds to it.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._read = path, 0
        self._facts: dict[str, ShardFacts] = {}

    def of(self, key: str) -> ShardFacts | None:
        """Return the facts of a shard; None if it was not prepared yet."""
        if key not in self._facts:
            self._read_on()
        return self._facts.get(key)

    def add(self, facts: ShardFacts) -> None:
        """Write the facts of a shard."""
        if self.of(facts.key) == facts:
            return
        line = json.dumps(asdict(facts)).encode() + b"\n"
        with disk_errors(self._path, len(line)):
            make_folder(self._path.parent)
            whole = not self._path.exists() or read_bytes(self._path)[-1:] in (b"", b"\n")
            with self._path.open("ab") as file:
                file.write(line if whole else b"\n" + line)
                file.flush()
                os.fsync(file.fileno())

    def _read_on(self) -> None:
        """Read the lines that were added, but for the last one while it is written."""
        if not self._path.exists():
            return
        with open_regular(self._path) as file:
            file.seek(self._read)
            lines = file.read().split(b"\n")
        self._read += sum(len(line) + 1 for line in lines[:-1])
        for line in lines[:-1]:
            try:
                facts = as_record(parse(line), ShardFacts)
            except DamagedJson:
                continue  # cut by a power failure: the shard is counted again
            self._facts[facts.key] = facts


@dataclass(frozen=True)
class ShardCache:
    """The cache of a run.

    Args:
        files: the shards.
        made_with: the digest of everything but the files that determines their tokens: the tokenizer, what is held out.
        folder: of the cache.
        record_path: of the record.
    """

    files: ShardFiles
    made_with: str
    folder: Path
    record_path: Path

    def place(self, number: int) -> Path:
        """Return the folder of a prepared shard, which exists when it is complete."""
        return self.folder / self.files.folder_name(number, self.made_with)

    def key(self, number: int) -> str:
        """Return the key of a shard in the record."""
        return self.files.key(number, self.made_with)

    @property
    def lock_path(self) -> Path:
        """The lock that the process holds which prepares shards."""
        return self.folder / ".lock"

    @property
    def failure_path(self) -> Path:
        """The file in which that process tells why it ended."""
        return self.folder / "failure.json"


class AwaitedShards:
    """The shards of a run for a process that reads them.

    Args:
        cache: of the run.
        on_wait: called with a shard's file if it is awaited for some seconds.
        in_vain: returns why no shard will be prepared any more, if the caller knows: ``Ahead.in_vain`` where that is.
    """

    def __init__(
        self,
        cache: ShardCache,
        on_wait: Callable[[Path], None] = lambda path: None,
        in_vain: Callable[[], PlmtrainError | None] = lambda: None,
    ) -> None:
        self._cache, self._record = cache, ShardRecord(cache.record_path)
        self._on_wait, self._in_vain = on_wait, in_vain

    def tokens(self, number: int, asking: Callable[[], None] = lambda: None) -> int:
        """Return the tokens of a shard, once they are counted.

        Args:
            number: of the shard.
            asking: called if they are not counted yet.

        Raises:
            PlmtrainError: if it cannot be prepared, or if nobody prepares it.
        """
        key = self._cache.key(number)
        if self._record.of(key) is None:
            asking()
        return self._awaited(number, lambda: self._record.of(key)).tokens

    def wait_for(self, number: int) -> None:
        """Wait until a shard is prepared. Errors as from ``tokens``."""
        place = self._cache.place(number)
        self._awaited(number, lambda: place.exists() or None)

    def store(self, number: int) -> Store:
        """Return the tokens of a shard, once it is prepared. Errors as from ``tokens``."""
        return self._awaited(number, lambda: self._opened(number))

    def _opened(self, number: int) -> Store | None:
        place = self._cache.place(number)
        if not place.exists():
            return None
        try:
            return Store.open(place, "train")
        except DataError:
            if place.exists():
                raise
            return None  # removed meanwhile

    def _awaited(self, number: int, look: Callable[[], KindT | None]) -> KindT:
        began = alive = time.monotonic()
        told = False
        while (there := look()) is None:
            if (failure := read_failure(self._cache.failure_path) or self._in_vain()) is not None:
                if (there := look()) is not None:
                    return there  # prepared just before: another process may have seen it
                raise failure
            now = time.monotonic()
            if _is_held(self._cache.lock_path):
                alive = now
            elif now - alive > _LOST:
                raise ended(f"{self._cache.files.paths[number]} was awaited")
            if not told and now - began > _PATIENCE:
                told = True
                self._on_wait(self._cache.files.paths[number])
            time.sleep(_POLL)
        return there


def ended(where: str) -> DistributedError:
    """Return the error that nobody prepares shards any more."""
    remedy = "start the same command again; if memory ran out, use fewer data.processes"
    return DistributedError("the process that prepares text ahead of training ended", where, remedy)


def _is_held(lock: Path) -> bool:
    """Return whether another process holds a ``FolderLock``."""
    try:
        descriptor = os.open(lock, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)  # which another one who looks does not exclude
    except OSError as error:
        # Without locks on this file system nothing tells that the process ended.
        return error.errno in (errno.EACCES, errno.EAGAIN, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
    finally:
        os.close(descriptor)
    return False


_KINDS: dict[str, type[PlmtrainError]] = {
    kind.__name__: kind for kind in (DataError, DiskError, DistributedError, MemoryExhausted, Stopped)
}


@dataclass(frozen=True)
class _Failure:
    """A ``PlmtrainError`` as it is written."""

    kind: str
    what: str
    where: str
    remedy: str


def write_failure(path: Path, error: PlmtrainError) -> None:
    """Write an error for the processes that wait."""
    kind = next((name for name, kind in _KINDS.items() if isinstance(error, kind)), DistributedError.__name__)
    write_json_atomically(path, asdict(_Failure(kind, *map(escaped, (error.what, error.where, error.remedy)))))


def read_failure(path: Path) -> PlmtrainError | None:
    """Return the error that was written; None if there is none, or if it is damaged."""
    try:
        told = read_record(path, _Failure)
    except (OSError, DamagedJson):
        return None
    return _KINDS.get(told.kind, DistributedError)(told.what, told.where, told.remedy)
