"""Rows of one side or two, against laying them out by hand."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from plmtrain.data.rows.rows import side_by_side
from plmtrain.data.rows.side_framing import framed_sides
from plmtrain.data.rows.translations import LanguageRows
from plmtrain.text.vocabulary import Vocabulary

VOCABULARY = Vocabulary(64, {"pad": 2, "unk": 3, "cls": 1, "sep": 4, "mask": 5}, (0, 1, 2, 3, 4, 5))
SIDE = st.lists(st.integers(6, 60), max_size=7)
OTHER = st.one_of(st.just([]), st.lists(st.integers(6, 60), min_size=1, max_size=7))
LANGUAGE = st.integers(0, 3)
ROWS = st.lists(st.tuples(SIDE, OTHER, LANGUAGE, LANGUAGE, st.booleans()), min_size=1, max_size=6)


def language_rows(sides: list[list[int]], languages: list[int], others: LanguageRows | None = None) -> LanguageRows:
    plain = side_by_side([(np.array(side, np.int64), np.array([t % 2 == 0 for t in side], np.bool_)) for side in sides], 2)
    return LanguageRows(
        tokens=plain.tokens,
        lengths=plain.lengths,
        word_starts=plain.word_starts,
        languages=np.array(languages),
        shares=plain.tokens / 100,
        others=others,
    )


@given(ROWS)
@settings(deadline=None)
def test_as_by_hand(rows: list[tuple[list[int], list[int], int, int, bool]]) -> None:
    first, second, a, b, swapped = (list(column) for column in zip(*rows, strict=True))
    made = framed_sides(language_rows(first, a, language_rows(second, b)), VOCABULARY, np.array(swapped), 20)
    for row, (one, other, la, lb, turned) in enumerate(rows):
        sides = [(one, la)] + ([(other, lb)] if other else [])
        if turned and other:
            sides.reverse()
        ids, positions, languages, shares, starts = [], [], [], [], []
        for text, language in sides:
            ids += [1, *text, 4]
            positions += range(len(text) + 2)
            languages += [language] * (len(text) + 2)
            shares += [0, *(token / 100 for token in text), 0]
            starts += [True, *(token % 2 == 0 for token in text), True]
        length = len(ids)
        assert made.ids[row].tolist() == ids + [2] * (20 - length)
        assert made.positions[row, :length].tolist() == positions
        assert made.languages[row, :length].tolist() == languages
        assert made.shares[row, :length].tolist() == shares
        assert made.word_starts[row, :length].tolist() == starts
        assert made.real is not None
        assert made.real[row].tolist() == [True] * length + [False] * (20 - length)
        assert (made.lengths[row], made.first[row]) == (length, len(sides[0][0]) + 2)
        assert made.translated[row] == bool(other)


def test_rows_that_know_no_language() -> None:
    plain = side_by_side([(np.array([7, 8]), np.ones(2, np.bool_)), (np.array([9]), np.ones(1, np.bool_))], 2)
    made = framed_sides(plain, VOCABULARY)
    assert made.ids.tolist() == [[1, 7, 8, 4], [1, 9, 4, 2]]
    assert not made.languages.any()
