"""The files that text comes from, identified by their content.

Hashes are cached by path, size, both times and inode: an edit that restores the size and the modification time still changes
ctime. As in git's index, a file that changed just now is not cached, since the clock's resolution could hide another edit.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from plmtrain.data.corpus.corpus_manifest import SourceFile
from plmtrain.data.corpus.updates import OnUpdate, PreparationUpdate
from plmtrain.data.splits import Split
from plmtrain.errors import DataError, DiskError
from plmtrain.files import CHUNK, open_regular, sha256, write_json_atomically
from plmtrain.json_files import DamagedJson, read_object
from plmtrain.settings.data import DataSettings
from plmtrain.stopping import safe_point
from plmtrain.text import prose, readers, sample

_FRESH = 2 * 10**9  # nanoseconds: longer than the clock resolution of any file system

HASHES = ".hashes.json"
"""The file with cached hashes, in the folder of prepared data."""

Signature = tuple[int, int, int, int]
"""Size, mtime and ctime in nanoseconds, inode."""


@dataclass(frozen=True, kw_only=True)
class Sources:
    """The files of a corpus as they were when they were hashed.

    Args:
        files: in the order in which they are read; empty for the sample.
        signatures: of each file.
        described: the same for the manifest.
    """

    files: tuple[tuple[Path, Split], ...]
    signatures: tuple[Signature, ...]
    described: tuple[SourceFile, ...]

    @property
    def total_bytes(self) -> int:
        return sum(source.bytes for source in self.described)

    def digest(self, split: Split | None = None) -> list[list[str]]:
        """Return what determines the text: the files' contents, in order."""
        return [[source.split, source.sha256] for source in self.described if split in (None, source.split)]

    def check_unchanged(self) -> None:
        """Raise an error if a source changed meanwhile.

        Raises:
            DataError: naming the file.
        """
        for (path, _), signature in zip(self.files, self.signatures, strict=True):
            if not path.exists() or signature_of(path) != signature:
                raise DataError("a file changed while it was read", str(path), "run the same command again when it is complete")


def find_sources(data: DataSettings, memory: Path, on_update: OnUpdate) -> Sources:
    """Find the files of a corpus and hash them.

    Args:
        data: names the files.
        memory: the file with cached hashes.
        on_update: called with the bytes hashed.

    Raises:
        DataError: if there are none, or one is of another kind or cannot be read.
    """
    hashes = _Hashes(memory)
    if data.type == "sample":
        digest, count = hashes.of_sample()
        hashes.remember()
        name = "the documentation in the Python installation"
        return Sources(files=(), signatures=(), described=(SourceFile(path=name, split="train", bytes=count, sha256=digest),))
    files: list[tuple[Path, Split]] = [(path, "train") for path in readers.expand(data.files)]
    for language in sorted(data.monolingual):
        files += [(path, "train") for path in readers.expand(data.monolingual[language], f"data.monolingual.{language}")]
    held_out = readers.expand(data.validation_files, "data.validation_files") if data.validation_files else []
    files += [(path, "validation") for path in held_out]
    for path, _ in files:
        readers.require_kind(path, data.type)
    signatures, described, done = [], [], 0
    total = sum(path.stat().st_size for path, _ in files)

    def hashed(before: int, count: int) -> None:
        on_update(PreparationUpdate(stage="hash", bytes=before + count, total_bytes=total))

    for path, split in files:
        signature, digest = hashes.of(path, partial(hashed, done))
        done += signature[0]
        signatures.append(signature)
        described.append(SourceFile(path=str(path), split=split, bytes=signature[0], sha256=digest))
    hashes.remember()
    return Sources(files=tuple(files), signatures=tuple(signatures), described=tuple(described))


@lru_cache(maxsize=1)
def sample_texts() -> tuple[str, ...]:
    """Return the sample's documents: a megabyte, which takes seconds to extract and is needed several times."""
    return tuple(document.text for document in sample.documents())


def signature_of(path: Path) -> Signature:
    """Return the signature of a file."""
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino


class _Hashes:
    """SHA-256 of files, cached between commands."""

    def __init__(self, memory: Path) -> None:
        self._memory = memory
        self._known: dict[str, Any] = {}
        self._new = False
        with suppress(OSError, DamagedJson):
            self._known = read_object(memory)

    def of(self, path: Path, on_bytes: Callable[[int], None]) -> tuple[Signature, str]:
        """Return a file's signature and hash."""
        signature, place = signature_of(path), str(path.absolute())
        known = self._known.get(place)
        if isinstance(known, list) and known[:-1] == list(signature):
            return signature, str(known[-1])
        began = time.time_ns()
        digest, count = hashlib.sha256(), 0
        try:
            with open_regular(path) as file:
                while chunk := file.read(CHUNK):
                    safe_point()
                    digest.update(chunk)
                    count += len(chunk)
                    on_bytes(count)
        except OSError as error:
            raise DataError(f"cannot read a file: {error.strerror}", str(path), "check the file and its permissions") from None
        if began - max(signature[1:3]) > _FRESH and signature_of(path) == signature:
            self._known[place] = [*signature, digest.hexdigest()]
            self._new = True
        return signature, digest.hexdigest()

    def of_sample(self) -> tuple[str, int]:
        """Return the sample's hash and size, which depend on this Python version and on the code that extracts it."""
        place, kind = "sample", [sys.version, *(sha256(Path(str(module.__file__))) for module in (sample, prose))]
        known = self._known.get(place)
        if isinstance(known, list) and known[:-2] == kind:
            return str(known[-2]), int(known[-1])
        digest, count = hashlib.sha256(), 0
        for text in sample_texts():
            content = text.encode()
            digest.update(len(content).to_bytes(8, "little") + content)
            count += len(content)
        self._known[place], self._new = [*kind, digest.hexdigest(), count], True
        return digest.hexdigest(), count

    def remember(self) -> None:
        """Save new hashes; without them files are hashed again, so a failure does not matter."""
        if self._new:
            with suppress(DiskError):
                write_json_atomically(self._memory, self._known)
