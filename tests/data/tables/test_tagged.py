"""Texts with a label for each word: every word is labelled once, whatever the length of a row, by the tokens of its text."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import datasets
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.finished_run import TEXTS

from plmtrain.data.tables import table_files
from plmtrain.data.tables.readers.token_labels import TokenLabelsReader
from plmtrain.data.tables.tagged import TaggedTexts
from plmtrain.errors import DataError
from plmtrain.families import TOKENIZER_FAMILIES
from plmtrain.interop.hub import dataset_of
from plmtrain.settings.data import TableSettings
from plmtrain.settings.tasks.token_labels import TokenLabelsSettings
from plmtrain.settings.tokenizer import TokenizerSettings
from plmtrain.text.readers import Skips
from plmtrain.text.tokenizer import Tokenizer
from plmtrain.text.tokenizer_training import train

TASK = TokenLabelsSettings(name="tags")


@given(
    st.lists(st.lists(st.integers(1, 3), min_size=1, max_size=30), min_size=1, max_size=4), st.integers(4, 40), st.integers(0, 39)
)
def test_every_word_is_labelled_once_by_the_window_that_shows_most_around_it(
    texts: list[list[int]], most: int, overlap: int
) -> None:
    """Words of one to three tokens: first tokens have the word's number, which is its label."""
    sizes = [size for text in texts for size in text]
    first = np.zeros(sum(sizes), np.bool_)
    first[np.cumsum([0, *sizes[:-1]])] = True
    starts = np.cumsum([0, *map(sum, texts)])
    tokens = np.arange(len(first))
    rows = TaggedTexts(tokens, first, tokens.copy(), starts, texts, overlap).rows(most)
    read = rows.fetch(np.arange(len(rows)))
    assert read.labels is not None
    labelled: dict[int, int] = {}
    for row, length in enumerate(read.lengths.tolist()):
        assert length <= most
        text = starts[rows.owners[row]], starts[rows.owners[row] + 1]
        here = read.tokens[row, :length]
        assert text[0] <= here[0] <= here[-1] < text[1]
        assert (np.diff(here) == 1).all()
        for place in np.flatnonzero(read.asked[row]):
            token = int(read.tokens[row, place])
            assert token == read.labels[row, place]
            assert token not in labelled
            labelled[token] = min(place, length - 1 - place)
    assert set(labelled) == set(np.flatnonzero(first).tolist())
    # However long the overlap was asked to be, twice as many windows as without one, and one more, are enough.
    assert all(np.count_nonzero(rows.owners == number) <= 2 * (sum(text) // most) + 2 for number, text in enumerate(texts))
    for row, length in enumerate(read.lengths.tolist()):
        begin = int(read.tokens[row, 0])
        for token in range(begin, begin + length):
            if token in labelled:
                # At the ends of a text no window shows more on that side.
                text = starts[rows.owners[row]], starts[rows.owners[row] + 1]
                around = min(token - begin, begin + length - 1 - token)
                inside = min(most // 2, token - text[0], text[1] - 1 - token)
                assert labelled[token] >= min(around, inside) - 1


@pytest.fixture(scope="module", params=["wordpiece-bert", "byte_bpe-roberta", "unigram-albert", "bpe-gpt1"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    kind, family = request.param.split("-")
    return train(TEXTS, TokenizerSettings(type=kind, family=family, vocab_size=400, lowercase=kind in ("wordpiece", "bpe")))


def test_words_have_the_tokens_that_they_have_in_their_text(tokenizer: Tokenizer) -> None:
    words = [*(text.split() for text in TEXTS[:5]), ["U.S.", "(don't)", "3.14", "é-mail", "한국어"]]
    encoded = TaggedTexts.encode(words, None, {}, tokenizer, 0)
    for number, text in enumerate(words):
        own = slice(encoded.starts[number], encoded.starts[number + 1])
        ids, _ = tokenizer.encode([" ".join(text)])[0]
        assert encoded.tokens[own].tolist() == ids.tolist()
        assert int(encoded.first[own].sum()) == len(text)


def test_each_character_has_the_answer_for_its_token(tokenizer: Tokenizer) -> None:
    """Labels are the places of the characters, white space not counted, so that a token's label is the place of its first one."""
    texts = [*TEXTS[:4], "  조지 해리슨이 쓴 노래", "naïve  co-op: 3.14", "\u3000x"]
    solid = ["".join(text.split()) for text in texts]
    references = [[str(place) for place in range(len(text))] for text in solid]
    numbers = {str(place): place for place in range(max(map(len, solid)))}
    encoded = TaggedTexts.of_characters(texts, references, numbers, tokenizer, 0)
    for number, (text, read) in enumerate(zip(texts, solid, strict=True)):
        own = slice(encoded.starts[number], encoded.starts[number + 1])
        running = text if TOKENIZER_FAMILIES[tokenizer.family].keeps_line_ends else " ".join(text.split())
        assert encoded.tokens[own].tolist() == tokenizer.encode([running])[0][0].tolist()
        asked = encoded.first[own]
        counts, labels = encoded.characters[own][asked], encoded.labels[own][asked]
        assert counts.sum() == len(read)
        assert labels.tolist() == [0, *np.cumsum(counts)[:-1].tolist()]
        for token, place, count in zip(encoded.tokens[own][asked].tolist(), labels.tolist(), counts.tolist(), strict=True):
            shown = "".join(tokenizer.decode([token]).replace("##", "").split())
            if shown.isascii() and shown.isalnum():
                plain = unicodedata.normalize("NFKD", read[place : place + count]).encode("ascii", "ignore").decode()
                assert plain.lower() == shown.lower()


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ({"tokens": ["A", " ", "b"], "tags": ["B-x", "I-x", "O"]}, (("A", " ", "b"), ("B-x", "O"))),
        ({"tokens": "A b", "tags": "B-x I-x O"}, (("A", " ", "b"), ("B-x", "O"))),
        ({"tokens": ["Ab"], "tags": ["O"]}, "column 'tokens' should be text or a list of characters, but is a list"),
        ({"tokens": "Ab", "tags": ["O"]}, "there are 2 characters in 'tokens', and 1 labels in 'tags'"),
        ({"tokens": " ", "tags": ["O"]}, "there is no word in this text"),
    ],
)
def test_characters_are_read_with_their_labels(cells: dict[str, object], expected: object) -> None:
    reader = TokenLabelsReader(TASK.model_copy(update={"unit": "characters"}))
    row = table_files.Row("x.jsonl:7", cells)
    if isinstance(expected, str):
        with pytest.raises(DataError) as told:
            reader.example(row)
        assert (told.value.what, told.value.where) == (expected, "x.jsonl:7")
    else:
        example = reader.example(row)
        assert (example.texts, example.reference) == expected
        assert reader.line(example) == {"tokens": "A b", "expected": ["B-x", "O"]}
        assert reader.question("A b").texts == example.texts


CONLL = "-DOCSTART- -X- O\n\nAnna NNP B-PER\nruns VB O\n\n\nRome NNP B-LOC\n"
CONLLU = (
    "# text = Im Haus\n1-2\tIm\t_\t_\t_\t_\t_\t_\t_\t_\n1\tIn\tin\tADP\t_\t_\t_\t_\t_\t_\n2\tdem\tder\tDET\t_\t_\t_\t_\t_\t_\n"
)
EXPECTED = [(("Anna", "runs"), ("B-PER", "O")), (("Rome",), ("B-LOC",))]


def read(path: Path, task: TokenLabelsSettings = TASK, **data: object) -> list[tuple[tuple[str, ...], object]]:
    reader = TokenLabelsReader(task)
    rows = table_files.read(path, reader.columns, TableSettings(**data), Skips())
    return [(example.texts, example.reference) for example in map(reader.example, rows)]


def test_files_of_words_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_text(CONLL)
    assert read(tmp_path / "a.conll") == EXPECTED
    (tmp_path / "a.txt").write_text(CONLL.replace(" ", ";"))
    named = {"format": "conll", "separator": ";", "columns": ("word", "pos", "name")}
    by_name = TASK.model_copy(update={"text": "word", "label": "name"})
    assert read(tmp_path / "a.txt", by_name, **named) == EXPECTED
    assert read(tmp_path / "a.txt", by_name.model_copy(update={"label": "pos"}), **named)[0] == (("Anna", "runs"), ("NNP", "VB"))
    (tmp_path / "a.conllu").write_text(CONLLU)
    upos = TASK.model_copy(update={"text": "form", "label": "upos"})
    assert read(tmp_path / "a.conllu", upos) == [(("In", "dem"), ("ADP", "DET"))]
    lines = [{"tokens": list(words), "tags": tags} for words, tags in EXPECTED]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert read(tmp_path / "a.jsonl") == EXPECTED
    (tmp_path / "a.tsv").write_text("".join(f"{' '.join(words)}\t{' '.join(map(str, tags))}\n" for words, tags in EXPECTED))
    assert read(tmp_path / "a.tsv", columns=("tokens", "tags")) == EXPECTED


@pytest.mark.parametrize(
    "content",
    [
        CONLL.replace("-X- O\n\n", "-X- O\n"),  # no blank line after the line between documents, nor before it
        CONLL.replace("\n\n\nRome", "\n-DOCSTART- -X- O\nRome"),
        CONLL.replace("\n", "\r\n"),
        CONLL.replace(" ", "\t"),
        CONLL.replace(" ", "  \t").replace("\n", " \n"),
        CONLL.rstrip("\n"),
    ],
    ids=["joined", "between", "crlf", "tabs", "blanks", "no_end"],
)
def test_no_sentence_of_words_is_lost(content: str, tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_text(content, newline="")
    assert read(tmp_path / "a.conll") == EXPECTED


def test_a_word_may_have_any_white_space_but_blanks_and_tabs_in_it(tmp_path: Path) -> None:
    words = ("10\u00a0000", "a\u3000b", "x\u2009y", "\u0085z")
    (tmp_path / "a.conll").write_text("".join(f"{word} O\n" for word in words))
    assert read(tmp_path / "a.conll") == [(words, ("O",) * 4)]


def test_a_comment_is_no_word_and_the_message_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_text("# id 7\nAnna B-PER\nruns O\n")
    with pytest.raises(DataError) as caught:
        read(tmp_path / "a.conll")
    assert "if lines with # are comments, remove them" in caught.value.remedy


@pytest.mark.parametrize(
    ("name", "content", "where", "what"),
    [
        ("a.conll", "Anna B-PER\nruns\n", ":2", "this line has 1 cells, and 2 were expected: tokens, tags"),
        ("a.jsonl", '{"tokens": ["a", "b"], "tags": ["O"]}\n', ":1", "there are 2 words in 'tokens', and 1 labels in 'tags'"),
        ("a.jsonl", '{"tokens": [], "tags": []}\n', ":1", "there is no word in this text"),
        ("a.jsonl", '{"tokens": ["a", " "], "tags": ["O", "O"]}\n', ":1", "word 2 in column 'tokens' is empty"),
        ("a.jsonl", '{"tokens": 3, "tags": []}\n', ":1", "column 'tokens' should be a list of words, but is a number"),
        ("a.jsonl", '{"tokens": ["a"], "tag": ["O"]}\n', ":1", "there is no column 'tags'"),
        ("a.conll", "\n\n", "", "there is no row in this file"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_line(name: str, content: str, where: str, what: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError) as caught:
        read(tmp_path / name)
    assert caught.value.what.startswith(what)
    assert caught.value.where == f"{tmp_path / name}{where}"


def test_labels_are_found_in_training_and_unknown_ones_refused(tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_text(CONLL)
    reader = TokenLabelsReader(TASK)
    rows = list(table_files.read(tmp_path / "a.conll", reader.columns, TableSettings(), Skips()))
    settled = reader.settled([reader.example(row) for row in rows])
    assert settled.task.labels == ("B-LOC", "B-PER", "O")
    assert settled.task.entities
    assert settled.task.metrics[0] == "f1"
    with pytest.raises(DataError, match="the label 'B-ORG' is none of training's"):
        settled.example(table_files.Row("x:1", {"tokens": ["a"], "tags": ["B-ORG"]}))
    assert not TASK.model_copy(update={"labels": ("NN", "O")}).entities
    assert TASK.model_copy(update={"labels": ("B-a", "E-a", "I-a", "L-b", "O", "S-a", "U-b")}).entities


def test_a_question_may_have_its_words_within_an_object() -> None:
    reader = TokenLabelsReader(TASK.model_copy(update={"text": "sentence.tokens"}))
    assert reader.question('{"sentence": {"tokens": ["a", "cat"]}}').texts == ("a", "cat")
    with pytest.raises(DataError, match=r"there is no 'sentence\.tokens'"):
        reader.question('{"sentence": {}}')


@pytest.mark.parametrize("changes", [{"average": "macro"}, {"strict": True}])
def test_what_is_of_names_is_refused_without_names(changes: dict[str, object]) -> None:
    def judge(*labels: str) -> None:
        TokenLabelsReader(TASK.model_copy(update={"labels": labels, **changes})).judge({})

    judge("B-a", "I-a", "O")
    with pytest.raises(DataError, match=f"task.{next(iter(changes))}.* is of names") as told:
        judge("NN", "O")
    assert told.value.remedy == f"omit task.{next(iter(changes))}"


def test_every_family_has_a_word_for_what_it_cannot_encode() -> None:
    """A word without a token would be a word without a label."""
    assert all("unk" in family.roles or name == "gpt2" for name, family in TOKENIZER_FAMILIES.items())


def test_classes_of_lists_have_the_names_that_a_dataset_gives_them(tmp_path: Path) -> None:
    """In a parquet file, and in a folder laid out as on the hub."""
    features = datasets.Features(
        {
            "tokens": datasets.List(datasets.Value("string")),
            "tags": datasets.List(datasets.ClassLabel(names=["O", "B-PER", "B-LOC"])),
        }
    )
    table = datasets.Dataset.from_dict({"tokens": [["Anna", "runs"], ["Rome"]], "tags": [[1, 0], [2]]}, features=features)
    folder = tmp_path / "names"
    folder.mkdir()
    for split in ("train", "validation"):
        table.to_parquet(folder / f"{split}-00000-of-00001.parquet")
    assert read(folder / "train-00000-of-00001.parquet") == EXPECTED
    task = TASK.model_copy(update={"folder": str(folder)})
    dataset = dataset_of(task, "train", TableSettings(), Skips())
    reader = TokenLabelsReader(task).informed({"tags": dataset.labels("tags")})
    assert reader.task.labels == ("O", "B-PER", "B-LOC")
    rows = dataset.read(reader.columns)
    assert [(example.texts, example.reference) for example in map(reader.example, rows)] == EXPECTED
