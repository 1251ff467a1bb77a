"""Parallel text: tables, aligned files and catalogues give the same pairs, and say what is wrong in them by file and line."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plmtrain.data.corpus import parallel
from plmtrain.data.corpus.encoding import Passage, content_hash, encode
from plmtrain.data.corpus.prepare import prepare
from plmtrain.data.corpus.store import Store
from plmtrain.data.corpus.trained_tokenizers import tokenizer_for
from plmtrain.data.rows.quotas import Repeats, quotas, shares
from plmtrain.errors import DataError
from plmtrain.settings.data import DataSettings
from plmtrain.settings.tokenizer import TokenizerSettings
from plmtrain.text import readers
from plmtrain.text.readers import Skips

PAIRS = [("A house.", "Ein Haus."), ("Two houses", "Zwei Häuser"), ("No house", "Kein Haus")]
TOKENIZER = TokenizerSettings(type="byte_bpe", family="roberta", vocab_size=300, lowercase=False)


def settings(*files: Path | str, **others: Any) -> DataSettings:
    values = {"name": "p", "type": "parallel", "files": list(map(str, files)), "languages": ["en", "de"], "processes": 1}
    return DataSettings.model_validate(values | others)


def read(data: DataSettings, skips: Skips | None = None) -> list[Passage]:
    found = parallel.units(readers.expand([*data.files, *(name for names in data.monolingual.values() for name in names)]), data)
    return [passage for unit in found for passage in parallel.read(unit, data, skips or Skips())]


def passages(pairs: list[tuple[str, str]]) -> list[Passage]:
    return [one for a, b in pairs for one in (Passage(a, a, 0), Passage(b, a, 1, translates=True))]


def table(pairs: list[tuple[str, str]]) -> str:
    return "id\tde\ten\n" + "".join(f"{n}\t{b}\t{a}\n" for n, (a, b) in enumerate(pairs))


def test_all_forms_give_the_same_pairs(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text(table(PAIRS))
    (tmp_path / "a.tsv.gz").write_bytes(gzip.compress(table(PAIRS).encode()))
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"en": a, "de": b}) + "\n" for a, b in PAIRS))
    (tmp_path / "a.csv").write_text("en,de\n" + "".join(f'"{a}","{b}"\n' for a, b in PAIRS))
    (tmp_path / "de.po").write_text("".join(f'msgid "{a}"\nmsgstr "{b}"\n\n' for a, b in PAIRS))
    for side, language in ((0, "en"), (1, "de")):
        for name in (f"news.{language}", f"old.{language}.txt"):
            (tmp_path / name).write_text("".join(f"{pair[side]}\n" for pair in PAIRS))
    for names in (
        ["a.tsv"],
        ["a.tsv.gz"],
        ["a.jsonl"],
        ["a.csv"],
        ["de.po"],
        ["news.en", "news.de"],
        ["old.de.txt", "old.en.txt"],
    ):
        assert read(settings(*(tmp_path / name for name in names))) == passages(PAIRS), names


def test_every_two_of_several_languages(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"ko": "집", "en": "house", "de": "Haus"}\n{"de": "Boot", "ko": "배"}\n')
    found = read(settings(tmp_path / "a.jsonl", languages=["en", "de", "ko"]))
    texts = [(found[i].text, found[i + 1].text, found[i].kin) for i in range(0, len(found), 2)]
    assert texts == [("house", "Haus", "house"), ("house", "집", "house"), ("Haus", "집", "house"), ("Boot", "배", "Boot")]


def test_text_without_translations(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text(table(PAIRS))
    (tmp_path / "more.txt").write_text("Mehr Text.\nUnd mehr.\n")
    (tmp_path / "more.jsonl").write_text('{"text": "Noch mehr."}\n')
    (tmp_path / "more.json").write_text('[{"text": "Und noch."}]')
    names = [str(tmp_path / "more.txt"), str(tmp_path / "more.jsonl"), str(tmp_path / "more.json")]
    found = read(settings(tmp_path / "a.tsv", monolingual={"de": names}))
    assert [one.text for one in found[6:]] == ["Mehr Text.\nUnd mehr.", "Noch mehr.", "Und noch."]
    assert {(one.kin, one.language) for one in found[6:]} == {(None, 1)}
    (tmp_path / "more.csv").write_text("text\nmehr\n")
    with pytest.raises(DataError, match=r"a '\.csv' file contains a table"):
        read(settings(tmp_path / "a.tsv", monolingual={"de": [str(tmp_path / "more.csv")]}))


def test_a_file_that_is_not_there_is_told_by_its_setting(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text(table(PAIRS))
    data = settings(tmp_path / "a.tsv", monolingual={"de": ["nowhere.txt"]}, prepared_dir=str(tmp_path / "prepared"))
    with pytest.raises(DataError, match="does not exist") as raised:
        tokenizer_for(data, TOKENIZER, lambda progress: None)
    assert raised.value.where == "data.monolingual.de: nowhere.txt"


@pytest.mark.parametrize(
    ("files", "where", "what"),
    [
        ({"a.tsv": "en\tfr\nx\ty\n"}, "a.tsv:1", "no column 'de'; the columns here: en, fr"),
        ({"a.tsv": "en\tde\nx\ty\nx\t \n"}, "a.tsv:3", "the text in 'de' is empty"),
        ({"a.tsv": "en\tde\nx\ty\nx\n"}, "a.tsv:3", "1 cells"),
        ({"a.tsv": "en\tde\n"}, "a.tsv", "no row"),
        ({"a.tsv": b"en\tde\nx\t\xff\n"}, "a.tsv:2", "not UTF-8"),
        ({"a.tsv.gz": gzip.compress(b"en\tde\n" + b"x\ty\n" * 9999)[:-30]}, "a.tsv.gz:", "truncated"),
        ({"a.jsonl": '{"en": "x", "de": 3}\n'}, "a.jsonl:1", "should be text"),
        ({"a.en": "x\ny\n", "a.de": "x\n"}, "a.de:1", "unequal numbers of lines"),
        ({"a.en": "x\n\n", "a.de": "x\ny\n"}, "a.en:2", "the text in 'en' is empty"),
        ({"a.en": "x\n", "a.de": b"\xff\n"}, "a.de:1", "not UTF-8"),
        ({"a.en": "x\n"}, "a.en", "no translation of this file"),
        ({"a.dat": "x\n"}, "a.dat", "not clear from its ending"),
        ({"x.po": 'msgid "a"\nmsgstr "b"\n'}, "x.po", "does not say which language"),
        ({"x.po": 'msgid ""\nmsgstr "Language: fr\\n"\nmsgid "a"\nmsgstr "b"\n'}, "x.po", "in 'fr'"),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, files: dict[str, str | bytes], where: str, what: str) -> None:
    for name, content in files.items():
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError) as raised:
        read(settings(*(tmp_path / name for name in files)))
    assert what in raised.value.what
    assert raised.value.where.startswith(str(tmp_path / where))
    assert raised.value.remedy


def test_bad_rows_are_skipped_with_their_translations(tmp_path: Path) -> None:
    (tmp_path / "a.en").write_bytes(b"one\n\xfftwo\nthree\nfour\n\n")
    (tmp_path / "a.de").write_bytes(b"eins\nzwei\ndrei\n \n\n")
    skips = Skips()
    found = read(settings(tmp_path / "a.en", tmp_path / "a.de", on_bad="skip"), skips)
    assert found == passages([("one", "eins"), ("three", "drei")])
    assert skips.count == 2


def test_prepared_pairs_stay_together(tmp_path: Path) -> None:
    """Sides lie beside each other, on one side of the split with all other translations of the same text."""
    rows = [(f"Number {n} is {n * n}.", f"Die Zahl {n} ist {n * n}!", f"숫자 {n}") for n in range(400)]
    (tmp_path / "de.tsv").write_text("en\tde\n" + "".join(f"{a}\t{b}\n" for a, b, _ in rows))
    (tmp_path / "ko.tsv").write_text("en\tko\n" + "".join(f"{a}\t{c}\n" for a, _, c in rows[::-1]))
    data = settings(
        tmp_path / "de.tsv", tmp_path / "ko.tsv", languages=["en", "de", "ko"], prepared_dir=str(tmp_path / "prepared"),
        validation_fraction=0.2,
    )  # fmt: skip
    tokenizer = tokenizer_for(data, TOKENIZER, lambda progress: None)
    folder = prepare(data, tokenizer, minimum_validation_tokens=8, on_update=lambda progress: None)
    told: dict[str, set[str]] = {}
    for split in ("train", "validation"):
        store = Store.open(folder, split)
        assert store.languages is not None
        assert store.translations is not None
        texts = [
            tokenizer.decode(store.tokens[first : end - 1])
            for first, end in zip(store.documents, store.documents[1:], strict=False)
        ]
        assert store.translations.tolist() == [False, True] * (len(texts) // 2)
        assert set(store.languages[::2].tolist()) == {0}
        for index in range(0, len(texts), 2):
            number = int(texts[index].split()[1])
            assert texts[index + 1] == rows[number][store.languages[index + 1]]
            told.setdefault(split, set()).add(texts[index])
        assert store.shares.sum() == pytest.approx(1)
        assert store.shares[tokenizer.vocabulary["sep"]] == 0
    assert not told["train"] & told["validation"]
    assert 0.1 < len(told["validation"]) / 400 < 0.3
    other = settings(
        *data.files, **{**data.model_dump(include={"prepared_dir", "validation_fraction"}), "languages": ["de", "en", "ko"]}
    )
    assert prepare(other, tokenizer, minimum_validation_tokens=8, on_update=lambda progress: None) != folder


def test_a_side_without_tokens_takes_the_other_with_it(tmp_path: Path) -> None:
    data = settings("x", prepared_dir=str(tmp_path))
    (tmp_path / "x.tsv").write_text(table(PAIRS))
    tokenizer = tokenizer_for(data.model_copy(update={"files": (str(tmp_path / "x.tsv"),)}), TOKENIZER, lambda progress: None)
    found = encode(tokenizer, [*passages([("a", "b"), (" ", "x"), ("y", " ")]), Passage("z", None, 1), Passage(" ")])
    assert found.languages.tolist() == [0, 1, 1]
    assert found.translations.tolist() == [False, True, False]
    assert found.keys.tolist() == [content_hash("a"), content_hash("a"), content_hash("z")]
    assert found.hashes.tolist() == [content_hash("a"), content_hash("b"), content_hash("z")]


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=6), st.floats(0, 1))
def test_quotas(sizes: list[int], exponent: float) -> None:
    """Every row is read, in shares that are off by less than a row, and no more rows than that takes."""
    part = shares(sizes, exponent)
    given_rows = quotas(sizes, part.tolist())
    if not any(sizes):
        assert not any(given_rows)
        return
    assert part.sum() == pytest.approx(1)
    powers = [size**exponent if size else 0 for size in sizes]
    np.testing.assert_allclose(part, np.array(powers) / sum(powers))
    epoch = sum(given_rows)
    assert all(rows >= size for rows, size in zip(given_rows, sizes, strict=True))
    assert all(abs(rows - epoch * share) < 1.001 for rows, share in zip(given_rows, part, strict=True))
    assert any(rows <= size + 1 for rows, size in zip(given_rows, sizes, strict=True) if size)


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_repeats_bring_languages_to_their_shares(exponent: float) -> None:
    sizes = {0: 9000, 1: 1000, 2: 40}
    repeats = Repeats(sizes, exponent)
    taken = {language: sum(repeats.next(language) for _ in range(size)) for language, size in sizes.items()}
    expected = shares(list(sizes.values()), exponent) * sum(taken.values())
    np.testing.assert_allclose(list(taken.values()), expected, atol=1.5, rtol=1e-3)
    assert taken[0] == 9000
