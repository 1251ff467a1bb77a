"""Words as characters: the bytes of their UTF-8, between marks. The numbers are those of ELMo's code (Peters et al. 2018)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

BEGIN_SENTENCE, END_SENTENCE, BEGIN_WORD, END_WORD, PADDING = range(256, 261)
CHARACTERS = 261
"""The number of different characters: 256 bytes and five marks."""

MOST_BYTES = 48
"""The bytes of a word that are kept: 50 places without the marks of its beginning and end."""

Bytes = NDArray[np.uint8]
"""[..., MOST_BYTES] the bytes of words, each followed by zeros: no word has a zero byte."""


def word_bytes(words: Sequence[str]) -> Bytes:
    """Return the bytes of words; longer words are cut.  # [words, MOST_BYTES]"""
    cut = [word.encode("utf-8", "surrogatepass")[:MOST_BYTES].ljust(MOST_BYTES, b"\0") for word in words]
    return np.frombuffer(b"".join(cut), np.uint8).reshape(len(words), MOST_BYTES)


def characters(words: Bytes, places: int) -> NDArray[np.int64]:
    """Return the characters of words: the mark of the beginning, the bytes, the mark of the end, and padding.

    Args:
        words: [words, MOST_BYTES] from ``word_bytes``.
        places: the number of characters of each; longer words are cut, as in the authors' code.

    Returns:
        [words, places].
    """
    kept = words[:, : places - 2].astype(np.int64)  # the marks are no bytes
    lengths = (kept != 0).sum(axis=1)
    spelt = np.full((len(words), places), PADDING, np.int64)
    spelt[:, 0] = BEGIN_WORD
    spelt[:, 1 : 1 + kept.shape[1]] = np.where(kept != 0, kept, PADDING)
    spelt[np.arange(len(words)), 1 + lengths] = END_WORD
    return spelt


def sentence_mark(mark: int, places: int) -> NDArray[np.int64]:
    """Return the characters of the word that stands at the beginning or at the end of a sentence.

    Args:
        mark: ``BEGIN_SENTENCE`` or ``END_SENTENCE``.
        places: as in ``characters``.
    """
    spelt = np.full(places, PADDING, np.int64)
    spelt[:3] = BEGIN_WORD, mark, END_WORD
    return spelt


def without_idle_padding(words: NDArray[np.int64], widest: int) -> NDArray[np.int64]:
    """Return the characters of words without the padding at which convolutions see only what they see before it, too.

    A maximum over all places is the same: one place remains where the widest of them sees padding alone, if there was one.

    Args:
        words: [words, places] from ``characters``.
        widest: the characters that the widest convolution sees.
    """
    longest = int(np.flatnonzero((words != PADDING).any(axis=0))[-1]) + 1 if len(words) else 0
    return words[:, : longest + widest]
