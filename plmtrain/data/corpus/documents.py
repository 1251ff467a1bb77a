"""The documents of a corpus, in chunks."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from plmtrain.data.corpus import parallel, text_files
from plmtrain.data.corpus.encoding import Passage
from plmtrain.data.corpus.sources import Sources, sample_texts
from plmtrain.data.splits import Split
from plmtrain.files import open_regular
from plmtrain.settings.data import DataSettings
from plmtrain.text import readers

_PARQUET = b"PAR1"
"""The bytes that parquet files begin with."""
_USUAL_COMPRESSION = 3  # of text
_CHUNK = 2**20  # characters that are encoded at a time, or one document if it is longer


class Reading:
    """One pass over the documents of a split's sources.

    Args:
        data: how they are read.
        sources: the files.
        split: whose files are read; ``train`` also where a part of them will be held out.
        skips: counts the lines that are omitted.
    """

    def __init__(self, data: DataSettings, sources: Sources, split: Split, skips: readers.Skips | None = None) -> None:
        self._data = data
        self._files = [path for path, use in sources.files if use == split]
        self._sizes = [source.bytes for source in sources.described if source.split == split]
        self._positions: deque[int] = deque()
        self._skips = readers.Skips() if skips is None else skips

    def passages(self) -> Iterator[tuple[int, Passage]]:
        """Yield each document, in order, after the offset in bytes of the sources at which it ends (estimated within a file)."""
        if self._data.type == "sample":
            position = 0
            for text in sample_texts():
                position += len(text)
                yield position, Passage(text)
            return
        if self._data.type == "parallel":
            yield from self._parallel()
            return
        before = 0
        for path, size in zip(self._files, self._sizes, strict=True):
            whole, read = text_bytes(path, size), 0
            for document in text_files.read(path, self._data, self._skips):
                read += len(document.text.encode())
                yield before + min(read * size // max(1, whole), size), Passage(document.text)
            before += size

    def beginnings(self, characters: int) -> Iterator[str]:
        """Yield documents from the beginning of each of its files, about this many characters in all."""
        units = parallel.units(self._files, self._data) if self._data.type == "parallel" else ()
        sources: list[Iterator[readers.Document] | Iterator[Passage]] = [
            *(parallel.read(unit, self._data, self._skips) for unit in units),
            *(text_files.read(path, self._data, self._skips) for path in self._files if not units),
        ]
        for source in sources:
            room = characters // len(sources)
            for document in source:
                yield document.text[: max(room, 0)]
                room -= len(document.text)
                if room <= 0:
                    break

    def _parallel(self) -> Iterator[tuple[int, Passage]]:
        sizes = dict(zip(self._files, self._sizes, strict=True))
        before = 0
        for unit in parallel.units(self._files, self._data):
            size = sum(sizes[path] for path in unit.paths)
            whole, read = sum(text_bytes(path, sizes[path]) for path in unit.paths), 0
            for passage in parallel.read(unit, self._data, self._skips):
                read += len(passage.text.encode())
                yield before + min(read * size // max(1, whole), size), passage
            before += size

    def chunks(self) -> Iterator[list[Passage]]:
        """Yield the documents, in order, about a megabyte at a time; ``passed`` must be called once for each chunk."""
        chunk: list[Passage] = []
        size = position = passed = 0
        for position, passage in self.passages():
            if size >= _CHUNK and not passage.translates:  # a translation stays with its original
                self._positions.append(passed)
                yield chunk
                chunk, size = [], 0
            chunk.append(passage)
            size += len(passage.text)
            passed = position
        if chunk:
            self._positions.append(position)
            yield chunk

    def passed(self) -> int:
        """Return the bytes of the sources up to the end of the next finished chunk; all of them when none is left."""
        return self._positions.popleft() if self._positions else self.total_bytes

    @property
    def total_bytes(self) -> int:
        """Bytes of the sources."""
        return sum(self._sizes)


def reading_of(data: DataSettings, sources: Sources) -> dict[str, Any]:
    """Return how the sources are read, as far as it determines their documents."""
    reading: dict[str, Any] = data.model_dump(include={"type", "text_column", "document_per", "on_bad"})
    if data.type == "csv":
        reading |= data.model_dump(include={"columns", "separator"})
    if data.type == "parallel":
        units = [parallel.units([path for path, use in sources.files if use == split], data) for split in ("train", "validation")]
        reading["units"] = [[[unit.kind, *unit.languages] for unit in units_of_split] for units_of_split in units]
        reading |= {"languages": data.languages, "source_language": data.source_language}
    return reading


def bytes_of_text(sources: Sources, split: Split | None = None) -> int:
    """Return about the bytes of text in the sources, or in those of a split: more than their sizes where they are compressed."""
    sizes = [
        text_bytes(path, source.bytes)
        for (path, use), source in zip(sources.files, sources.described, strict=False)
        if split in (None, use)
    ]
    return sum(sizes) or sources.total_bytes


def text_bytes(path: Path, size: int) -> int:
    """Return about the bytes of text in a file: its size, what gzip stores at the end of a file (RFC 1952, section 2.3.1), or the
    usual multiple of a file that zstd or parquet compressed."""
    with open_regular(path) as file:
        beginning = file.read(4)
        if beginning in (readers.ZSTD, _PARQUET):
            return _USUAL_COMPRESSION * size
        if size < 18 or not beginning.startswith(readers.GZIP):
            return size
        file.seek(size - 4)
        return max(size, int.from_bytes(file.read(4), "little"))
