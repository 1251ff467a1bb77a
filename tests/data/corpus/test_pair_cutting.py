"""Pairs of segments: labels are true by construction, and their statistics are those of the specification."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import original_pairs

from plmtrain.data.corpus.pair_cutting import Cutting, Pairs, Text, cut


def text(documents: list[list[int]]) -> Text:
    """Documents of sentences of so many tokens each; an end mark belongs to a document's last sentence."""
    sentences, starts = [0], [0]
    for lengths in documents:
        for number, length in enumerate(lengths):
            sentences.append(sentences[-1] + length + (number == len(lengths) - 1))
        starts.append(sentences[-1])
    return Text(documents=np.array(starts), sentences=np.array(sentences))


def random_text(seed: int, documents: int, most_sentences: int, most_tokens: int) -> Text:
    draw = np.random.default_rng(seed)
    counts = draw.integers(1, most_sentences + 1, documents)
    return text([draw.integers(1, most_tokens + 1, count).tolist() for count in counts])


def cutting(relation: str, **given: Any) -> Cutting:
    chosen: Any = {"relation": relation, "tokens": 30, "copies": 2, "short_share": 0.1, **given}
    return Cutting(**chosen)


def everything(documents: Text, how: Cutting) -> Pairs:
    return cut(documents, np.arange(len(documents.documents) - 1), how)


def document_of(documents: Text, tokens: np.ndarray) -> np.ndarray:
    return np.searchsorted(documents.documents, tokens, side="right") - 1


def ends_of(pairs: Pairs) -> np.ndarray:
    return pairs.starts + pairs.lengths


TEXTS = st.lists(st.lists(st.integers(1, 25), min_size=1, max_size=12), min_size=2, max_size=12)
HOW = {"tokens": st.integers(2, 40), "copies": st.integers(1, 3), "short_share": st.sampled_from([0.0, 0.1, 1.0])}


def check_segments(documents: Text, pairs: Pairs, how: Cutting) -> None:
    """Both segments are text of one document each, whole but for what fitting the row cuts off."""
    assert np.all(pairs.lengths >= 1)
    assert np.all(pairs.lengths.sum(axis=1) <= how.tokens)
    first, last = document_of(documents, pairs.starts), document_of(documents, ends_of(pairs) - 1)
    assert np.array_equal(first, last)
    assert np.all(ends_of(pairs) <= documents.documents[last + 1] - 1), "an end mark is no text"


@settings(max_examples=60, deadline=None)
@given(documents=TEXTS, relation=st.sampled_from(["next", "order"]), **HOW)
def test_segments_are_text_of_one_document(documents, relation, tokens, copies, short_share) -> None:
    made, how = text(documents), cutting(relation, tokens=tokens, copies=copies, short_share=short_share)
    check_segments(made, everything(made, how), how)


@settings(max_examples=60, deadline=None)
@given(documents=TEXTS, **HOW)
def test_next_follows_and_random_is_from_another_document(documents, tokens, copies, short_share) -> None:
    made, how = text(documents), cutting("next", tokens=tokens, copies=copies, short_share=short_share)
    pairs = everything(made, how)
    own = document_of(made, pairs.starts)
    follows = ~pairs.changed
    assert np.array_equal(own[:, 0] == own[:, 1], follows)
    # What follows comes behind, and all that lies between was cut off so that the pair fits: then it is full.
    gap = pairs.starts[:, 1] - ends_of(pairs)[:, 0]
    assert np.all(gap[follows] >= 0)
    assert np.all((gap[follows] == 0) | (pairs.lengths[follows].sum(axis=1) == tokens))
    # Each document has pairs, in each copy; in one, every sentence is in a first segment or in what followed one.
    assert set(own[:, 0]) == set(range(len(documents)))


@settings(max_examples=60, deadline=None)
@given(documents=TEXTS, **HOW)
def test_order_is_exactly_swapped(documents, tokens, copies, short_share) -> None:
    made, how = text(documents), cutting("order", tokens=tokens, copies=copies, short_share=short_share)
    pairs = everything(made, how)
    own = document_of(made, pairs.starts)
    assert np.array_equal(own[:, 0], own[:, 1]), "no pair crosses documents"
    early = np.where(pairs.changed, 1, 0)
    rows = np.arange(len(pairs))
    gap = pairs.starts[rows, 1 - early] - ends_of(pairs)[rows, early]
    assert np.all(gap >= 0), "the earlier segment comes first, unless the two are swapped"
    assert np.all((gap == 0) | (pairs.lengths.sum(axis=1) == tokens))
    # Where A and B meet, a sentence begins.
    meet = gap == 0
    assert np.isin(pairs.starts[rows, 1 - early][meet], made.sentences).all()
    assert {document for document, lengths in enumerate(documents) if len(lengths) > 1} == set(own[:, 0])


def test_random_is_never_from_a_copy_of_the_document() -> None:
    made = random_text(8, 6, 20, 10)
    contents = np.array([7, 3, 7, 9, 3, 7], np.uint64)
    pairs = everything(replace(made, contents=contents), cutting("next", copies=200))
    first, second = document_of(made, pairs.starts[pairs.changed]).T
    assert np.all(contents[first] != contents[second])
    for content, others in ((7, 3), (3, 4), (9, 5)):
        drawn = np.bincount(second[contents[first] == content], minlength=6)
        assert np.count_nonzero(drawn) == others
        expected = drawn.sum() / others
        assert np.sum((drawn[drawn > 0] - expected) ** 2 / expected) < others - 1 + 5 * math.sqrt(2 * others)
    alone = everything(replace(made, contents=np.arange(6).astype(np.uint64)), cutting("next"))
    assert np.array_equal(alone.starts, everything(made, cutting("next")).starts)


def covered(documents: Text, pairs: Pairs, which: np.ndarray) -> np.ndarray:
    """How many segments each token is in."""
    count = np.zeros(int(documents.documents[-1]) + 1, np.int64)
    for side in range(2):
        np.add.at(count, pairs.starts[which, side], 1)
        np.add.at(count, ends_of(pairs)[which, side], -1)
    return np.cumsum(count)[:-1]


def test_sentences_that_are_not_used_are_put_back() -> None:
    """With rows that take any stretch, each token of a text is once a first segment or a real second one."""
    made = text([[3] * 40, [5] * 30, [2, 9, 4] * 10])
    how = cutting("next", tokens=60, copies=1, short_share=0.0)
    pairs = everything(made, how)
    uncut = pairs.lengths.sum(axis=1) < 60
    followed = np.stack([np.ones(len(pairs), np.bool_), ~pairs.changed], axis=1)
    count = np.zeros(int(made.documents[-1]) + 1, np.int64)
    np.add.at(count, pairs.starts[followed], 1)
    np.add.at(count, ends_of(pairs)[followed], -1)
    count = np.cumsum(count)[:-1]
    assert count.max() == 1, "no token is used twice"
    is_text = np.ones(len(count), np.bool_)
    is_text[made.documents[1:] - 1] = False
    # What is missing was cut from the ends of pairs that are full: at most a sentence each.
    assert np.sum(is_text & (count == 0)) <= np.sum(~uncut) * 9
    assert np.sum(count[is_text]) / is_text.sum() > 0.9


def test_no_sentence_of_an_order_is_lost_but_a_last_one() -> None:
    made = text([[4] * 21])
    pairs = everything(made, cutting("order", tokens=8, copies=1, short_share=0.0))
    assert len(pairs) == 10
    count = covered(made, pairs, np.arange(len(pairs)))
    assert np.array_equal(count, np.repeat([1, 0], [80, 5]))


def test_random_documents_are_equally_likely() -> None:
    made = random_text(3, 400, 60, 18)
    pairs = everything(made, cutting("next", tokens=100, copies=4, short_share=0.0))
    others = document_of(made, pairs.starts[pairs.changed, 1])
    expected = pairs.changed.sum() / 400
    chi = np.sum((np.bincount(others, minlength=400) - expected) ** 2 / expected)
    assert chi < 400 + 5 * math.sqrt(800)


def test_the_length_of_short_pairs_is_drawn_once_for_a_document() -> None:
    """A tenth of the documents, with lengths that are equally likely; nothing else is shorter than a row, away from the end."""
    made = text([[1] * 120] * 6000)
    pairs = everything(made, cutting("order", tokens=50, copies=1, short_share=0.1))
    own, lengths = document_of(made, pairs.starts[:, 0]), pairs.lengths.sum(axis=1)
    inner = np.append(own[1:] == own[:-1], False)  # all but the last of each document
    most, least = np.zeros(6000, np.int64), np.full(6000, 99)
    np.maximum.at(most, own[inner], lengths[inner])
    np.minimum.at(least, own[inner], lengths[inner])
    assert np.array_equal(most, least)
    expected = 0.1 * 48 / 49  # a 49th of the random lengths is the whole row
    assert abs((most < 50).mean() - expected) < 4 * math.sqrt(expected * (1 - expected) / 6000)
    drawn = np.bincount(most[most < 50], minlength=50)[2:]
    chi = np.sum((drawn - drawn.mean()) ** 2 / drawn.mean())
    assert chi < 47 + 5 * math.sqrt(94)


PUBLISHED: dict[str, Callable[..., Any]] = {
    "next": lambda documents, own, tokens, draw: original_pairs.bert(documents, own, tokens, 0.1, draw),
    "order": lambda documents, own, tokens, draw: original_pairs.albert(documents, own, tokens, 0.1, draw),
    "within": lambda documents, own, tokens, draw: original_pairs.electra(documents[own], tokens + 3, draw),
}


@pytest.mark.parametrize("relation", PUBLISHED)
@pytest.mark.parametrize("tokens", [125, 509])
def test_pairs_have_the_statistics_of_the_authors_code(relation: str, tokens: int) -> None:
    """Of BERT's and ALBERT's pairs the share of short ones above all: a document of short pairs has more of them (0.18 to 0.2,
    not a tenth). Of ELECTRA's rows the share that have two segments."""
    draw = np.random.default_rng(9)
    documents = [draw.integers(5, 45, count).tolist() for count in draw.integers(1, 120, 1200)]
    made = text(documents)
    given = {"short_share": 0.05, "one_segment_share": 0.1} if relation == "within" else {"short_share": 0.1}
    pairs = everything(made, cutting(relation, tokens=tokens, copies=1, **given))
    ours = np.stack([*pairs.lengths.T, pairs.changed, document_of(made, pairs.starts[:, 0])], axis=1)
    python = random.Random(4)
    theirs = np.array(
        [(*pair, own) for own in range(len(documents)) for pair in PUBLISHED[relation](documents, own, tokens, python)], np.int64
    )
    for name, of in {
        "pairs of a document": lambda rows: np.ones(len(rows)),
        "not full": lambda rows: rows[:, 0] + rows[:, 1] < tokens,
        "short": lambda rows: rows[:, 0] + rows[:, 1] < tokens // 2,
        "two segments": lambda rows: rows[:, 1] > 0,
        "tokens of A": lambda rows: rows[:, 0],
        "tokens of B": lambda rows: rows[:, 1],
        "changed": lambda rows: rows[:, 2],
    }.items():
        # Pairs of one document are alike: the sums of documents are compared, not pairs.
        sums = [np.bincount(rows[:, 3], of(rows), len(documents)) for rows in (ours, theirs)]
        margin = 4 * math.sqrt(sum(each.var() for each in sums) / len(documents))
        assert abs(sums[0].mean() - sums[1].mean()) <= margin, name


@settings(max_examples=60, deadline=None)
@given(documents=TEXTS, **HOW)
def test_segments_within_a_document_are_its_text_in_order(documents, tokens, copies, short_share) -> None:
    """Nothing crosses a document, a row of two segments loses text at their ends alone, and every sentence is in a row."""
    made = text(documents)
    how = cutting("within", tokens=tokens, copies=copies, short_share=short_share, one_segment_share=0.1)
    pairs = everything(made, how)
    first, second = pairs.lengths.T
    assert np.all(first >= 1)
    assert np.all(first + second <= tokens)
    assert not pairs.changed.any()
    own = document_of(made, pairs.starts[:, 0])
    assert np.isin(pairs.starts[:, 0], made.sentences).all()
    assert np.all(ends_of(pairs)[:, 0] <= pairs.starts[:, 1])
    assert np.all(ends_of(pairs)[:, 1] <= made.documents[own + 1] - 1)
    both = second > 0
    assert np.isin(pairs.starts[both, 1], made.sentences).all()
    assert np.all((ends_of(pairs)[both, 0] == pairs.starts[both, 1]) | (first[both] + second[both] == tokens))
    # A row begins where the one before it ended, but for what did not fit.
    for document in range(len(documents)):
        starts = pairs.starts[own == document, 0]
        assert np.count_nonzero(starts == made.documents[document]) == copies


def test_the_cut_is_anywhere_between_sentences() -> None:
    made = text([[1] * 1000] * 100)
    pairs = everything(made, cutting("order", tokens=20, copies=1, short_share=0.0))
    first = np.where(pairs.changed, pairs.lengths[:, 1], pairs.lengths[:, 0])
    found = np.bincount(first, minlength=20)[1:]
    assert len(found) == 19
    chi = np.sum((found - found.mean()) ** 2 / found.mean())
    assert chi < 18 + 5 * 6


def test_tokens_are_cut_from_both_ends_by_the_fall_of_coins() -> None:
    """BERT's truncation: the longer segment loses tokens, a binomial share of them in front."""
    made = text([[40, 70]] * 4000)
    pairs = cut(made, np.arange(4000), cutting("order", tokens=60, copies=1, short_share=0.0))
    assert np.all(pairs.lengths == 30)
    starts = pairs.starts - made.documents[:-1][:, None]
    rows = np.arange(4000)
    early = np.where(pairs.changed, 1, 0)
    first, second = starts[rows, early], starts[rows, 1 - early] - 40
    for front, coins in ((first, 10), (second, 40)):
        assert front.min() >= 0
        assert front.max() <= coins
        assert abs(front.mean() - coins / 2) < 4 * math.sqrt(coins / 4 / 4000)
        assert front.var() == pytest.approx(coins / 4, rel=0.15)
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.07


def bert_lengths(first: int, second: int, most: int) -> tuple[int, int]:
    """google-research/bert, create_pretraining_data.py: truncate_seq_pair."""
    while first + second > most:
        if first > second:
            first -= 1
        else:
            second -= 1
    return first, second


@settings(max_examples=100, deadline=None)
@given(first=st.integers(1, 200), second=st.integers(1, 200), tokens=st.integers(2, 100))
def test_how_much_is_cut_is_as_in_berts_code(first: int, second: int, tokens: int) -> None:
    made = text([[first, second]])
    pairs = everything(made, cutting("order", tokens=tokens, copies=1, short_share=0.0))
    read = (second, first) if pairs.changed[0] else (first, second)  # cut after the swap
    assert tuple(pairs.lengths[0]) == bert_lengths(*read, tokens)


def test_pairs_are_the_same_however_documents_are_taken() -> None:
    made = random_text(5, 50, 20, 20)
    how = cutting("next", copies=3)
    whole = everything(made, how)
    parts = [cut(made, np.arange(first, min(first + 7, 50)), how) for first in range(0, 50, 7)]
    for name in ("starts", "lengths", "changed"):
        assert np.array_equal(getattr(whole, name), np.concatenate([getattr(part, name) for part in parts]))


def test_copies_are_cut_otherwise() -> None:
    made = random_text(6, 30, 30, 10)
    one, three = (everything(made, cutting("next", copies=copies)) for copies in (1, 3))
    assert len(three) > 2.5 * len(one)
    assert len(np.unique(np.concatenate([three.starts, three.lengths], axis=1), axis=0)) > 2 * len(one)
