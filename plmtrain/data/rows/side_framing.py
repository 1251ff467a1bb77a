"""Framing of sentences and their translations: ``</s> A </s> </s> B </s>``, with positions that restart at 0 in the translation
(Lample and Conneau 2019, section 3.4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plmtrain.corruption.framed_rows import FramedRows
from plmtrain.data.rows.row_formats import Places
from plmtrain.data.rows.rows import Rows, beside
from plmtrain.data.rows.translations import SIDE, SIDES, LanguageRows
from plmtrain.text.vocabulary import Vocabulary


@dataclass(frozen=True, kw_only=True)
class FramedSides(FramedRows):
    """Rows of one side or two sides as a model reads them.

    Args:
        positions: [rows, length] counted from 0 in each side.
        languages: [rows, length] the number of each token's language.
        shares: [rows, length] the share of each token in the training text; 0 if unknown.
        first: [rows] the number of tokens of the side that comes first, special ones included.
        translated: [rows] whether there is a second side.
    """

    positions: NDArray[np.int64]
    languages: NDArray[np.int64]
    shares: NDArray[np.float64]
    first: NDArray[np.int64]
    translated: NDArray[np.bool_]


def framed_sides(
    rows: Rows, vocabulary: Vocabulary, swapped: NDArray[np.bool_] | None = None, length: int | None = None
) -> FramedSides:
    """Lay out rows of one side or two sides.

    Args:
        rows: sentences, with their translations as ``others``, of length 0 where there is none; other rows are one side each.
        vocabulary: the ids of the special tokens.
        swapped: [rows] whether the translation comes first; none if not given, and no row without a translation.
        length: the length of rows with their padding; that of the longest row if not given.
    """
    others = rows.others
    own, width = rows.lengths, rows.tokens.shape[1]
    other = np.zeros_like(own) if others is None else others.lengths
    translated = other > 0
    turned = translated & (np.zeros(len(rows), np.bool_) if swapped is None else swapped)
    sides = [np.where(turned, other, own), np.where(turned, own, other)]  # in the order of the row
    before = sides[0] + SIDE.framing
    lacking = SIDES.lacking(~translated, SIDE)
    longest = int((before + np.where(translated, sides[1] + SIDE.framing, 0)).max(initial=SIDE.framing))
    begins = [np.where(turned, width, 0), np.where(turned, 0, width)]
    tokens = beside(rows.tokens, None if others is None else others.tokens)
    places = Places(SIDES, sides, longest if length is None else length, tokens.shape[1], begins, lacking)
    special = SIDES.framing

    real, place = places.real, np.arange(places.length)
    in_second = place >= before[:, None]
    languages, shares = np.zeros(real.shape, np.int64), np.zeros(real.shape)
    if isinstance(rows, LanguageRows):
        second = others.languages if isinstance(others, LanguageRows) else rows.languages
        languages = np.where(in_second ^ turned[:, None], second[:, None], rows.languages[:, None])
        if rows.shares is not None:
            known = beside(rows.shares, others.shares if isinstance(others, LanguageRows) else None)
            shares = places.filled(known, [0.0] * special, 0.0)
    starts = beside(rows.word_starts, None if others is None else others.word_starts)
    return FramedSides(
        ids=places.ids(tokens, vocabulary),
        word_starts=places.filled(starts, [True] * special, True),
        lengths=places.lengths,
        real=real,
        positions=np.where(real, place - np.where(in_second, before[:, None], 0), 0),
        languages=np.where(real, languages, languages[:, :1]),
        shares=shares,
        first=before,
        translated=translated,
    )
