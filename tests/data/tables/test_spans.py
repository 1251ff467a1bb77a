"""Questions about texts: windows that lose no answer, and answers that come back from their tokens character by character."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.finished_run import TEXTS
from support.tiny_task import question_examples

from plmtrain.data.corpus.encoding import running_characters, running_text
from plmtrain.data.tables.spans import Contexts, EncodedQuestions, RightAnswers
from plmtrain.families import TOKENIZER_FAMILIES
from plmtrain.settings.tokenizer import TokenizerSettings
from plmtrain.text.tokenizer import Tokenizer
from plmtrain.text.tokenizer_training import train

KINDS = ["wordpiece-bert", "wordpiece_cased-bert", "byte_bpe-roberta", "unigram-albert", "unigram-xlnet", "byte_bpe-deberta"]


@pytest.fixture(scope="module", params=KINDS)
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    kind, family = request.param.split("-")
    lowercase = kind == "wordpiece" or family == "albert"
    return train(TEXTS, TokenizerSettings(type=kind.removesuffix("_cased"), family=family, vocab_size=400, lowercase=lowercase))


CONTEXT = (
    "  The café\n\nin  ZÜRICH, cafe\u0301 ﬁve ½ (1990s) naïve ``q''\t한국어는 \u1112\u1161\u11ab각 日本語 😀! İs x\u200by.  "
)


def test_words_come_back_from_their_tokens_character_by_character(tokenizer: Tokenizer) -> None:
    """With accents that a tokenizer drops, letters that it replaces, pieces of characters, and white space of any kind."""
    contexts = Contexts.encode([CONTEXT, TEXTS[0]], tokenizer)
    ids = tokenizer.encode([running_text(CONTEXT, tokenizer.family)])[0][0]
    assert contexts.texts.tokens[: len(ids)].tolist() == ids.tolist()
    begins = [place for place, (one, two) in enumerate(pairwise(f" {CONTEXT}")) if one.isspace() and not two.isspace()]
    ends = [place for place, (one, two) in enumerate(pairwise(f"{CONTEXT} "), start=1) if two.isspace() and not one.isspace()]
    for first, begin in enumerate(begins):
        for end in ends[first:]:
            one, two = contexts.answer(0, begin, end)
            assert CONTEXT[contexts.characters[one, 0] : contexts.characters[two, 1]] == CONTEXT[begin:end]
    # No token is behind the next one, and each that stands for something stands for something of the context.
    places = contexts.characters[: len(ids)]
    shown = places[places[:, 0] < places[:, 1]]
    assert (np.diff(shown[:, 0]) >= 0).all()
    assert shown.min() >= 0
    assert shown.max() <= len(CONTEXT)
    assert not any(CONTEXT[begin].isspace() or CONTEXT[end - 1].isspace() for begin, end in shown.tolist())


def test_a_part_of_a_word_is_found_by_the_tokens_that_cover_it(tokenizer: Tokenizer) -> None:
    contexts = Contexts.encode(["1990s"], tokenizer)
    one, two = contexts.answer(0, 0, 4)
    begin, end = contexts.characters[one, 0], contexts.characters[two, 1]
    assert (begin, "1990s"[:end][:4]) == (0, "1990")
    assert contexts.answer(0, 9, 12) == (-1, -1)


@given(st.text(" \n\t\u00a0\u3000ab\x1c\x85", max_size=20), st.sampled_from(sorted(TOKENIZER_FAMILIES)))
def test_a_running_text_knows_its_places(text: str, family: str) -> None:
    running, places = running_text(text, family), running_characters(text, family)
    assert len(places) == len(running)
    for letter, place in zip(running, places.tolist(), strict=True):
        assert text[place] == letter or (letter == " " and text[place].isspace())
    assert (np.diff(places) > 0).all()


@given(st.integers(8, 30), st.integers(0, 5))
def test_each_beginning_is_in_one_window_and_short_answers_are_whole_in_it(most: int, seed: int) -> None:
    rows = question_examples(7, most, seed=seed)
    read = rows.fetch(np.arange(len(rows)))
    assert read.others is not None
    assert (read.lengths + read.others.lengths <= most).all()
    assert (rows.sizes == read.lengths + read.others.lengths).all()
    whole = question_examples(7, 99, seed=seed).fetch(np.arange(7))
    assert whole.others is not None
    for number in range(7):
        context = whole.others.tokens[number, : whole.others.lengths[number]].tolist()
        own = [
            token
            for row in np.flatnonzero(rows.owners == number)
            for token, here in zip(read.others.tokens[row].tolist(), read.own[row].tolist(), strict=True)
            if here
        ]
        assert own == context  # each token once, in order
        assert whole.answers is not None
        assert read.answers is not None
        first, last = whole.answers[number].tolist()
        found = [
            (read.others.tokens[row, begin], read.others.tokens[row, end])
            for row in np.flatnonzero(rows.owners == number)
            for begin, end in [read.answers[row].tolist()]
            if begin >= 0
        ]
        assert set(found) == ({(context[first], context[last])} if first >= 0 else set())


def test_questions_are_cut_and_contexts_are_encoded_once() -> None:
    tokenizer = train(TEXTS, TokenizerSettings(type="wordpiece", family="bert", vocab_size=400, lowercase=True))
    right = RightAnswers(TEXTS[0], ("low fog",), (4,))
    encoded = EncodedQuestions.encode([("fog " * 9, TEXTS[0]), ("fog", TEXTS[0])], [right, right], tokenizer, None, 5)
    rows = encoded.rows(20)
    read = rows.fetch(np.arange(len(rows)))
    ((fog, _),) = tokenizer.encode(["fog"])
    assert sorted(set(read.lengths.tolist())) == [len(fog), 5]
    assert len(encoded.contexts.texts.starts) == 2
    assert "50.0% of the questions are cut to 5 tokens" in encoded.cutting(20)
    assert "100.0% of the questions have a context that is longer than 20 tokens" in encoded.cutting(20)
