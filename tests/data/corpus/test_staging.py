"""Arrays written piece by piece are NumPy's own files; staged documents come back as they went in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from plmtrain.data.corpus import staging as module
from plmtrain.data.corpus.encoding import Encoded
from plmtrain.data.corpus.staging import NpyWriter, SplitWriter, Staging


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.uint32, np.int64, np.bool_])
@pytest.mark.parametrize("lengths", [(), (0,), (1,), (9, 0, 90), (1000, 1)])
def test_a_file_is_as_numpy_saves_it(tmp_path: Path, kind: type, lengths: tuple[int, ...]) -> None:
    parts = [(np.arange(length) % 2).astype(kind) for length in lengths]
    with NpyWriter(tmp_path / "ours.npy", np.dtype(kind)) as writer:
        for part in parts:
            writer.write(part)
    np.save(tmp_path / "theirs.npy", np.concatenate([np.empty(0, kind), *parts]))
    assert (tmp_path / "ours.npy").read_bytes() == (tmp_path / "theirs.npy").read_bytes()


def some(lengths: list[list[int]], first: int) -> Encoded:
    documents = [sum(document) for document in lengths]
    return Encoded(
        tokens=np.arange(sum(documents), dtype=np.uint16) % 50 + first,
        word_starts=np.ones(sum(documents), np.bool_),
        sentences=np.array([length for document in lengths for length in document], np.int64),
        documents=np.array(documents, np.int64),
        sentence_counts=np.array([len(document) for document in lengths], np.int64),
        hashes=np.array(documents, np.uint64),
        keys=np.array(documents, np.uint64),
        languages=np.arange(len(documents), dtype=np.uint8) % 3,
        translations=np.arange(len(documents)) % 2 == 1,
        unknown_places=np.empty(0, np.int64),
        unknown_spellings=np.empty(0, np.uint8),
    )


CHUNKS = [some([[3, 4], [2]], 0), some([], 0), some([[1], [1, 1, 30], [5]], 7)]


@pytest.mark.parametrize("piece", [1, 9, 10, 1000])
def test_pieces_are_what_was_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    monkeypatch.setattr(module, "_PIECE", piece)
    with Staging(tmp_path / "staged", np.dtype(np.uint16)) as staging:
        for chunk in CHUNKS:
            staging.add(chunk)
    pieces = list(staging.pieces())
    assert [i for here, _ in pieces for i in range(here.start, here.stop)] == list(range(5))
    for name in (
        "tokens",
        "word_starts",
        "sentences",
        "documents",
        "sentence_counts",
        "hashes",
        "keys",
        "languages",
        "translations",
    ):
        together = np.concatenate([getattr(documents, name) for _, documents in pieces])
        assert together.tolist() == [value for chunk in CHUNKS for value in getattr(chunk, name).tolist()]
    assert all(len(documents.tokens) <= piece or len(documents.documents) == 1 for _, documents in pieces)


def test_a_split(tmp_path: Path) -> None:
    writer = SplitWriter(tmp_path / "train", np.dtype(np.uint16), 100)
    for chunk in CHUNKS:
        writer.add(chunk)
    counts, hashes = writer.finish()
    tokens = [token for chunk in CHUNKS for token in chunk.tokens.tolist()]
    assert (counts.tokens, counts.documents, counts.sentences, counts.duplicates) == (47, 5, 8, 0)
    assert hashes.tolist() == [1, 2, 5, 7, 32]
    read = {name: np.load(tmp_path / "train" / f"{name}.npy") for name in ("tokens", "documents", "sentences", "word_starts")}
    assert read["tokens"].tolist() == tokens
    assert read["documents"].tolist() == [0, 7, 9, 10, 42, 47]
    assert read["sentences"].tolist() == [0, 3, 7, 9, 10, 11, 12, 42, 47]
    assert writer.frequencies.tolist() == [tokens.count(token) for token in range(100)]
    writer = SplitWriter(tmp_path / "again", np.dtype(np.uint16), 100)
    writer.add(CHUNKS[0])
    writer.add(CHUNKS[0])
    assert writer.finish()[0].duplicates == 2
