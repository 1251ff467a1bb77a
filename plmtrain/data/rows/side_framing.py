"""From sentences and their translations to rows as a model reads them: ``</s> A </s> </s> B </s>``, with positions that begin
anew at the translation (Lample and Conneau 2019, section 3.4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plmtrain.corruption.masked_rows import FramedRows
from plmtrain.data.rows.rows import Rows
from plmtrain.data.rows.translations import LanguageRows
from plmtrain.text.vocabulary import Vocabulary

FRAMING = 2
"""Special tokens of a side: one before it, one behind it."""


@dataclass(frozen=True, kw_only=True)
class FramedSides(FramedRows):
    """Rows of one side or two as a model reads them.

    Args:
        positions: [rows, length] counted from 0 in each side.
        languages: [rows, length] the number of each token's language.
        shares: [rows, length] the share of each token in the training text; 0 where nobody knows.
        first: [rows] tokens of the side that stands first, special ones included.
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
    """Lay out rows.

    Args:
        rows: with translations as their ``others``, of length 0 where there is none; rows without ``others`` are one side each.
        vocabulary: for the special tokens.
        swapped: [rows] whether the translation stands first; never where it is not given, or where there is none.
        length: how long rows become by padding; as long as the longest if not given.
    """
    count = len(rows)
    others = rows.others
    sizes = np.stack([rows.lengths, np.zeros(count, np.int64) if others is None else others.lengths])  # [2, rows]
    translated = sizes[1] > 0
    turned = translated & (np.zeros(count, np.bool_) if swapped is None else swapped)
    before, behind = np.where(turned, sizes[::-1], sizes) + FRAMING  # of the sides as they stand
    behind = np.where(translated, behind, 0)
    lengths = before + behind
    place = np.arange(int(lengths.max(initial=FRAMING)) if length is None else length)
    assert len(place) >= lengths.max(initial=0), "rows do not fit"

    in_second = place >= before[:, None]
    positions = place - np.where(in_second, before[:, None], 0)
    own = np.where(in_second, behind[:, None], before[:, None])
    real = place < lengths[:, None]
    text = real & (positions > 0) & (positions < own - 1)
    from_other = in_second ^ turned[:, None]
    width = rows.tokens.shape[1]
    source = np.where(text, positions - 1 + np.where(from_other, width, 0), 0)

    def taken(own_side: NDArray, other_side: NDArray | None) -> NDArray:  # type: ignore[type-arg]
        both = own_side if other_side is None else np.concatenate([own_side, other_side], axis=1)
        return np.take_along_axis(both, source, axis=1) if both.shape[1] else np.zeros(source.shape, both.dtype)

    ids = np.where(text, taken(rows.tokens, None if others is None else others.tokens), vocabulary["pad"])
    ids[real & (positions == 0)] = vocabulary["cls"]
    ids[real & (positions == own - 1)] = vocabulary["sep"]
    starts = np.where(text, taken(rows.word_starts, None if others is None else others.word_starts), True)
    languages, shares = np.zeros(ids.shape, np.int64), np.zeros(ids.shape)
    if isinstance(rows, LanguageRows):
        second = others.languages if isinstance(others, LanguageRows) else rows.languages
        languages = np.where(from_other, second[:, None], rows.languages[:, None])
        if rows.shares is not None:
            shares = np.where(text, taken(rows.shares, others.shares if isinstance(others, LanguageRows) else None), 0.0)
    return FramedSides(
        ids=ids,
        word_starts=starts,
        lengths=lengths,
        real=real,
        positions=np.where(real, positions, 0),
        languages=np.where(real, languages, languages[:, :1]),
        shares=shares,
        first=before,
        translated=translated,
    )
