"""Added tokens: the words are one token, all other text is encoded as before, and transformers reads the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import transformers
from support.finished_run import TEXTS

from plmtrain.errors import SettingsError
from plmtrain.settings.tokenizer import TokenizerSettings
from plmtrain.text.extension import extend, new_tokens
from plmtrain.text.tokenizer import Tokenizer
from plmtrain.text.tokenizer_training import train

KINDS = [("wordpiece", "bert", True), ("byte_bpe", "roberta", False), ("unigram", "albert", True), ("unigram", "t5", False)]
WORDS = ["widening", "goosetown", "lowland"]
MARKER = "<doc>"
SENTENCE = "They said that the widening of goosetown was lowland."


@pytest.fixture(params=KINDS, ids=lambda kind: f"{kind[0]}-{kind[1]}")
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    kind, family, lowercase = request.param
    return train(TEXTS, TokenizerSettings(type=kind, family=family, vocab_size=400, lowercase=lowercase))


def test_words_become_tokens_and_nothing_else_changes(tokenizer: Tokenizer, tmp_path: Path) -> None:
    before = tokenizer.encode(TEXTS)
    extension = extend(tokenizer, [*WORDS, MARKER, WORDS[0]])
    now = extension.tokenizer
    assert set(extension.added) == {*WORDS, MARKER}
    assert now.vocabulary.size == tokenizer.vocabulary.size + len(WORDS) + 1
    assert all(now.ids[piece] == number for piece, number in tokenizer.ids.items())
    assert now.vocabulary.roles == tokenizer.vocabulary.roles
    for text, (ids, starts), (ids_now, starts_now) in zip(TEXTS, before, now.encode(TEXTS), strict=True):
        assert ids.tolist() == ids_now.tolist(), text
        assert np.array_equal(starts, starts_now)
    ((ids, starts),) = now.encode([SENTENCE])
    pieces = now.pieces(ids)
    for word in WORDS:
        (place,) = (number for number, piece in enumerate(pieces) if piece.strip("▁").strip() == word)
        assert starts[place]
    assert MARKER in [piece.strip("▁") for piece in now.pieces(now.encode([f"the {MARKER} town"])[0][0])]
    assert now.decode(ids).strip() == tokenizer.decode(tokenizer.encode([SENTENCE])[0][0]).strip()

    now.save(tmp_path / "extended")
    again, theirs = Tokenizer.load(tmp_path / "extended"), transformers.AutoTokenizer.from_pretrained(tmp_path / "extended")
    for text in (*TEXTS, SENTENCE, f"the {MARKER} town"):
        ids = now.encode([text])[0][0].tolist()
        assert again.encode([text])[0][0].tolist() == ids
        assert theirs(text, add_special_tokens=False)["input_ids"] == ids
    assert extend(now, WORDS).known == WORDS, "they are tokens now"


def test_new_tokens_know_their_old_pieces(tokenizer: Tokenizer) -> None:
    now = extend(tokenizer, WORDS[:1]).tokenizer
    new = new_tokens(tokenizer, now)
    ((ids, _),) = now.encode([f"the {WORDS[0]}"])
    ((old, _),) = tokenizer.encode([f"the {WORDS[0]}"])
    ((the, _),) = tokenizer.encode(["the"])
    assert new[int(ids[-1])] == old[len(the) :].tolist()
    assert min(new) == tokenizer.vocabulary.size


def test_another_tokenizer_is_no_extension(tokenizer: Tokenizer) -> None:
    other = train(TEXTS[:2], TokenizerSettings(type="byte_bpe", family="gpt2", vocab_size=300, lowercase=False))
    mine = train(TEXTS, TokenizerSettings(type="byte_bpe", family="roberta", vocab_size=400, lowercase=False))
    with pytest.raises(SettingsError, match="numbers tokens otherwise"):
        new_tokens(mine, other)


@pytest.mark.parametrize("text", ["", "two\nlines"])
def test_tokens_that_cannot_be(tokenizer: Tokenizer, text: str) -> None:
    with pytest.raises(SettingsError, match="without line ends"):
        extend(tokenizer, [text])
