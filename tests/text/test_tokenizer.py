"""Tokenizers against the published families' ids, Hugging Face's classes, and what a word is."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn
from support.tokenizer_kinds import HARD, KINDS

from plmtrain.errors import DataError, SettingsError
from plmtrain.text.tokenizer import Tokenizer

Trained = Callable[..., Tokenizer]


def ids_of(tokenizer: Tokenizer, text: str) -> list[int]:
    return [int(number) for number in tokenizer.encode([text])[0][0]]


def words_of(tokenizer: Tokenizer, text: str) -> list[str]:
    """The words that the word starts cut a text into, decoded each by itself."""
    ids, starts = tokenizer.encode([text])[0]
    places = [*np.flatnonzero(starts), len(ids)]
    assert not len(ids) or places[0] == 0
    return [tokenizer.decode(ids[a:b]).strip() for a, b in pairwise(places)]


@pytest.mark.parametrize(
    ("kind", "first", "last", "roles"),
    [
        (("wordpiece", "bert"), ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], [], "pad unk cls sep mask"),
        (("byte_bpe", "roberta"), ["<s>", "<pad>", "</s>", "<unk>"], ["<mask>"], "pad unk cls sep mask bos eos"),
        (("unigram", "albert"), ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"], [], "pad unk cls sep mask bos eos"),
        (
            ("unigram", "xlnet"),
            ["<unk>", "<s>", "</s>", "<cls>", "<sep>", "<pad>", "<mask>", "<eod>", "<eop>"],
            [],
            "pad unk cls sep mask bos eos",
        ),
        (("byte_bpe", "gpt2"), [], ["<|endoftext|>"], "pad unk bos eos"),
        (("bpe", "gpt1"), ["<unk>"], ["_start_", "_delimiter_", "_classify_"], "pad unk sep bos eos"),
        (("unigram", "t5"), ["<pad>", "</s>", "<unk>"], [f"<extra_id_{n}>" for n in range(99, -1, -1)], "pad unk eos sentinel"),
    ],
)
def test_special_tokens_have_the_ids_of_their_family(
    trained: Trained, kind: tuple[str, str], first: list[str], last: list[str], roles: str
) -> None:
    tokenizer = trained(*kind)
    size = tokenizer.vocabulary.size
    ids = [*range(len(first)), *range(size - len(last), size)]
    assert tokenizer.pieces(ids) == first + last
    assert list(tokenizer.vocabulary.special_ids) == ids
    assert set(tokenizer.vocabulary.roles) == set(roles.split())
    assert list(tokenizer.vocabulary.sentinels) == ([*range(size - 1, size - 101, -1)] if kind[1] == "t5" else [])
    assert (tokenizer.type, tokenizer.family) == kind
    assert size <= 900


def test_roles_of_roberta_share_tokens(trained: Trained) -> None:
    vocabulary = trained("byte_bpe", "roberta").vocabulary
    assert vocabulary["cls"] == vocabulary["bos"] == 0
    assert vocabulary["sep"] == vocabulary["eos"] == 2
    with pytest.raises(SettingsError, match="no mask token"):
        trained("unigram", "t5").vocabulary["mask"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model_type", [True, False])
def test_transformers_loads_the_folder_with_the_same_ids(
    trained: Trained, tmp_path: Path, kind: tuple[str, str, bool], model_type: bool
) -> None:
    import transformers

    tokenizer = trained(*kind)
    tokenizer.save(tmp_path, model_max_length=77)
    if model_type:  # as in an exported folder, where the model's kind has a say in the tokenizer's class
        (tmp_path / "config.json").write_text(json.dumps({"model_type": kind[1].replace("gpt1", "openai-gpt")}))
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text in HARD:
        assert theirs(text, add_special_tokens=False)["input_ids"] == ids_of(tokenizer, text), text
    assert len(theirs) == tokenizer.vocabulary.size
    assert theirs.model_max_length == 77
    assert set(theirs.all_special_ids) == set(tokenizer.vocabulary.special_ids)
    for role, number in tokenizer.vocabulary.roles.items():
        named = theirs.convert_tokens_to_ids("<extra_id_0>") if role == "sentinel" else getattr(theirs, f"{role}_token_id")
        assert named == number
    # Its own copy of the folder is the same tokenizer to us.
    theirs.save_pretrained(tmp_path / "copy")
    copy = Tokenizer.load(tmp_path / "copy")
    assert copy.vocabulary == tokenizer.vocabulary
    assert copy.digest == tokenizer.digest


@pytest.mark.parametrize(
    ("kind", "single", "pair", "segments"),
    [
        (("wordpiece", "bert", True), "[CLS] A [SEP]", "[CLS] A [SEP] B [SEP]", [0, 0, 0, 1, 1]),
        (("byte_bpe", "roberta", False), "<s> A </s>", "<s> A </s> </s> B </s>", None),
        (("unigram", "albert", True), "[CLS] A [SEP]", "[CLS] A [SEP] B [SEP]", [0, 0, 0, 1, 1]),
        (("unigram", "xlnet", False), "A <sep> <cls>", "A <sep> B <sep> <cls>", [0, 0, 1, 1, 2]),
        (("unigram", "t5", False), "A </s>", "A </s> B </s>", None),
        (("byte_bpe", "gpt2", False), "A", "A B", None),
        (("bpe", "gpt1", True), "_start_ A _classify_", "_start_ A _delimiter_ B _classify_", None),
    ],
)
def test_transformers_puts_the_family_s_special_tokens_around_texts(
    trained: Trained, tmp_path: Path, kind: tuple[str, str, bool], single: str, pair: str, segments: list[int] | None
) -> None:
    import transformers

    trained(*kind).save(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    (one,) = ids_of(trained(*kind), "a")
    names = {"A": one, "B": one}

    def expected(template: str) -> list[int]:
        return [names[token] if token in names else theirs.convert_tokens_to_ids(token) for token in template.split()]

    assert theirs("a")["input_ids"] == expected(single)
    both = theirs("a", "a")
    assert both["input_ids"] == expected(pair)
    assert both.get("token_type_ids") == segments
    if kind[1] == "xlnet":
        assert theirs.padding_side == "left"


@pytest.mark.parametrize(("family", "lowercase"), [("bert", True), ("bert", False), ("roberta", False), ("gpt2", False)])
def test_the_vocabulary_alone_makes_the_same_tokenizer_of_hugging_face_s_class(
    trained: Trained, tmp_path: Path, family: str, lowercase: bool
) -> None:
    transformers = pytest.importorskip("transformers", minversion="5")  # older ones take files, not vocabularies
    tokenizer = trained("wordpiece" if family == "bert" else "byte_bpe", family, lowercase)
    tokenizer.save(tmp_path)
    model = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    if family == "bert":
        theirs = transformers.BertTokenizer(vocab=model["vocab"], do_lower_case=lowercase)
    else:
        name = {"roberta": "RobertaTokenizer", "gpt2": "GPT2Tokenizer"}[family]
        theirs = getattr(transformers, name)(vocab=model["vocab"], merges=[tuple(merge) for merge in model["merges"]])
    for text in HARD:
        assert theirs(text, add_special_tokens=False)["input_ids"] == ids_of(tokenizer, text), text


@pytest.mark.parametrize("kind", KINDS)
def test_text_never_becomes_a_special_token_unless_asked(trained: Trained, kind: tuple[str, str, bool]) -> None:
    tokenizer = trained(*kind)
    specials = set(tokenizer.vocabulary.special_ids)
    names = tokenizer.pieces(sorted(specials))
    unknown = {tokenizer.vocabulary.roles["unk"]}
    for text in ["a".join(names), "a " + " a ".join(names), "".join(names)]:
        assert specials & set(ids_of(tokenizer, text)) <= unknown
        asked, starts = tokenizer.encode_with_specials(text)
        assert [number for number in asked if number in specials - unknown] == [n for n in sorted(specials) if n not in unknown]
        assert starts[np.isin(asked, list(specials - unknown))].all()


@pytest.mark.parametrize("kind", [("wordpiece", "bert"), ("byte_bpe", "roberta"), ("unigram", "albert")])
def test_a_mask_in_a_prompt_stands_for_a_word(trained: Trained, kind: tuple[str, str]) -> None:
    tokenizer = trained(*kind)
    mask = tokenizer.vocabulary["mask"]
    ids, starts = tokenizer.encode_with_specials(f"the {tokenizer.pieces([mask])[0]} mind")
    assert ids[1] == mask
    assert ids.tolist() == [*ids_of(tokenizer, "the"), mask, *ids_of(tokenizer, "the mind")[1:]]
    assert starts.all()


@st.composite
def latin_text(draw: DrawFn) -> str:
    word = st.text("abelostwA.,!?1", min_size=1, max_size=9)
    gap = st.sampled_from([" ", "  ", "\n", " \n", "\n\n", "\t"])
    words = draw(st.lists(word, max_size=8))
    return "".join(draw(gap) + one for one in words)[draw(st.integers(0, 1)) :] + draw(st.sampled_from(["", " ", "\n"]))


@pytest.mark.parametrize("kind", [("byte_bpe", "roberta"), ("byte_bpe", "gpt2")])
@given(text=latin_text())
@settings(max_examples=60, deadline=None)
def test_words_are_what_stands_between_white_space(trained: Trained, kind: tuple[str, str], text: str) -> None:
    assert [word for word in words_of(trained(*kind), text) if word] == text.split()


@pytest.mark.parametrize("family", ["t5", "xlnet", "albert"])
@given(text=latin_text())
@settings(max_examples=60, deadline=None)
def test_words_of_sentencepiece_are_those_of_xlnet(trained: Trained, family: str, text: str) -> None:
    # zihangdai/xlnet, data_utils.py: _is_start_piece.
    tokenizer = trained("unigram", family)
    ids, starts = tokenizer.encode([text])[0]
    pieces = tokenizer.pieces(ids)
    assert starts[1:].tolist() == [piece.startswith("▁") or piece in set(".,!?") for piece in pieces[1:]]


@given(text=latin_text())
@settings(max_examples=60, deadline=None)
def test_words_of_wordpiece_are_those_of_bert(trained: Trained, text: str) -> None:
    # Devlin et al.'s code: white space separates words, and each punctuation mark is one.
    assert words_of(trained("wordpiece", "bert"), text) == re.findall(r"\w+|[^\w\s]", text)


@pytest.mark.parametrize("kind", [("wordpiece", "bert"), ("byte_bpe", "roberta"), ("unigram", "t5")])
def test_korean_words_are_between_spaces_and_ideographs_begin_words(trained: Trained, kind: tuple[str, str]) -> None:
    tokenizer = trained(*kind)
    assert words_of(tokenizer, "학교에서 책을 읽었다") == ["학교에서", "책을", "읽었다"]
    words = [word for word in words_of(tokenizer, "東京は大きい都市") if word]
    assert "".join(words) == "東京は大きい都市"
    assert len(words) >= 3  # a piece may hold several characters, but is a word of its own
    if kind[0] != "byte_bpe":
        ids = ids_of(tokenizer, "東京は大きい都市")
        assert len(words) == sum(piece != "▁" for piece in tokenizer.pieces(ids))


def test_batches_give_what_single_texts_give(trained: Trained) -> None:
    tokenizer = trained("byte_bpe", "roberta")
    texts = ["", "one two", "", "", "three", "四 five\nsix", ""]
    for text, (ids, starts) in zip(texts, tokenizer.encode(texts), strict=True):
        alone, alone_starts = tokenizer.encode([text])[0]
        assert ids.tolist() == alone.tolist()
        assert starts.tolist() == alone_starts.tolist()
        assert ids.dtype == np.int64
    assert tokenizer.encode([]) == []


@given(text=st.text(st.characters(exclude_categories=["Cs"])))
@settings(max_examples=150, deadline=None)
def test_bytes_give_back_any_text(trained: Trained, text: str) -> None:
    for family in ("roberta", "gpt2"):
        tokenizer = trained("byte_bpe", family)
        ids = ids_of(tokenizer, text)
        assert tokenizer.decode(ids) == text
        assert not set(ids) & set(tokenizer.vocabulary.special_ids)


@pytest.mark.parametrize(("type", "family"), [("wordpiece", "bert"), ("unigram", "albert")])
def test_lower_cased_korean_reads_as_syllables(trained: Trained, type: str, family: str) -> None:
    tokenizer = trained(type, family, True)
    assert tokenizer.decode(ids_of(tokenizer, "학교에 갔다.")).replace(" .", ".") == "학교에 갔다."
    assert unicodedata.is_normalized("NFC", "".join(tokenizer.pieces(ids_of(tokenizer, "학교에"))))


def test_pieces_are_readable(trained: Trained) -> None:
    tokenizer = trained("byte_bpe", "roberta")
    assert "".join(tokenizer.pieces(ids_of(tokenizer, "the\nlow town"))) == "the\\nlow▁town"
    assert "".join(tokenizer.pieces(ids_of(tokenizer, "🙂"))) == "\\xf0\\x9f\\x99\\x82"
    assert tokenizer.pieces([0]) == ["<s>"]


@pytest.mark.parametrize("kind", KINDS)
def test_saving_and_loading_changes_nothing(trained: Trained, tmp_path: Path, kind: tuple[str, str, bool]) -> None:
    tokenizer = trained(*kind)
    tokenizer.save(tmp_path / "a")
    again = Tokenizer.load(tmp_path / "a")
    again.save(tmp_path / "b")
    names = {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"} | (
        {"spm.model" if kind[1] == "deberta" else "spiece.model"} if kind[0] == "unigram" else set()
    )
    assert {path.name for path in (tmp_path / "a").iterdir()} == {path.name for path in (tmp_path / "b").iterdir()} == names
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert again.digest == tokenizer.digest
    assert again.vocabulary == tokenizer.vocabulary
    assert (again.type, again.family) == (tokenizer.type, tokenizer.family)
    assert [ids_of(again, text) for text in HARD] == [ids_of(tokenizer, text) for text in HARD]


def test_the_digest_follows_what_determines_ids_and_nothing_else(trained: Trained, tmp_path: Path) -> None:
    tokenizer = trained("wordpiece", "bert", True)
    tokenizer.save(tmp_path)
    path = tmp_path / "tokenizer.json"
    original = json.loads(path.read_text(encoding="utf-8"))

    def digest(**changes: object) -> str:
        path.write_text(json.dumps({**original, **changes}), encoding="utf-8")
        return Tokenizer.load(tmp_path).digest

    truncation = {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0}
    assert digest(truncation=truncation) == tokenizer.digest
    assert len(ids_of(Tokenizer.load(tmp_path), "the low fog lay over the town")) > 3
    assert digest(decoder=None, post_processor=None) == tokenizer.digest
    assert digest(normalizer={**original["normalizer"], "lowercase": False}) != tokenizer.digest
    digests = {trained(*kind).digest for kind in KINDS}
    assert len(digests) == len(KINDS)


def test_a_folder_with_vocab_txt_is_bert_s(tmp_path: Path) -> None:
    pieces = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "low", "##er", "est", "##est", ",", "cafe"]
    (tmp_path / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    tokenizer = Tokenizer.load(tmp_path)
    ids, starts = tokenizer.encode(["LOWER, lowest Café zzz"])[0]
    assert ids.tolist() == [6, 7, 10, 6, 9, 11, 2]
    assert starts.tolist() == [True, False, True, True, False, True, True]
    assert dict(tokenizer.vocabulary.roles) == {"pad": 0, "unk": 2, "cls": 3, "sep": 4, "mask": 5}
    assert tokenizer.vocabulary.size == 12
    assert tokenizer.encode_with_specials("low [MASK] est")[0].tolist() == [6, 5, 8]
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    assert Tokenizer.load(tmp_path).encode(["LOW low"])[0][0].tolist() == [2, 6]


def test_a_folder_with_vocab_and_merges_is_roberta_s(trained: Trained, tmp_path: Path) -> None:
    tokenizer = trained("byte_bpe", "roberta")
    tokenizer.save(tmp_path)
    model = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    for path in tmp_path.iterdir():
        path.unlink()
    (tmp_path / "vocab.json").write_text(json.dumps(model["vocab"]), encoding="utf-8")
    merges = ["#version: 0.2", *(" ".join(merge) for merge in model["merges"]), ""]
    (tmp_path / "merges.txt").write_text("\n".join(merges), encoding="utf-8")
    loaded = Tokenizer.load(tmp_path)
    assert loaded.vocabulary == tokenizer.vocabulary
    assert [ids_of(loaded, text) for text in HARD] == [ids_of(tokenizer, text) for text in HARD]
    assert loaded.encode_with_specials("the <mask>")[0].tolist() == tokenizer.encode_with_specials("the <mask>")[0].tolist()


def test_a_folder_with_marked_word_ends_is_gpt_1_s(trained: Trained, tmp_path: Path) -> None:
    """The published vocabulary has one special token, and transformers' class for GPT-1 knows the stages before it."""
    import transformers

    model, new = trained("bpe", "gpt1", True).definition["model"], {"_start_", "_delimiter_", "_classify_"}
    vocabulary = {piece: number for piece, number in model["vocab"].items() if piece not in new}
    assert vocabulary["<unk>"] == 0
    assert sorted(vocabulary.values()) == list(range(len(vocabulary)))
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    merges = ["#version: 0.2", *(" ".join(merge) for merge in model["merges"]), ""]
    (tmp_path / "merges.txt").write_text("\n".join(merges), encoding="utf-8")
    ours = Tokenizer.load(tmp_path)
    theirs = transformers.OpenAIGPTTokenizer.from_pretrained(tmp_path)
    assert (ours.family, ours.type, dict(ours.vocabulary.roles)) == ("gpt1", "bpe", {"pad": 0, "unk": 0})
    for text in HARD:
        assert ids_of(ours, text) == theirs(text)["input_ids"], text
        assert ours.decode(ids_of(ours, text)) == unicodedata.normalize(
            "NFC", theirs.decode(theirs(text)["input_ids"], skip_special_tokens=True)
        )
    theirs.save_pretrained(tmp_path / "copy")  # as tokenizer.json
    assert Tokenizer.load(tmp_path / "copy").vocabulary == ours.vocabulary


def test_other_special_tokens_of_a_folder_are_special_too(trained: Trained, tmp_path: Path) -> None:
    import transformers

    trained("wordpiece", "bert", True).save(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    theirs.add_special_tokens({"additional_special_tokens": ["<ent>"]})
    theirs.save_pretrained(tmp_path)
    tokenizer = Tokenizer.load(tmp_path)
    added = theirs.convert_tokens_to_ids("<ent>")
    assert tokenizer.vocabulary.size == added + 1
    assert added in tokenizer.vocabulary.special_ids
    assert added not in ids_of(tokenizer, "the <ent> town")
    assert added in tokenizer.encode_with_specials("the <ent> town")[0]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "there is no tokenizer here"),
        ({"spiece.model": "x"}, "there is no tokenizer here"),
        ({"tokenizer.json": '{"model": '}, "damaged"),
        ({"tokenizer.json": "[]"}, "damaged"),
        ({"tokenizer.json": '{"model": {}}'}, "not a tokenizer file"),
        ({"tokenizer.json": '{"added_tokens": [], "model": {"type": "Nonsense", "vocab": {"a": 0}}}'}, "cannot be used"),
        ({"vocab.json": "{}", "merges.txt": "one\n"}, "damaged"),
    ],
)
def test_a_folder_that_holds_no_tokenizer_is_told_by_name(tmp_path: Path, files: dict[str, str], message: str) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=message) as told:
        Tokenizer.load(tmp_path)
    assert str(tmp_path) in told.value.where
