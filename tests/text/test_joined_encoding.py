"""Texts that are joined for the library are encoded as if each were alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.tokenizer_kinds import HARD, KINDS
from tokenizers import Tokenizer as Engine

from plmtrain.text import joined_encoding
from plmtrain.text.joined_encoding import JoinedEncoder
from plmtrain.text.tokenizer import Tokenizer

Trained = Callable[..., Tokenizer]

MARK = "\ufdd0"
TEXTS = [
    *HARD,
    "",
    " ",
    "\n",
    " leading",
    "trailing ",
    "[MASK] <mask> </s> <|endoftext|> ▁",
    "",
    "ends with a mark.",
    "\u200d",
    *HARD,
]


def one_by_one(engine: Any, texts: Sequence[str]) -> list[list[int]]:
    return [engine.encode(text, add_special_tokens=False).ids for text in texts]


def cut(ids: np.ndarray, ends: np.ndarray) -> list[list[int]]:
    return [part.tolist() for part in np.split(ids, ends[:-1])]


@pytest.fixture(
    params=[*KINDS, ("word", "elmo", False), ("spaced_word", "elmo", False)], ids=lambda kind: "-".join(map(str, kind))
)
def engine(request: pytest.FixtureRequest, trained: Trained) -> Any:
    name, family, lowercase = request.param
    return trained(name, family, lowercase=lowercase)._plain


@pytest.mark.parametrize("letters", [1, 40, 4096])
def test_joined_texts_have_the_ids_of_each_alone(engine: Any, letters: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joined_encoding, "_LETTERS", letters)
    encoder = JoinedEncoder(engine)
    assert encoder._joined(TEXTS) is not None  # else nothing is joined, and nothing tested
    assert cut(*encoder.encode(TEXTS)) == one_by_one(engine, TEXTS)


def test_a_text_with_the_mark_is_encoded_exactly_too(engine: Any) -> None:
    texts = [*TEXTS, f"a{MARK}b", MARK, f"{MARK}{MARK}"]
    assert cut(*JoinedEncoder(engine).encode(texts)) == one_by_one(engine, texts)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=12), min_size=16, max_size=30))
@settings(max_examples=60, deadline=None)
def test_any_texts(trained: Trained, texts: list[str]) -> None:
    for kind in (("wordpiece", "bert"), ("byte_bpe", "roberta"), ("unigram", "albert")):
        engine = trained(*kind)._plain
        assert cut(*JoinedEncoder(engine).encode(texts)) == one_by_one(engine, texts)


def test_a_tokenizer_that_treats_the_beginning_otherwise_gets_its_texts_one_by_one(trained: Trained) -> None:
    definition = json.loads(trained("unigram", "t5")._plain.to_str())
    stages = json.dumps(definition["pre_tokenizer"]).replace('"always"', '"first"')
    engine = Engine.from_str(json.dumps({**definition, "pre_tokenizer": json.loads(stages)}))
    assert engine.to_str() != json.dumps(definition)
    assert cut(*JoinedEncoder(engine).encode(TEXTS)) == one_by_one(engine, TEXTS)
