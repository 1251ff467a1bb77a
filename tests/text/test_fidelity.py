"""Letters that a tokenizer changes: measured on text whose letters were counted by hand, for every kind, with the true remedy."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.command_line import plmtrain
from support.tiny_text import PRETRAIN, TEXT

from plmtrain.settings.tokenizer import TokenizerSettings
from plmtrain.text.fidelity import altered_letters
from plmtrain.text.tokenizer import Tokenizer
from plmtrain.text.tokenizer_training import train

ENGLISH = "The River And The Mill, 12 times."
FRENCH = "café élan"  # three of its eight letters have an accent
KOREAN = "물레방아 한글"  # six syllables
HINDI = "नदी का पुल"  # seven letters and marks; of the marks, two are non-spacing: the u, and none that stands alone


def tokenizer(kind: str, lowercase: bool) -> Tokenizer:
    family = {"wordpiece": "bert", "unigram": "albert", "byte_bpe": "roberta"}[kind]
    settings = TokenizerSettings(type=kind, family=family, vocab_size=400, lowercase=lowercase)
    return train([ENGLISH, FRENCH, KOREAN, HINDI] * 3, settings)


@pytest.mark.parametrize(
    ("kind", "lowercase", "text", "share"),
    [
        ("wordpiece", True, ENGLISH, 0),
        ("wordpiece", True, FRENCH, 2 / 8),
        ("wordpiece", True, KOREAN, 1),  # taken apart, as in BERT's code
        ("unigram", True, FRENCH, 2 / 8),
        ("unigram", True, KOREAN, 0),  # put together again
        ("byte_bpe", True, FRENCH, 2 / 8),
        ("byte_bpe", True, KOREAN, 0),
        ("unigram", False, "ａｂ cd", 2 / 4),  # full-width letters: NFKC
        *((kind, False, text, 0) for kind in ("wordpiece", "byte_bpe", "unigram") for text in (ENGLISH, FRENCH, KOREAN, HINDI)),
    ],
)
def test_changed_letters_are_measured(kind: str, lowercase: bool, text: str, share: float) -> None:
    altered = altered_letters(tokenizer(kind, lowercase), [text])
    assert (0 if altered is None else altered.share) == share


def test_marks_that_are_stripped_count() -> None:
    altered = altered_letters(tokenizer("wordpiece", True), [HINDI])
    assert altered is not None
    assert ("ु", "") in altered.examples
    assert "becomes nothing" in str(altered)


def test_it_is_told_with_its_remedy(tmp_path: Path) -> None:
    (tmp_path / "corpus.txt").write_text("\n\n".join([f"{KOREAN} {FRENCH}. {KOREAN} {number}." for number in range(80)]))
    run = [*PRETRAIN, *TEXT, "trainer.steps=1", "name=korean"]
    checked = plmtrain("check", *run, "--json", cwd=tmp_path)
    (warning,) = (one for one in json.loads(checked.out)["warnings"] if "letters" in one["what"])
    assert "of the text's letters are changed before it is cut into tokens" in warning["what"]
    assert "tokenizer.lowercase=false" in warning["remedy"]
    begun = plmtrain("pretrain", *run, cwd=tmp_path)
    assert begun.code == 0, begun.err
    assert warning["what"] in begun.out + begun.err
    kept = plmtrain("check", *run[:-1], "tokenizer.lowercase=false", "--json", cwd=tmp_path)
    assert not [one for one in json.loads(kept.out)["warnings"] if "letters" in one["what"]], "the remedy helps"
