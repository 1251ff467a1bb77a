"""``spiece.model`` beside a Unigram tokenizer: SentencePiece, transformers and the authors' code get the same ids from it."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from sentencepiece import SentencePieceProcessor

from plmtrain.errors import DataError
from plmtrain.text.tokenizer import Tokenizer

Trained = Callable[..., Tokenizer]


def ids_of(tokenizer: Tokenizer, text: str) -> list[int]:
    return [int(number) for number in tokenizer.encode([text])[0][0]]


def as_the_authors_read(text: str, family: str) -> str:
    """A text as the published code of a family hands it to SentencePiece (``preprocess_text`` of ALBERT and XLNet)."""
    if family in ("albert", "xlnet"):
        text = " ".join(text.split()).replace("``", '"').replace("''", '"')
    if family == "albert":
        text = "".join(one for one in unicodedata.normalize("NFKD", text) if not unicodedata.combining(one)).lower()
    return text


@pytest.mark.parametrize(("family", "lowercase"), [("albert", True), ("xlnet", False), ("t5", False), ("deberta", False)])
def test_sentencepiece_gives_the_same_ids(
    trained: Trained, texts: tuple[str, ...], tmp_path: Path, family: str, lowercase: bool
) -> None:
    tokenizer = trained("unigram", family, lowercase)
    tokenizer.save(tmp_path)
    (file,) = tmp_path.glob("*.model")
    assert file.name == ("spm.model" if family == "deberta" else "spiece.model")
    theirs = SentencePieceProcessor(model_file=str(file))
    for text in (
        *texts,
        "  two  spaces\n\nand\ttabs \r\n",
        "It's 한국어 문장, 日本語の漢字。 café NAÏVE ﬁne ``quoted''",
        "２０２１年 e\u0301 \u00a0 ½ x ㈜",
    ):
        assert theirs.encode(as_the_authors_read(text, family)) == ids_of(tokenizer, text), text
    last = {"t5": 100, "deberta": 1}.get(
        family, 0
    )  # transformers and the authors add T5's sentinels and DeBERTa's mask themselves
    assert theirs.get_piece_size() == tokenizer.vocabulary.size - last
    assert [theirs.id_to_piece(number) for number in range(len(theirs))] == tokenizer.pieces(range(len(theirs)))
    for number in range(len(theirs)):
        special = tokenizer.vocabulary.is_special[number]
        assert theirs.is_control(number) == (special and number != tokenizer.vocabulary["unk"])
    assert theirs.unk_id() == tokenizer.vocabulary["unk"]


@pytest.mark.parametrize(
    ("family", "lowercase", "name"),
    [("albert", True, "AlbertTokenizer"), ("xlnet", False, "XLNetTokenizer"), ("t5", False, "T5Tokenizer")],
)
def test_sentencepiece_s_file_alone_makes_the_tokenizer_of_hugging_face_s_class(
    trained: Trained, tmp_path: Path, family: str, lowercase: bool, name: str
) -> None:
    transformers = pytest.importorskip("transformers")
    tokenizer = trained("unigram", family, lowercase)
    tokenizer.save(tmp_path)
    for path in tmp_path.iterdir():
        if path.name != "spiece.model":
            path.unlink()
    theirs = getattr(transformers, name).from_pretrained(tmp_path)
    assert len(theirs) == tokenizer.vocabulary.size
    for text in ("the low fog lay over the town", "She said that it was the widest river.", "zzzyx; uxlow"):
        assert theirs(text, add_special_tokens=False)["input_ids"] == ids_of(tokenizer, text)


def test_the_tokenizer_of_debertas_second_version_is_read(trained: Trained, tmp_path: Path) -> None:
    """As its class of transformers saves it, with stages of its own: it cuts and normalises text in another way."""
    transformers = pytest.importorskip("transformers")
    pieces = [tuple(row) for row in trained("unigram", "deberta", False).definition["model"]["vocab"]]
    theirs = transformers.DebertaV2Tokenizer(vocab=pieces, unk_id=3)
    theirs.save_pretrained(tmp_path)
    read = Tokenizer.load(tmp_path)
    assert (read.type, read.family) == ("unigram", "deberta")
    assert {role: getattr(theirs, f"{role}_token_id") for role in read.vocabulary.roles} == dict(read.vocabulary.roles)
    for text in ("the low fog lay over the town", "She said  that it was\nthe widest river. ", "zzzyx; uxlow ﬁ", "a [MASK] b"):
        expected = theirs(text, add_special_tokens=False)["input_ids"]
        assert read.encode_with_specials(text)[0].tolist() == expected, text
        assert read.framed(text)[0] == theirs(text)["input_ids"]


def test_only_unigram_tokenizers_with_the_ids_of_sentencepiece_have_its_file(trained: Trained, tmp_path: Path) -> None:
    # GPT-2's only special token is the unknown one, and comes last; SentencePiece's cannot.
    tokenizer = trained("unigram", "gpt2")
    tokenizer.save(tmp_path)
    assert not (tmp_path / "spiece.model").exists()
    assert tokenizer.vocabulary["unk"] == tokenizer.vocabulary.size - 1
    assert tokenizer.decode(ids_of(tokenizer, "the low fog")) == "the low fog"


def test_a_folder_without_sentencepiece_s_file_stays_without(trained: Trained, tmp_path: Path) -> None:
    tokenizer = trained("unigram", "albert", True)
    tokenizer.save(tmp_path / "a")
    (tmp_path / "a" / "spiece.model").unlink()
    again = Tokenizer.load(tmp_path / "a")
    again.save(tmp_path / "b")
    assert again.digest == tokenizer.digest
    assert not (tmp_path / "b" / "spiece.model").exists()
    with (tmp_path / "a" / "spiece.model").open("wb") as file:
        file.truncate(2**30)
    with pytest.raises(DataError, match="1,073,741,824 bytes"):
        Tokenizer.load(tmp_path / "a")
