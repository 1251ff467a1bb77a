"""Tokenizers of strangers: what the library accepts although it could hang, abort or confuse ids is refused, and at once."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import Any

import pytest
import tokenizers

from plmtrain.errors import DataError, understood
from plmtrain.text.tokenizer import Tokenizer
from plmtrain.text.tokenizer_limits import is_linear

PIECES = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4, "a": 5, "##a": 6, "b": 7}
FLAGS = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
WORDPIECE = {
    "type": "WordPiece",
    "unk_token": "[UNK]",
    "continuing_subword_prefix": "##",
    "max_input_chars_per_word": 100,
    "vocab": PIECES,
}
UNIGRAM = {"type": "Unigram", "unk_id": None, "vocab": [["a", -1.0]], "byte_fallback": False}


def definition(**changes: Any) -> dict[str, Any]:
    added = [{"id": number, "content": name, "special": True, **FLAGS} for name, number in PIECES.items() if number < 5]
    stages = {"normalizer": None, "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": None, "decoder": None}
    return {"version": "1.0", "added_tokens": added, **stages, "model": WORDPIECE, **changes}


def added(number: int, name: str = "<x>") -> list[dict[str, Any]]:
    return [{"id": number, "content": name, "special": True, **FLAGS}]


def chain(*stages: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", "normalizers": list(stages)}


def replace(pattern: str, content: str, kind: str = "String") -> dict[str, Any]:
    return {"type": "Replace", "pattern": {kind: pattern}, "content": content}


def split(expression: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated", "invert": False}


def table(replacement: str) -> dict[str, Any]:
    """SentencePiece's table with a trie of one unit."""
    content = (4).to_bytes(4, "little") + bytes(4) + replacement.encode() + b"\0"
    return {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(content).decode()}


HARMFUL = {
    "id": (definition(added_tokens=added(10**9)), "10000000"),
    "id without a gap": (definition(added_tokens=added(100)), "would become"),
    "unknown": (definition(model={**WORDPIECE, "unk_token": "<none>"}), "unknown token"),
    "no unknown": (definition(model=UNIGRAM, added_tokens=[]), "unk_id"),
    "catastrophe": (definition(pre_tokenizer=split("(a+)+$")), "regular expression"),
    "in a normaliser": (definition(normalizer=replace(r"\s*\s*\s*x", "y", "Regex")), "regular expression"),
    "in a decoder": (definition(decoder=replace("(a|a)*b", "y", "Regex")), "regular expression"),
    "growth": (definition(normalizer=chain(*[replace("a", "a" * 30)] * 30)), "characters of one"),
    "nested growth": (
        definition(normalizer=chain(chain(*[replace("a", "a" * 30)] * 2), replace("a", "aa"))),
        "characters of one",
    ),
    "growth by Unicode": (definition(normalizer=chain(*[{"type": "NFKD"}, replace("ا", "ﷺ")] * 9)), "characters of one"),
    "growth by a table": (definition(normalizer=table("a" * 5000)), "characters of one"),
    "growth by bytes": (
        definition(
            pre_tokenizer={
                "type": "Sequence",
                "pretokenizers": [{"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}]
                * 30,
            }
        ),
        "characters of one",
    ),
    "stages": (definition(normalizer=chain(*[{"type": "StripAccents"}] * 1000)), "stages"),
    "empty pattern": (definition(normalizer=replace("", "x")), "empty"),
    "long words": (definition(model={**WORDPIECE, "max_input_chars_per_word": 10**9}), "max_input_chars_per_word"),
}


@pytest.mark.parametrize("name", HARMFUL)
def test_what_the_library_would_accept(tmp_path: Path, name: str) -> None:
    content, words = HARMFUL[name]
    tokenizers.Tokenizer.from_str(json.dumps(content))
    begun = time.monotonic()
    with pytest.raises(DataError, match="cannot be used") as told:
        folder_with(tmp_path, content)
    assert time.monotonic() - begun < 2
    assert words in told.value.where
    assert told.value.remedy


@pytest.mark.parametrize(
    "changes",
    [
        {"added_tokens": None},
        {"added_tokens": ["[CLS]"]},
        {"added_tokens": [{"content": "[CLS]"}]},
        {"added_tokens": added(-1)},
        {"model": {**WORDPIECE, "vocab": {**PIECES, "c": -1}}},
        {"model": {**WORDPIECE, "vocab": {**PIECES, "c": "8"}}},
        {"model": {**WORDPIECE, "vocab": {**PIECES, "c": 10**9}}},
        {"model": {**WORDPIECE, "vocab": "abc"}},
        {"normalizer": "NFC"},
        {"normalizer": {"type": "Sequence", "normalizers": 5}},
        {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "?"}},
        {"pre_tokenizer": {"type": "Split", "pattern": 3}},
    ],
)
def test_broken_definitions(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="cannot be used"):
        folder_with(tmp_path, definition(**changes))


def folder_with(folder: Path, content: dict[str, Any]) -> Tokenizer:
    (folder / "tokenizer.json").write_text(json.dumps(content))
    return Tokenizer.load(folder)


def test_a_definition_without_added_tokens_is_one_without_special_tokens_of_its_own(tmp_path: Path) -> None:
    content = definition()
    del content["added_tokens"]
    tokenizer = folder_with(tmp_path, content)
    assert tokenizer.encode(["a b"])[0][0].tolist() == [5, 7]
    assert tokenizer.vocabulary.roles["mask"] == 4  # by the family's names


PUBLISHED = [
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",  # GPT-2
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+",  # CLIP
    r" ?[^(\s|[.,!?…。，、।۔،])]+",  # BLOOM
    r" {2,}",  # ALBERT, XLNet, T5
    r"\s+",
    r"\p{N}{1,3}",
]


@pytest.mark.parametrize("expression", PUBLISHED)
def test_published_expressions_are_accepted_and_linear(tmp_path: Path, expression: str) -> None:
    assert is_linear(expression)
    cutter = tokenizers.pre_tokenizers.Split(tokenizers.Regex(expression), "isolated")
    begun = time.monotonic()
    for character in "a 1.'\n":
        cutter.pre_tokenize_str(character * 20_000)
        cutter.pre_tokenize_str(character * 20_000 + "\0")
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize(
    "expression",
    [
        *(r"\s+$", "(a*)*b", "(?:a|ab)+c", r".*x", "a+b", r"(\w+)\1", "(?=a+)b", "(a?){30}a{30}", "a?" * 30 + "a" * 30),
        *("a{0,50}a{0,50}b", "a++b", "a+?b", r"(?<n>a)\k<n>", r"\g<0>", "(?i:a+)+", "[a[b", "(a", "a**", "a" * 10_000),
    ],
)
def test_expressions_that_may_backtrack(expression: str) -> None:
    assert not is_linear(expression)


def test_a_panic_of_the_library_is_told() -> None:
    """Oniguruma gives up after ten million steps, and the library panics."""
    cutter = tokenizers.pre_tokenizers.Split(tokenizers.Regex("(a+)+$"), "isolated")
    with pytest.raises(BaseException, match=r"retry-limit|called `Result::unwrap") as caught:
        cutter.pre_tokenize_str("a" * 40 + "b")
    assert isinstance(understood(caught.value), DataError)
