"""Encoded documents on their way to disk: first all of them in the order of the sources, then each in its split.

Which documents are held out is only known when all are counted, and memory must not grow with the corpus.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from plmtrain.data.corpus.corpus_manifest import SplitCounts
from plmtrain.data.corpus.encoding import Encoded
from plmtrain.data.corpus.overlap import HASHES
from plmtrain.files import sha256
from plmtrain.text.spelling import MOST_BYTES

_PIECE = 2**20  # tokens that are copied at a time, or one document if it has more


class NpyWriter:
    """A flat ``.npy`` file that is written piece by piece, to any length.

    Args:
        path: of the file.
        dtype: of its elements.
    """

    def __init__(self, path: Path, dtype: np.dtype[Any]) -> None:
        self.path, self._dtype, self._length = path, dtype, 0
        self._file: IO[bytes] = path.open("xb")
        self._header()

    def write(self, array: NDArray[Any]) -> None:
        # Not ndarray.tofile, which loses the reason when the disk is full.
        self._file.write(np.ascontiguousarray(array, self._dtype).data.cast("B") if len(array) else b"")
        self._length += len(array)

    def close(self) -> None:
        end = self._file.tell()
        self._file.seek(0)
        self._header()  # NumPy reserves room in it for any length
        self._file.seek(end)
        self._file.close()

    def abandon(self) -> None:
        """Close the file even if the disk refuses the rest of the writes, so that removing it frees its space."""
        with suppress(OSError):
            self._file.close()

    def __enter__(self) -> NpyWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _header(self) -> None:
        described = npy.dtype_to_descr(self._dtype)
        npy.write_array_header_1_0(self._file, {"descr": described, "fortran_order": False, "shape": (self._length,)})


class Staging:
    """All encoded documents in a temporary folder: added inside its ``with``, read after it.

    Args:
        folder: is created.
        token_type: the type of the tokens.
    """

    def __init__(self, folder: Path, token_type: np.dtype[np.unsignedinteger]) -> None:
        folder.mkdir()
        types: dict[str, Any] = {
            "tokens": token_type,
            "word_starts": np.bool_,
            "hashes": np.uint64,
            "keys": np.uint64,
            "languages": np.uint8,
            "translations": np.bool_,
            "unknown_spellings": np.uint8,
        }
        self._tokens = 0
        self._writers = {
            field.name: NpyWriter(folder / f"{field.name}.npy", np.dtype(types.get(field.name, np.int64)))
            for field in fields(Encoded)
        }

    def add(self, documents: Encoded) -> None:
        for name, writer in self._writers.items():
            array = getattr(documents, name)
            writer.write(array + self._tokens if name == "unknown_places" else array)
        self._tokens += len(documents.tokens)

    def __enter__(self) -> Staging:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Finish writing, and map the arrays for reading unless an error ended it."""
        for name, writer in self._writers.items():
            if error is None:
                writer.close()
                setattr(self, name, np.asarray(np.load(writer.path, mmap_mode="r", allow_pickle=False)))
            else:
                writer.abandon()

    tokens: NDArray[np.unsignedinteger]
    word_starts: NDArray[np.bool_]
    sentences: NDArray[np.int64]
    documents: NDArray[np.int64]
    sentence_counts: NDArray[np.int64]
    hashes: NDArray[np.uint64]
    keys: NDArray[np.uint64]
    languages: NDArray[np.uint8]
    translations: NDArray[np.bool_]
    unknown_places: NDArray[np.int64]
    unknown_spellings: NDArray[np.uint8]

    def pieces(self) -> Iterator[tuple[slice, Encoded]]:
        """Yield all documents again in pieces, each with its range of documents."""
        ends = np.cumsum(self.documents)
        first, token, sentence = 0, 0, 0
        while first < len(ends):
            last = max(first + 1, int(np.searchsorted(ends, token + _PIECE, side="right")))
            here = slice(first, last)
            token_end, sentence_end = int(ends[last - 1]), sentence + int(self.sentence_counts[here].sum())
            unknown = slice(*np.searchsorted(self.unknown_places, [token, token_end]).tolist())
            yield (
                here,
                Encoded(
                    tokens=self.tokens[token:token_end],
                    word_starts=self.word_starts[token:token_end],
                    sentences=self.sentences[sentence:sentence_end],
                    documents=self.documents[here],
                    sentence_counts=self.sentence_counts[here],
                    hashes=self.hashes[here],
                    keys=self.keys[here],
                    languages=self.languages[here],
                    translations=self.translations[here],
                    unknown_places=self.unknown_places[unknown] - token,
                    unknown_spellings=self.unknown_spellings[unknown.start * MOST_BYTES : unknown.stop * MOST_BYTES],
                ),
            )
            first, token, sentence = last, token_end, sentence_end


class SplitWriter:
    """One split of a prepared data folder.

    Args:
        folder: the split's folder, which is created.
        token_type: the type of the tokens.
        vocabulary_size: the number of different tokens.
        parallel: whether documents have languages and translations: these are written too.
        spelt: whether tokens are whole words: the unknown ones are written too.
    """

    def __init__(
        self,
        folder: Path,
        token_type: np.dtype[np.unsignedinteger],
        vocabulary_size: int,
        *,
        parallel: bool = False,
        spelt: bool = False,
    ) -> None:
        folder.mkdir()
        self._folder = folder
        self._tokens = NpyWriter(folder / "tokens.npy", token_type)
        self._word_starts = NpyWriter(folder / "word_starts.npy", np.dtype(np.bool_))
        self._starts = {name: NpyWriter(folder / f"{name}.npy", np.dtype(np.int64)) for name in ("documents", "sentences")}
        self._each: dict[str, NpyWriter] = {}
        if parallel:
            kinds = {"languages": np.dtype(np.uint8), "translations": np.dtype(np.bool_)}
            self._each = {name: NpyWriter(folder / f"{name}.npy", kind) for name, kind in kinds.items()}
        self._unknown: dict[str, NpyWriter] = {}
        if spelt:
            kinds = {"unknown_places": np.dtype(np.int64), "unknown_spellings": np.dtype(np.uint8)}
            self._unknown = {name: NpyWriter(folder / f"{name}.npy", kind) for name, kind in kinds.items()}
        self._hashes: list[NDArray[np.uint64]] = []
        self._end = self._sentences = 0
        self.frequencies = np.zeros(vocabulary_size, np.int64)

    def add(self, documents: Encoded) -> None:
        self._tokens.write(documents.tokens)
        self._word_starts.write(documents.word_starts)
        for name, writer in self._starts.items():
            lengths: NDArray[np.int64] = getattr(documents, name)
            writer.write(self._end + np.cumsum(lengths) - lengths)
        for name, writer in self._each.items():
            writer.write(getattr(documents, name))
        for name, writer in self._unknown.items():
            writer.write(self._end + documents.unknown_places if name == "unknown_places" else documents.unknown_spellings)
        self._hashes.append(np.array(documents.hashes))
        self._end += len(documents.tokens)
        self._sentences += len(documents.sentences)
        self.frequencies += np.bincount(documents.tokens, minlength=len(self.frequencies))

    def finish(self) -> tuple[SplitCounts, NDArray[np.uint64]]:
        """Return the counts of what was written, and the distinct hashes of the documents, ascending."""
        documents = sum(map(len, self._hashes))
        distinct = np.unique(np.concatenate([np.empty(0, np.uint64), *self._hashes]))
        writers = [self._tokens, self._word_starts, *self._starts.values(), *self._each.values(), *self._unknown.values()]
        for writer in self._starts.values():
            writer.write(np.array([self._end]))
        writers.append(NpyWriter(self._folder / "frequencies.npy", np.dtype(np.int64)))
        writers[-1].write(self.frequencies)
        writers.append(NpyWriter(self._folder / HASHES, np.dtype(np.uint64)))
        writers[-1].write(distinct)
        for writer in writers:
            writer.close()
        counts = SplitCounts(
            tokens=self._end,
            documents=documents,
            sentences=self._sentences,
            duplicates=documents - len(distinct),
            bytes={writer.path.name: writer.path.stat().st_size for writer in writers},
            sha256={writer.path.name: sha256(writer.path) for writer in writers},
        )
        return counts, distinct
