"""Rows of any format, against laying them out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plmtrain.data.rows.framing import framed, framed_pairs
from plmtrain.data.rows.pair_rows import PairRows
from plmtrain.data.rows.row_formats import Places, RowFormat
from plmtrain.data.rows.rows import Rows
from plmtrain.families import MODEL_FAMILIES
from plmtrain.text.vocabulary import Vocabulary

VOCABULARY = Vocabulary(64, {"pad": 2, "unk": 3, "cls": 1, "sep": 4, "mask": 5, "bos": 0, "eos": 6}, (0, 1, 2, 3, 4, 5, 6))
SPECIAL = st.tuples(st.sampled_from(["cls", "sep", "mask"]), st.integers(0, 3))
FAMILY_FORMATS = [RowFormat.of(family, texts) for family in MODEL_FAMILIES for texts in (1, 2)]


@st.composite
def formats(draw: st.DrawFn) -> RowFormat:
    """Any format: texts in order, with any special tokens between them."""
    texts = draw(st.integers(1, 2))
    parts: list[Any] = []
    for text in range(texts):
        parts += [*draw(st.lists(SPECIAL, max_size=2)), (text, draw(st.integers(0, 3)))]
    parts += draw(st.lists(SPECIAL, max_size=2))
    return RowFormat(tuple(parts), draw(st.booleans()), draw(st.integers(0, 4)))


def by_hand(layout: RowFormat, texts: list[list[int]], length: int, padding: int) -> tuple[list[int], list[int], list[bool]]:
    """The ids, segments and reality of one row."""
    ids: list[int] = []
    segments: list[int] = []
    for part, segment in layout.pieces:
        stretch = texts[part] if isinstance(part, int) else [VOCABULARY[part]]
        ids += stretch
        segments += [segment] * len(stretch)
    more = length - len(ids)
    made = [padding] * more, [layout.padding_segment] * more, [False] * more
    own = ids, segments, [True] * len(ids)
    if layout.pads_left:
        return tuple(behind + before for behind, before in zip(made, own, strict=True))  # type: ignore[return-value]
    return tuple(before + behind for before, behind in zip(own, made, strict=True))  # type: ignore[return-value]


@given(st.one_of(formats(), st.sampled_from(FAMILY_FORMATS)), st.data())
@settings(deadline=None)
def test_any_format_as_by_hand(layout: RowFormat, data: st.DataObject) -> None:
    texts = sum(isinstance(part, int) for part, _ in layout.pieces)
    count = data.draw(st.integers(0, 4))
    width = data.draw(st.integers(0, 12))
    even = data.draw(st.booleans())
    draw = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    tokens = draw.integers(6, 64, (count, width))
    lengths = [np.full(count, draw.integers(0, width + 1)) if even else draw.integers(0, width + 1, count) for _ in range(texts)]
    begins = [draw.integers(0, width - each + 1) if count else each for each in lengths]
    if even:
        begins = [np.full(count, each.min(initial=width)) for each in begins]
    length = int(sum(lengths).max(initial=0)) + layout.framing + data.draw(st.integers(0, 3))  # type: ignore[union-attr]
    places = Places(layout, lengths, length, width, begins)
    ids, segments, real = places.ids(tokens, VOCABULARY), places.segments, places.real
    assert ids.shape == segments.shape == real.shape == (count, length)
    assert (ids.dtype, segments.dtype, real.dtype) == (np.int64, np.int64, np.bool_)
    for row in range(count):
        stretches = [tokens[row, b[row] : b[row] + n[row]].tolist() for b, n in zip(begins, lengths, strict=True)]
        assert (ids[row].tolist(), segments[row].tolist(), real[row].tolist()) == by_hand(layout, stretches, length, 2)
    own = np.arange(count)
    marked = places.filled(tokens, [own + 100] * layout.framing, own + 200)  # a value of each row for what is no text
    for row in range(count):
        assert {*marked[row, ~real[row]]} <= {200 + row}
        assert int((marked[row] == 100 + row).sum()) == layout.framing


def test_rows_that_do_not_fit_are_refused() -> None:
    for lengths in (np.array([3, 3]), np.array([1, 3])):
        places = Places(RowFormat.of("bert", 1), [lengths], 4, 3)
        with pytest.raises(AssertionError, match="do not fit"):
            places.ids(np.zeros((2, 3), np.int64), VOCABULARY)


def test_rows_are_framed_where_they_end() -> None:
    layout, starts = RowFormat.of("bert", 1), np.zeros((3, 3), np.bool_)
    tokens = np.array([[15, 16, 17], [18, 99, 99], [99, 99, 99]])
    made = framed(Rows(tokens=tokens, lengths=np.array([3, 1, 0]), word_starts=starts), layout, VOCABULARY)
    assert made.ids.tolist() == [[1, 15, 16, 17, 4], [1, 18, 4, 2, 2], [1, 4, 2, 2, 2]]
    assert made.real is not None
    assert made.real.sum(axis=1).tolist() == made.lengths.tolist() == [5, 3, 2]
    assert made.word_starts.tolist() == [[1, 0, 0, 0, 1], [1, 0, 1, 1, 1], [1, 1, 1, 1, 1]]
    full = framed(Rows(tokens=tokens[:1], lengths=np.array([3]), word_starts=starts[:1]), layout, VOCABULARY)
    assert full.ids.tolist() == [[1, 15, 16, 17, 4]]
    assert full.real is None


@pytest.mark.parametrize("lengths", [[4, 4], [4, 2]])
def test_special_tokens_are_of_the_document_beside_them(lengths: list[int]) -> None:
    documents = np.array([[0, 0, 1, 2], [5, 6, 9, 9]])
    rows = Rows(tokens=np.full((2, 4), 20), lengths=np.array(lengths), word_starts=np.ones((2, 4), np.bool_), documents=documents)
    made = framed(rows, RowFormat.of("bert", 1), VOCABULARY)
    assert made.documents is not None
    assert made.documents[0].tolist() == [0, 0, 0, 1, 2, 2]
    assert made.documents[1].tolist() == ([5, 5, 6, 9, 9, 9] if lengths[1] == 4 else [5, 5, 6, 6, 6, 6])


def test_a_segment_alone_is_laid_out_as_one_text() -> None:
    for family in ("bert", "roberta", "albert", "xlm"):
        one, two = RowFormat.of(family, 1), RowFormat.of(family, 2)
        tokens, lengths, starts = np.array([[20, 21, 22], [23, 24, 0]]), np.array([3, 2]), np.ones((2, 3), np.bool_)
        pairs = PairRows(tokens=tokens, lengths=lengths, word_starts=starts, segments=np.array([[0, 0, 1], [0, 0, 1]]))
        made = framed_pairs(pairs, two, VOCABULARY, two.lacking(np.array([False, True]), one))
        alone = framed(Rows(tokens=tokens, lengths=lengths, word_starts=starts), one, VOCABULARY)
        assert made.ids[1, : alone.ids.shape[1]].tolist() == alone.ids[1].tolist()
        assert made.lengths.tolist() == [3 + two.framing, 2 + one.framing]


def test_what_fills_rows_where_there_is_no_padding_token() -> None:
    roles = {"pad": 9, "eos": 8, "sep": 7, "bos": 6, "cls": 5, "mask": 4, "unk": 3}
    for role, filling in (("pad", 9), ("eos", 8), ("sep", 7), ("bos", 6), ("cls", 5), ("mask", 0)):
        assert Vocabulary(10, roles, tuple(roles.values())).padding == filling
        del roles[role]
