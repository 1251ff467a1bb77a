"""Blocks and the arrays under them, against slices of a list."""

from __future__ import annotations

from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plmtrain.data.corpus.store import Store
from plmtrain.data.rows.blocks import Blocks
from plmtrain.errors import DataError


def write(folder: Path, documents: list[list[int]]) -> Path:
    """A prepared split, as the format's description has it."""
    lengths = np.cumsum([0, *map(len, documents)])
    tokens = np.array([token for document in documents for token in document], np.uint16)
    (folder / "train").mkdir(parents=True)
    arrays = {"tokens": tokens, "documents": lengths, "sentences": lengths, "word_starts": tokens % 2 == 0}
    for name, array in arrays.items():
        np.save(folder / "train" / f"{name}.npy", array)
    return folder


DOCUMENTS = [[5, 6, 7, 3], [8, 9, 3], [10, 3], [11, 12, 13, 14, 15, 16, 3], [17, 3]]
FLAT = [token for document in DOCUMENTS for token in document]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(write(tmp_path, DOCUMENTS), "train")


def test_store(store: Store) -> None:
    assert len(store) == len(FLAT) == 18
    assert store.tokens.tolist() == FLAT
    assert store.tokens.dtype == np.uint16
    assert store.documents.tolist() == [0, 4, 7, 9, 16, 18]
    with pytest.raises(ValueError, match="read-only"):
        store.tokens[0] = 1


def test_rows_are_slices(store: Store) -> None:
    for length in (1, 4, 5, 18):
        blocks = Blocks(store, length)
        assert len(blocks) == 18 // length
        indices = np.random.default_rng(0).permutation(len(blocks))
        rows = blocks.fetch(indices)
        assert rows.tokens.dtype == np.int64
        assert rows.tokens.tolist() == [FLAT[index * length : (index + 1) * length] for index in indices]
        assert (rows.word_starts == (rows.tokens % 2 == 0)).all()
        assert rows.lengths.tolist() == [length] * len(rows)
        assert rows.documents is None


def test_documents_are_counted_from_each_rows_own_first(store: Store) -> None:
    rows = Blocks(store, 6, isolate_documents=True).fetch(np.array([2, 0, 1]))
    assert rows.documents is not None
    assert rows.documents.tolist() == [[0, 0, 0, 0, 1, 1], [0, 0, 0, 0, 1, 1], [0, 1, 1, 2, 2, 2]]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=20), st.integers(1, 12))
def test_documents_change_behind_every_end_mark(tmp_path_factory: pytest.TempPathFactory, lengths: list[int], row: int) -> None:
    documents = [[100] * (length - 1) + [3] for length in lengths]
    store = Store.open(write(tmp_path_factory.mktemp("prepared"), documents), "train")
    if sum(lengths) < row:
        return
    blocks = Blocks(store, row, isolate_documents=True)
    rows = blocks.fetch(np.arange(len(blocks)))
    assert rows.documents is not None
    assert (rows.documents[:, 0] == 0).all()
    assert (np.diff(rows.documents, axis=1) == (rows.tokens[:, :-1] == 3)).all()


@given(st.lists(st.integers(1, 9), min_size=1, max_size=20), st.integers(1, 12))
def test_sentences_start_where_the_store_says(tmp_path_factory: pytest.TempPathFactory, lengths: list[int], row: int) -> None:
    documents = [[100] * (length - 1) + [3] for length in lengths]
    store = Store.open(write(tmp_path_factory.mktemp("prepared"), documents), "train")
    if sum(lengths) < row:
        return
    blocks = Blocks(store, row)
    rows = blocks.fetch(np.arange(len(blocks))[::-1])
    assert rows.sentence_starts is not None
    begins = np.isin(np.arange(len(store)), store.sentences)[: len(blocks) * row].reshape(-1, row)
    assert np.array_equal(rows.sentence_starts, begins[::-1])


def test_too_little_text(store: Store) -> None:
    with pytest.raises(DataError, match="the train text has 18 tokens, but a row takes 19"):
        Blocks(store, 19)


def test_a_store_travels_as_its_place(store: Store) -> None:
    sent = bytes(ForkingPickler.dumps(store))
    assert len(sent) < 1000
    arrived = ForkingPickler.loads(sent)
    assert arrived.tokens.tolist() == FLAT


@pytest.mark.parametrize("name", ["tokens", "documents", "sentences", "word_starts"])
def test_damage_is_named(tmp_path: Path, name: str) -> None:
    folder = write(tmp_path, DOCUMENTS)
    file = folder / "train" / f"{name}.npy"
    whole = file.read_bytes()
    file.write_bytes(whole[:-3])
    with pytest.raises(DataError, match="read") as caught:
        Store.open(folder, "train")
    assert caught.value.where == str(file)
    np.save(file, np.arange(5))
    with pytest.raises(DataError, match="do not fit together"):
        Store.open(folder, "train")
    np.save(file, np.array([{}], object))
    with pytest.raises(DataError, match="objects"):
        Store.open(folder, "train")
    file.unlink()
    with pytest.raises(DataError, match="missing"):
        Store.open(folder, "train")
