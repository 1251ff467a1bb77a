"""Masks in a text, and what is put there."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from plmtrain.data.rows.rows import Rows
from plmtrain.errors import DataError
from plmtrain.programs.masked.filling import best_at_masks, hide_a_word, mask_questions, read_filled
from plmtrain.settings.tokenizer import TokenizerSettings
from plmtrain.text.tokenizer import Tokenizer
from plmtrain.text.tokenizer_training import train


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    texts = ["the cat sat on the mat .", "a dog ran to the cat ."] * 20
    return train(iter(texts), TokenizerSettings(type="wordpiece", family="bert", vocab_size=80, lowercase=True))


def test_a_text_without_a_mask_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(DataError, match="no mask") as told:
        mask_questions(["the [MASK] sat", "the cat sat"], tokenizer)
    assert "[MASK]" in told.value.remedy


def test_answers_are_read_into_their_texts(tokenizer: Tokenizer) -> None:
    texts = ["the [MASK] sat", "[MASK] dog ran to the [MASK] ."]
    rows = mask_questions(texts, tokenizer)
    wanted = [["cat"], ["a", "cat"]]
    places = [
        (row, int(column)) for row in range(2) for column in np.flatnonzero(rows.tokens[row] == tokenizer.vocabulary["mask"])
    ]
    logits = torch.zeros(len(places), tokenizer.vocabulary.size)
    for mask, answer in enumerate(answer for answers in wanted for answer in answers):
        ((ids, _),) = tokenizer.encode([answer])
        assert len(ids) == 1
        logits[mask, ids[0]] = 9.0
    masks = torch.tensor(places) + torch.tensor([0, 1])  # behind an opening token
    answers = best_at_masks(masks, logits, torch.arange(2), tokenizer.vocabulary, opening=1)
    for row, text in enumerate(texts):
        read = read_filled(text, rows.tokens[row, : rows.lengths[row]], answers[row], tokenizer)
        assert read.values["text"] == text
        assert [guesses[0]["token"] for guesses in read.values["masks"]] == wanted[row]
        assert read.lines[0] == read.values["filled"]
    assert read.values["filled"] == "a dog ran to the cat."


def test_whole_words_are_hidden() -> None:
    starts = np.array([[True, False, True, True, False, True, True, True]] * 3)
    rows = Rows(tokens=np.arange(24).reshape(3, 8) + 10, lengths=np.array([8, 8, 5]), word_starts=starts)
    hidden, places = hide_a_word(rows, 4)
    assert {int(place) for place in places[:2]} <= {2, 5}  # each a word of one token; the last two are no candidates
    assert places[2] == 2
    assert (hidden.tokens == 4).sum(axis=1).tolist() == [1, 1, 1]
    assert (hide_a_word(rows, 4)[1] == places).all()
    assert 4 not in rows.tokens
