"""Encoded examples: cut as BERT's code cuts, and laid out as the published tokenizers lay out texts and pairs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import transformers
from hypothesis import given
from hypothesis import strategies as st

from plmtrain.data.rows.row_formats import RowFormat, formatted
from plmtrain.data.tables.examples import EncodedExamples, Texts, kept_lengths
from plmtrain.families import MODEL_FAMILIES
from plmtrain.settings.tokenizer import TokenizerSettings
from plmtrain.text.tokenizer import Tokenizer
from plmtrain.text.tokenizer_training import train

TEXTS = ["the cat sat on the mat .", "a dog ran to the cat and the mat .", "cats and dogs .", ""]
KINDS = {
    "bert": "wordpiece",
    "roberta": "byte_bpe",
    "mbart": "unigram",
    "albert": "unigram",
    "xlnet": "unigram",
    "xlm": "byte_bpe",
    "gpt1": "bpe",
    "gpt2": "byte_bpe",
    "t5": "unigram",
    "deberta": "byte_bpe",
    "elmo": "word",
}


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 40))
def test_the_longer_text_is_cut_token_by_token(first: int, second: int, most: int) -> None:
    """Against ``_truncate_seq_pair`` of BERT's code, as its paper's authors wrote it."""
    a, b = first, second
    while a + b > most:
        if a > b:
            a -= 1
        else:
            b -= 1
    kept = kept_lengths(np.array([first]), np.array([second]), most)
    assert (int(kept[0][0]), int(kept[1][0])) == (a, b)


def trained(family: str) -> Tokenizer:
    settings = TokenizerSettings(type=KINDS[family], family=family, vocab_size=300, lowercase=False)
    return train(iter(TEXTS[:3] * 20), settings)


@pytest.fixture(scope="module", params=sorted(KINDS.keys() - {"elmo"}))  # transformers has none of its kind
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return trained(request.param)


@pytest.mark.parametrize("texts", [1, 2])
def test_rows_are_those_of_the_published_tokenizer(tokenizer: Tokenizer, texts: int, tmp_path: Path) -> None:
    tokenizer.save(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    columns = [TEXTS, TEXTS[::-1]][:texts]
    layout = RowFormat.of(tokenizer.family, texts)
    source = EncodedExamples([Texts.encode(column, tokenizer) for column in columns], None, most=100)
    rows = formatted(source.fetch(np.arange(len(TEXTS))), layout, tokenizer.vocabulary, limit=128)
    expected = theirs(*columns, padding=True, pad_to_multiple_of=8, return_token_type_ids=True, return_tensors="np")
    assert rows.ids.tolist() == expected["input_ids"].tolist()
    assert rows.real.tolist() == expected["attention_mask"].astype(bool).tolist()
    if tokenizer.family not in ("roberta", "gpt2"):  # they have no segments
        assert rows.segments[rows.real].tolist() == expected["token_type_ids"][rows.real].tolist()


@pytest.mark.parametrize("family", MODEL_FAMILIES)
@given(data=st.data())
def test_nothing_is_lost_but_what_does_not_fit(family: str, data: st.DataObject) -> None:
    """Every row fits, has its special tokens, and as much of its texts as there is room for."""
    tokenizer = TOKENIZERS[MODEL_FAMILIES[family].tokenizer]
    vocabulary = tokenizer.vocabulary
    ordinary = st.sampled_from(vocabulary.ordinary_ids.tolist())
    pairs = data.draw(st.booleans())
    count = data.draw(st.integers(1, 4))
    columns = [data.draw(st.lists(st.lists(ordinary, max_size=12), min_size=count, max_size=count)) for _ in range(1 + pairs)]
    encoded = [
        Texts(np.array([token for text in column for token in text], np.uint16), np.cumsum([0, *map(len, column)]))
        for column in columns
    ]
    layout = RowFormat.of(family, 1 + pairs)
    limit = data.draw(st.integers(max(1, layout.framing), 30))
    rows = formatted(EncodedExamples(encoded, None, limit - layout.framing).fetch(np.arange(count)), layout, vocabulary, limit)
    assert rows.ids.shape[1] <= limit
    assert rows.ids.shape[1] % 8 == 0 or rows.ids.shape[1] == limit
    for row in range(count):
        ids = rows.ids[row, rows.real[row]]
        room = limit - layout.framing
        assert len(ids) == layout.framing + min(room, sum(len(column[row]) for column in columns))
        special = ids[vocabulary.is_special[ids]].tolist()
        assert special == [vocabulary[part] for part, _ in layout.pieces if isinstance(part, str)]
        whole = [column[row] for column in columns]
        if sum(map(len, whole)) <= room:
            assert ids[~vocabulary.is_special[ids]].tolist() == [token for text in whole for token in text]
        assert np.all(rows.ids[row, ~rows.real[row]] == vocabulary.padding)
        edge = rows.real[row][-1 if layout.pads_left else 0]
        assert edge or not len(ids), "padding stands on the other side"


TOKENIZERS = {family: trained(family) for family in KINDS}


def test_rows_come_in_the_order_asked_for() -> None:
    texts = Texts(np.arange(10, 30, dtype=np.uint8), np.array([0, 3, 3, 20]))
    source = EncodedExamples([texts], np.array([2, 0, 1]), most=5)
    rows = source.fetch(np.array([2, 0, 1]))
    assert len(source) == 3
    assert rows.targets is not None
    assert rows.targets.tolist() == [1, 2, 0]
    assert rows.lengths.tolist() == [5, 3, 0]
    assert rows.tokens[0].tolist() == [13, 14, 15, 16, 17]
    assert rows.tokens[1, :3].tolist() == [10, 11, 12]
