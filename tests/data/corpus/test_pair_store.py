"""Pairs on disk: made once, whole or not at all, small, and read as rows."""

from __future__ import annotations

import copy
import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from support.children import in_child

from plmtrain import faults, stopping
from plmtrain.data.corpus import pair_store
from plmtrain.data.corpus.pair_cutting import Cutting
from plmtrain.data.corpus.pair_store import PairStore, pairs_of
from plmtrain.data.corpus.prepare import prepare
from plmtrain.data.corpus.store import Store
from plmtrain.data.rows.pair_rows import PairSource
from plmtrain.data.splits import Split
from plmtrain.errors import DataError, DiskError, Stopped
from plmtrain.files import sha256
from plmtrain.settings.data import DataSettings
from plmtrain.text.tokenizer import Tokenizer

NEXT = Cutting(relation="next", tokens=29, copies=3, short_share=0.1)
ORDER = Cutting(relation="order", tokens=29, copies=3, short_share=0.1)


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    yield
    faults.plan("")
    stopping.forget()


@pytest.fixture
def prepared(settings: Callable[..., DataSettings], tokenizer: Tokenizer) -> Path:
    return prepare(settings(), tokenizer, minimum_validation_tokens=16, on_update=lambda _: None)


def made(folder: Path, cutting: Cutting = NEXT, split: Split = "train") -> PairStore:
    return pairs_of(Store.open(folder, split), cutting, lambda _: None)


def folders(prepared: Path) -> list[str]:
    return sorted(place.name for place in (prepared / "pairs").iterdir() if place.is_dir())


def test_pairs_are_small_and_described(prepared: Path) -> None:
    pairs = made(prepared)
    described = json.loads((pairs.folder / "manifest.json").read_text())
    assert described["pairs"] == len(pairs)
    assert described["changed"] == pairs.changed.sum()
    assert {name: sha256(pairs.folder / name) for name in described["bytes"]} == described["sha256"]
    arrays = [*pairs.starts, *pairs.lengths, pairs.changed]
    assert sum(array.dtype.itemsize for array in arrays) <= 21
    assert len(made(prepared, split="validation")) > 0


def test_pairs_are_made_once_for_each_way_of_cutting(prepared: Path) -> None:
    first = made(prepared)
    changed = (first.folder / "manifest.json").stat().st_mtime_ns
    assert made(prepared).folder == first.folder
    assert (first.folder / "manifest.json").stat().st_mtime_ns == changed
    others = [made(prepared, ORDER), made(prepared, Cutting(**{**vars(NEXT), "tokens": 13})), made(prepared, split="validation")]
    assert len({first.folder, *(other.folder for other in others)}) == 4


def test_rows_are_the_segments(prepared: Path) -> None:
    store = Store.open(prepared, "train")
    pairs = made(prepared)
    source = PairSource(store, pairs, 29)
    indices = np.arange(len(source))[::-1]
    rows = source.fetch(indices)
    assert rows.tokens.shape == (len(source), 29)
    assert rows.labels is not None
    for row, index in enumerate(indices):
        starts, lengths = ([int(array[index]) for array in arrays] for arrays in (pairs.starts, pairs.lengths))
        expected = [store.tokens[start : start + length] for start, length in zip(starts, lengths, strict=True)]
        length = int(rows.lengths[row])
        assert rows.tokens[row, :length].tolist() == np.concatenate(expected).tolist()
        assert rows.segments[row, :length].tolist() == [0] * lengths[0] + [1] * lengths[1]
        assert rows.labels[row] == pairs.changed[index]
    starts = np.concatenate([store.word_starts[start : start + length] for start, length in zip(starts, lengths, strict=True)])
    assert rows.word_starts[-1, :length].tolist() == starts.tolist()
    again = copy.copy(source)  # as it is sent to a worker
    assert np.array_equal(again.fetch(indices).tokens, rows.tokens)


def test_how_much_is_cut_at_a_time_changes_nothing(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for the order of the rows: within a document the copies follow one another."""
    first = made(prepared)
    arrays = [np.array(array) for array in (*first.starts, *first.lengths, first.changed)]
    for place in first.folder.iterdir():
        place.unlink()
    monkeypatch.setattr(pair_store, "_PIECE", 100)
    second = made(prepared)
    for before, after in zip(arrays, (*second.starts, *second.lengths, second.changed), strict=True):
        assert np.array_equal(before, after)


@pytest.mark.parametrize("point", ["prep.pairs@0", "prep.cache_commit"])
def test_killed_anywhere(prepared: Path, point: str) -> None:
    child = in_child(lambda: made(prepared), point)
    child.join()
    assert child.exitcode == -signal.SIGKILL
    (left,) = folders(prepared)
    assert left.endswith(".tmp"), "the fault came too early to prove anything"
    assert len(made(prepared)) > 0
    assert not [name for name in folders(prepared) if name.endswith(".tmp")]


def test_stopped_at_a_safe_point(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair_store, "_PIECE", 100)
    child = in_child(lambda: made(prepared), "prep.pairs@2:term")
    child.join()
    assert child.exitcode == Stopped.exit_code
    assert folders(prepared) == []


def test_four_at_once(prepared: Path) -> None:
    children = [in_child(lambda: made(prepared)) for _ in range(4)]
    for child in children:
        child.join(30)
    assert [child.exitcode for child in children] == [0] * 4
    assert len(folders(prepared)) == 1


def test_a_disk_that_refuses(prepared: Path) -> None:
    faults.plan("prep.pairs@0:enospc")
    with pytest.raises(DiskError) as caught:
        made(prepared)
    assert "needed" in caught.value.what
    assert folders(prepared) == []


@pytest.mark.parametrize("damage", ["cut off", "missing", "no manifest"])
def test_damaged_pairs_are_made_anew(prepared: Path, damage: str) -> None:
    pairs = made(prepared)
    before = np.array(pairs.starts[0])
    file = pairs.folder / ("manifest.json" if damage == "no manifest" else "first.npy")
    if damage == "cut off":
        file.write_bytes(file.read_bytes()[:-8])
    else:
        file.unlink()
    assert np.array_equal(made(prepared).starts[0], before)


def test_one_document_has_no_random_segments_even_if_it_is_there_twice(
    settings: Callable[..., DataSettings], tokenizer: Tokenizer, texts: list[str], tmp_path: Path
) -> None:
    for number, text in (("one", texts[:1] * 2), ("two", texts[:3])):
        (tmp_path / f"{number}.jsonl").write_text("".join(json.dumps({"text": each}) + "\n" for each in text))
    one, two = (str(tmp_path / f"{number}.jsonl") for number in ("one", "two"))
    folder = prepare(
        settings(files=(two,), validation_files=(one,)), tokenizer, minimum_validation_tokens=16, on_update=lambda _: None
    )
    assert len(made(folder)) > 0
    with pytest.raises(DataError, match="the held-out text has 1") as caught:
        made(folder, split="validation")
    assert "validation_files" in caught.value.remedy
    folder = prepare(
        settings(files=(one,), validation_files=(two,)), tokenizer, minimum_validation_tokens=16, on_update=lambda _: None
    )
    with pytest.raises(DataError, match="the training text has 1") as caught:
        made(folder)
    assert "objective=sop" in caught.value.remedy
    assert len(made(folder, ORDER)) > 0, "an order needs one document"


@pytest.mark.parametrize("cutting", [NEXT, ORDER])
def test_of_sentences_alone_nothing_follows(
    settings: Callable[..., DataSettings], tokenizer: Tokenizer, tmp_path: Path, cutting: Cutting
) -> None:
    (tmp_path / "lines.txt").write_text("\n".join(f"Ka tolo misen runs kata number {number}." for number in range(60)) + "\n")
    data = settings(type="text", files=(str(tmp_path / "lines.txt"),), document_per="line")
    folder = prepare(data, tokenizer, minimum_validation_tokens=16, on_update=lambda _: None)
    with pytest.raises(DataError, match="no document of the training text has two sentences"):
        made(folder, cutting)


def test_repeated_documents_are_known_by_their_tokens(
    settings: Callable[..., DataSettings], tokenizer: Tokenizer, texts: list[str], tmp_path: Path
) -> None:
    (tmp_path / "twice.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts[:5] * 3))
    held = tmp_path / "held.jsonl"
    held.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts[5:9]))
    data = settings(files=(str(tmp_path / "twice.jsonl"),), validation_files=(str(held),))
    folder = prepare(data, tokenizer, minimum_validation_tokens=16, on_update=lambda _: None)
    store, pairs = Store.open(folder, "train"), made(folder, Cutting(**{**vars(NEXT), "copies": 20}))
    documents = [np.searchsorted(store.documents, starts, side="right") - 1 for starts in pairs.starts]
    random = pairs.changed
    assert np.all(documents[0][random] % 5 != documents[1][random] % 5)
    assert len(set(documents[1][random])) == 15
