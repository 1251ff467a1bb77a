"""Prepared text on disk: flat memory-mapped arrays, so that a corpus of any size opens at once and takes no memory."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plmtrain.data.rows.unknown_words import UnknownWords
from plmtrain.data.splits import Split
from plmtrain.errors import DataError
from plmtrain.files import require_regular
from plmtrain.text.spelling import MOST_BYTES


@dataclass(frozen=True, eq=False)
class Store:
    """One split of a prepared data folder.

    Args:
        folder: the prepared data folder.
        split: which part of it.
        tokens: [tokens] token ids, each document followed by its end mark, in the smallest unsigned type.
        documents: [documents + 1] where each document starts, and the end of the last.
        sentences: [sentences + 1] where each sentence starts, and the end of the last; an end mark belongs to the sentence
            before it.
        word_starts: [tokens] whether a token begins a word (end marks do).
        languages: [documents] the number of each one's language; None where the text is not parallel.
        translations: [documents] whether a document is the translation of the one before it; None where the text is not parallel.
        unknown: the words that a vocabulary of whole words lacks; None where tokens are not whole words.
    """

    folder: Path
    split: Split
    tokens: NDArray[np.unsignedinteger]
    documents: NDArray[np.int64]
    sentences: NDArray[np.int64]
    word_starts: NDArray[np.bool_]
    languages: NDArray[np.uint8] | None = None
    translations: NDArray[np.bool_] | None = None
    unknown: UnknownWords | None = None

    @classmethod
    def open(cls, folder: Path | str, split: Split) -> Store:
        """Map one split of a prepared data folder into memory.

        Raises:
            DataError: if a file is missing, damaged, or does not fit the others.
        """
        place = Path(folder) / split
        arrays = [mapped(place / f"{name}.npy") for name in ("tokens", "documents", "sentences", "word_starts")]
        tokens, documents, sentences, word_starts = arrays
        ends = [int(starts[-1]) if len(starts) else 0 for starts in (documents, sentences)]
        if ends != [len(tokens)] * 2 or len(word_starts) != len(tokens):
            raise DataError("prepared data do not fit together", str(place), "delete the folder: it is prepared again")
        languages, translations = (
            mapped(file) if (file := place / f"{name}.npy").exists() else None for name in ("languages", "translations")
        )
        if any(array is not None and len(array) != len(documents) - 1 for array in (languages, translations)):
            raise DataError("prepared data do not fit together", str(place), "delete the folder: it is prepared again")
        unknown = None
        if (place / "unknown_places.npy").exists():
            places, spellings = mapped(place / "unknown_places.npy"), mapped(place / "unknown_spellings.npy")
            if len(places) * MOST_BYTES != len(spellings) or (len(places) and int(places[-1]) >= len(tokens)):
                raise DataError("prepared data do not fit together", str(place), "delete the folder: it is prepared again")
            unknown = UnknownWords(places, spellings.reshape(-1, MOST_BYTES))
        return cls(Path(folder), split, tokens, documents, sentences, word_starts, languages, translations, unknown)

    @cached_property
    def shares(self) -> NDArray[np.float64]:
        """The frequency of each token in the training text; zero for the end mark.  # [vocabulary]"""
        counts = mapped(self.folder / "train" / "frequencies.npy").astype(np.float64)
        shares: NDArray[np.float64] = counts / max(1.0, counts.sum())
        return shares

    def __len__(self) -> int:
        """Return the number of tokens, document-end marks included."""
        return len(self.tokens)

    def __reduce__(self) -> tuple[object, ...]:
        # Sent to another process, a store is opened again there instead of being copied.
        return Store.open, (self.folder, self.split)


def mapped(path: Path) -> NDArray[Any]:
    """Map an array file of prepared data into memory.

    Raises:
        DataError: if it is missing or damaged.
    """
    try:
        require_regular(path)
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise DataError("a file of the prepared data is missing", str(path), "delete its folder: it is prepared again") from None
    except (OSError, ValueError) as error:
        raise DataError(f"prepared data cannot be read: {error}", str(path), "delete its folder: it is prepared again") from None
    # A plain view: fancy indexing of the memmap subclass costs more than the reading.
    return np.asarray(array)


def marked(starts: NDArray[np.int64], first: NDArray[np.int64], length: int) -> NDArray[np.bool_]:
    """Mark the tokens of some rows at which something starts.

    Args:
        starts: the places where it starts, ascending.
        first: [rows] where each row begins.
        length: tokens in a row.

    Returns:
        [rows, length].
    """
    low, high = np.searchsorted(starts, first), np.searchsorted(starts, first + length)
    flags = np.zeros((len(first), length), np.bool_)
    row = np.repeat(np.arange(len(first)), high - low)
    ends = np.cumsum(high - low)
    which = np.arange(len(row)) + np.repeat(high - ends, high - low)
    flags[row, starts[which] - first[row]] = True
    return flags
