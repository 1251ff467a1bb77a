"""Training against worked examples, the library's own trainer, and the promise that equal texts give equal bytes."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from plmtrain.errors import DataError, SettingsError
from plmtrain.settings.tokenizer import TokenizerSettings
from plmtrain.text.tokenizer import Tokenizer
from plmtrain.text.tokenizer_training import train

Trained = Callable[..., Tokenizer]

_TRAIN = """
import hashlib, json, pathlib, random, sys
from plmtrain.settings.tokenizer import TokenizerSettings
from plmtrain.text.tokenizer_training import train

texts = json.load(open(sys.argv[1]))
random.Random(sys.argv[2]).shuffle(texts)
folder = pathlib.Path(sys.argv[3])
for type, family in (("wordpiece", "bert"), ("bpe", "gpt1"), ("byte_bpe", "roberta"), ("unigram", "albert")):
    tokenizer = train(iter(texts), TokenizerSettings(type=type, family=family, vocab_size=1200, lowercase=type != "byte_bpe"))
    tokenizer.save(folder / type)
"""


def settings(type: str, family: str, vocab_size: int, lowercase: bool = False) -> TokenizerSettings:
    return TokenizerSettings(type=type, family=family, vocab_size=vocab_size, lowercase=lowercase)


def model_of(tokenizer: Tokenizer, folder: Path) -> dict:
    tokenizer.save(folder)
    return json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]


def test_training_again_gives_the_same_bytes_whatever_the_order_the_threads_and_the_hashes(
    texts: tuple[str, ...], tmp_path: Path
) -> None:
    # Many words of equal counts, so that there are ties to break.
    some = [*texts, *(f"{text[::-1]} {hashlib.md5(text.encode()).hexdigest()[:9]}" for text in texts)]
    (tmp_path / "texts.json").write_text(json.dumps(some), encoding="utf-8")
    environments = [
        {"RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONHASHSEED": "0"},
        {"RAYON_NUM_THREADS": "3", "TOKENIZERS_PARALLELISM": "true", "PYTHONHASHSEED": "1", "OMP_NUM_THREADS": "1"},
        {"RAYON_NUM_THREADS": "2", "PYTHONHASHSEED": "2"},
    ]
    found = []
    for number, environment in enumerate(environments):
        folder = tmp_path / str(number)
        command = [sys.executable, "-c", _TRAIN, str(tmp_path / "texts.json"), str(number), str(folder)]
        subprocess.run(command, check=True, env={**os.environ, **environment}, timeout=120)
        found.append({path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()})
    assert len(found[0]) == 13
    assert found[0] == found[1] == found[2]


def test_byte_pairs_merge_in_the_order_of_their_counts(tmp_path: Path) -> None:
    # Sennrich et al. 2016, section 3.2: low 5, lower 2, newest 6, widest 3. Each word stands alone on its line here, so that no
    # space gets into it. Counts: "es" and "st" 9 times; "es" comes first of the two, then "est" joins "t".
    text = "\n".join(["low"] * 5 + ["lower"] * 2 + ["newest"] * 6 + ["widest"] * 3)
    merges = model_of(train([text], settings("byte_bpe", "gpt2", 262)), tmp_path)["merges"]
    assert [tuple(pair) for pair in merges][:2] == [("e", "s"), ("es", "t")]
    assert ("l", "o") in [tuple(pair) for pair in merges]


def test_byte_bpe_is_what_the_library_trains_on_the_same_text(texts: tuple[str, ...], tmp_path: Path) -> None:
    from tokenizers import Tokenizer as Engine
    from tokenizers import models, pre_tokenizers, trainers

    engine = Engine(models.BPE())
    engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=899,
        min_frequency=2,
        show_progress=False,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    engine.train_from_iterator(texts, trainer)
    theirs = json.loads(engine.to_str())["model"]
    ours = model_of(train(texts, settings("byte_bpe", "roberta", 900)), tmp_path)
    assert ours["merges"] == theirs["merges"]
    assert {**theirs["vocab"], "<mask>": len(theirs["vocab"])} == ours["vocab"]


def test_wordpieces_spell_every_word_of_known_characters(trained: Trained, texts: tuple[str, ...]) -> None:
    tokenizer = trained("wordpiece", "bert", True)
    unknown = tokenizer.vocabulary["unk"]
    assert not any((ids == unknown).any() for ids, _ in tokenizer.encode([*texts, "zzzyx uxlow ebwt1x"]))


@pytest.mark.parametrize(("type", "family"), [("wordpiece", "bert"), ("unigram", "albert")])
def test_frequent_words_have_a_piece_and_rare_characters_none(type: str, family: str) -> None:
    # A character once in twenty million is no part of the alphabet.
    words = ["abandon", "bandana", "cabana", "banal"]
    texts = [" ".join(words)] * 2000 + ["Ω"]
    tokenizer = train(iter(texts), settings(type, family, 60))
    for word in words:
        assert len(tokenizer.encode([word])[0][0]) == 1
    assert len(tokenizer.encode(["Ω"])[0][0]) >= 1
    dropped = train(iter([" ".join(words * 500)] * 400 + ["Ω"] * 1), settings(type, family, 60))
    assert dropped.vocabulary["unk"] not in dropped.encode(["banana"])[0][0]


def test_rare_characters_give_way_where_room_is_short() -> None:
    texts = ["aaa bbb ccc " * 50 + "dd e"]
    tokenizer = train(iter(texts), settings("unigram", "t5", 103 + 4))
    ids = tokenizer.encode(["ab c", "d e"])
    unknown = tokenizer.vocabulary["unk"]
    assert unknown not in ids[0][0]
    assert unknown in ids[1][0]


@pytest.mark.parametrize(
    ("type", "family", "size"),
    [("byte_bpe", "roberta", 260), ("wordpiece", "bert", 5), ("unigram", "t5", 103), ("byte_bpe", "t5", 300), ("bpe", "gpt1", 4)],
)
def test_a_vocabulary_without_room_is_refused(type: str, family: str, size: int) -> None:
    with pytest.raises(SettingsError, match="too small") as told:
        train(iter(["a b"]), settings(type, family, size))
    assert "tokenizer.vocab_size" in told.value.where


@pytest.mark.parametrize("texts", [[], [""], ["\x01"]])
def test_no_text_is_told(texts: list[str]) -> None:
    with pytest.raises(DataError, match="no text"):
        train(iter(texts), settings("wordpiece", "bert", 100))


@pytest.mark.parametrize(("type", "family"), [("wordpiece", "bert"), ("byte_bpe", "gpt2"), ("unigram", "xlnet")])
def test_a_small_text_gives_a_small_vocabulary(type: str, family: str) -> None:
    tokenizer = train(iter(["so it goes, so it went"]), settings(type, family, 30_000))
    assert tokenizer.vocabulary.size < 400
    assert tokenizer.decode(tokenizer.encode(["so it goes"])[0][0]) == "so it goes"
