"""The choice of documents that are held out for validation, where no files are named for it.

A document's content decides, so that equal documents are on the same side, and a growing corpus keeps its held-out documents.
Only a corpus of few documents needs more rules.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from plmtrain.errors import TooLittleText

LARGEST_SHARE = 0.1
"""A document of more than this share of the corpus is never held out whole."""


@dataclass(frozen=True, kw_only=True)
class Held:
    """The documents that are held out.

    Args:
        documents: [documents] whether a document is held out.
        cut: a document whose end is held out, for lack of other documents; None where there is none.
        needed_minimum: whether the minimum number of tokens determined the choice.
    """

    documents: NDArray[np.bool_]
    cut: int | None = None
    needed_minimum: bool = False

    def among(self, kept: NDArray[np.bool_]) -> Held:
        """Return the same choice among all documents, made among those that are kept.

        Args:
            kept: [all documents] which are kept.
        """
        documents = np.zeros(len(kept), np.bool_)
        documents[kept] = self.documents
        return replace(self, documents=documents, cut=None if self.cut is None else int(np.flatnonzero(kept)[self.cut]))


def first_of_each(hashes: NDArray[np.uint64], held_out: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Mark each text where it stands first, unless it is a held-out text, too.

    It takes some 50 bytes of memory for each document while it works, whatever the documents' lengths: half of what the choice of
    held-out documents takes. Hashes of 64 bits take two different texts for one with a probability of n^2 / 2^65 among n texts:
    1 in 3,700 for a hundred million.

    Args:
        hashes: [documents] of the training documents' texts.
        held_out: [documents] of the texts of held-out files.
    """
    marks = np.zeros(len(hashes), np.bool_)
    marks[np.unique(hashes, return_index=True)[1]] = True
    if len(held_out):
        marks &= ~np.isin(hashes, held_out)
    return marks


def choose_held_out(hashes: NDArray[np.uint64], lengths: NDArray[np.int64], fraction: float, minimum: int) -> Held:
    """Choose documents in the order of their hashes: those in the lowest ``fraction`` of all hashes, and more up to ``minimum``.

    Args:
        hashes: [documents] of the documents' content.
        lengths: [documents] their tokens.
        fraction: the share of documents to hold out.
        minimum: tokens that must be held out at least.

    Raises:
        TooLittleText: if there is too little text.
    """
    order = np.argsort(hashes, kind="stable")
    values, firsts = np.unique(hashes[order], return_index=True)
    tokens = np.add.reduceat(lengths[order], firsts)
    total = int(tokens.sum())
    eligible = np.flatnonzero(tokens <= max(fraction, LARGEST_SHARE) * total)[: len(values) - 1]
    held = np.cumsum(tokens[eligible])
    by_hash = int(np.count_nonzero(values[eligible] < fraction * 2.0**64))
    enough = int(np.searchsorted(held, minimum)) + 1
    if enough > len(held):
        return Held(documents=np.zeros(len(hashes), np.bool_), cut=_to_cut(hashes, lengths, minimum), needed_minimum=True)
    chosen = values[eligible[: max(by_hash, enough)]]
    return Held(documents=np.isin(hashes, chosen), needed_minimum=by_hash < enough)


def _to_cut(hashes: NDArray[np.uint64], lengths: NDArray[np.int64], minimum: int) -> int:
    """Return the longest document that occurs only once."""
    _, groups, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    single = np.where(counts[groups] == 1, lengths, 0)
    longest = int(np.argmax(single))
    if single[longest] < minimum + 2:
        raise TooLittleText(
            f"too little text to hold out {minimum} tokens: {int(lengths.sum())} tokens in {_counted(len(np.unique(hashes)))}"
            + (f" ({len(hashes)} with repetitions)" if len(np.unique(hashes)) < len(hashes) else ""),
            "data.files",
            "give more text, name data.validation_files, or train on shorter rows (trainer.sequence_length)",
        )
    return longest


def _counted(documents: int) -> str:
    return f"{documents} document{'' if documents == 1 else 's'}"


def cut_position(length: int, sentences: NDArray[np.int64], word_starts: NDArray[np.bool_], tail: int, minimum: int) -> int:
    """Return where to cut a document so that its end can be held out: at a sentence, or at a word if no sentence fits.

    Args:
        length: the document's tokens, its end mark among them.
        sentences: [sentences] where its sentences start.
        word_starts: [length] whether a token begins a word.
        tail: the fewest tokens that the end should have, if that leaves the larger part before it.
        minimum: the fewest tokens that the end must have.
    """
    wanted = max(minimum, min(tail, length // 2))
    for starts in (sentences, np.flatnonzero(word_starts)):
        fitting = starts[(starts > 0) & (starts <= length - wanted)]
        if len(fitting) and length - fitting[-1] <= max(length // 2, 2 * wanted):
            return int(fitting[-1])
    return length - wanted
