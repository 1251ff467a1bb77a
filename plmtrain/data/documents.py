"""The documents of a corpus, some at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path

from plmtrain.data.sources import Sources, sample_texts
from plmtrain.data.store import Split
from plmtrain.settings.data import DataSettings
from plmtrain.text import readers

_CHUNK = 2**20  # characters that are encoded at a time, or one document if it has more


class Reading:
    """One pass over the documents of a split's sources.

    Args:
        data: how they are read.
        sources: the files.
        split: whose files; ``train`` also where a part of it will be held out.
        skips: where lines that are left out are counted.
    """

    def __init__(self, data: DataSettings, sources: Sources, split: Split, skips: readers.Skips | None = None) -> None:
        self._data = data
        self._files = [path for path, use in sources.files if use == split]
        self._sizes = [source.bytes for source in sources.described if source.split == split]
        self._positions: deque[int] = deque()
        self._skips = skips

    def texts(self) -> Iterator[tuple[int, str]]:
        """Each document's text, in order, behind how many bytes of the sources it ends at (an estimate within a file)."""
        if self._data.type == "sample":
            position = 0
            for text in sample_texts():
                position += len(text)
                yield position, text
            return
        before = 0
        for path, size in zip(self._files, self._sizes, strict=True):
            whole, read = text_bytes(path, size), 0
            for document in readers.read(path, self._data, self._skips):
                read += len(document.text.encode())
                yield before + min(read * size // max(1, whole), size), document.text
            before += size

    def chunks(self) -> Iterator[list[str]]:
        """The documents' texts, in order, about a megabyte at a time; ``passed`` has to be called once for each chunk."""
        chunk: list[str] = []
        size = position = 0
        for position, text in self.texts():
            chunk.append(text)
            size += len(text)
            if size >= _CHUNK:
                self._positions.append(position)
                yield chunk
                chunk, size = [], 0
        if chunk:
            self._positions.append(position)
            yield chunk

    def passed(self) -> int:
        """Bytes of the sources up to the end of the next chunk that is done; of all of them when none is left."""
        return self._positions.popleft() if self._positions else self.total_bytes

    @property
    def total_bytes(self) -> int:
        """Bytes of the sources."""
        return sum(self._sizes)


def text_bytes(path: Path, size: int) -> int:
    """Bytes of text in a file: its size, or what gzip says at the end of a file (RFC 1952, section 2.3.1)."""
    with path.open("rb") as file:
        if size < 18 or file.read(2) != b"\x1f\x8b":
            return size
        file.seek(size - 4)
        return max(size, int.from_bytes(file.read(4), "little"))
