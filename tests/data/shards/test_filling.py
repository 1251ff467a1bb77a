"""The cache of a stream: what is in it, that it stays within its bound, and what is refused."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plmtrain import stopping
from plmtrain.data.corpus import documents
from plmtrain.data.corpus.encoding import content_hash, running_text
from plmtrain.data.corpus.store import Store
from plmtrain.data.rows.blocks import Blocks
from plmtrain.data.shards import shard_cache
from plmtrain.data.shards.ahead import Ahead, AheadPlan, Filling, Turns
from plmtrain.data.shards.shard_cache import AwaitedShards, ShardCache, ShardRecord, write_failure
from plmtrain.data.shards.shard_files import ShardFiles
from plmtrain.data.shards.shard_order import ROWS, ShardOrder, shards_in_turn
from plmtrain.data.shards.sharded_rows import BlockShape, ShardedRows
from plmtrain.errors import DataError, DistributedError, PlmtrainError, Stopped
from plmtrain.runs.streamed_text import _left_out
from plmtrain.settings.data import DataSettings
from plmtrain.text.tokenizer import Tokenizer

Write = Callable[[Path, list[str]], Path]
SHARDS, SEED = 6, 5


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "_CHUNK", 1500)


@pytest.fixture
def data(tmp_path: Path, texts: list[str], write_corpus: Write) -> DataSettings:
    """Six files of six documents each."""
    (tmp_path / "corpus").mkdir()
    for number in range(SHARDS):
        write_corpus(tmp_path / "corpus" / f"{number}.jsonl", texts[number * 6 : number * 6 + 6])
    return DataSettings(name="stream", type="stream", files=(str(tmp_path / "corpus" / "*.jsonl"),))


@pytest.fixture
def plan(tmp_path: Path, data: DataSettings, tokenizer: Tokenizer, texts: list[str]) -> Callable[..., AheadPlan]:
    """What a run with these settings prepares; the first text of the second file is held out."""
    np.save(tmp_path / "held.npy", np.array([content_hash(texts[6])], np.uint64))

    def make(limit: int = 10**9) -> AheadPlan:
        cache = ShardCache(ShardFiles.of(data), "made with", tmp_path / "cache", tmp_path / "run" / "shards.jsonl")
        cache.folder.mkdir(exist_ok=True)
        return AheadPlan(cache, SEED, tokenizer, tmp_path / "held.npy", limit, 1)

    return make


Plan = Callable[..., AheadPlan]


def filled(plan: AheadPlan, reading: Turns) -> Filling:
    filling = Filling(plan)
    while filling.advance(reading):
        pass
    return filling


def on_disk(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_a_shard_has_the_documents_of_its_file_but_for_those_held_out(plan: Plan, tokenizer: Tokenizer, texts: list[str]) -> None:
    made = plan()
    filled(made, Turns(0, 0))
    shards = AwaitedShards(made.cache)
    for number in range(SHARDS):
        store = shards.store(number)
        assert isinstance(store, Store)
        own = [text for text in texts[number * 6 : number * 6 + 6] if text != texts[6]]
        end = tokenizer.vocabulary["sep"]
        expected = [[*tokenizer.encode([running_text(text, "bert")])[0][0].tolist(), end] for text in own]
        assert [store.tokens[a:b].tolist() for a, b in zip(store.documents, store.documents[1:], strict=False)] == expected
        assert shards.tokens(number) == len(store)
    facts = ShardRecord(made.cache.record_path).of(made.cache.key(1))
    assert facts is not None
    assert facts.dropped == 1


@pytest.mark.parametrize("known", [True, False])
def test_the_cache_keeps_within_its_bound_and_ahead_of_training(plan: Plan, known: bool) -> None:
    """Whether it is known what a shard takes, or only about."""
    filled(plan(), Turns(0, 0))
    sizes = [ShardRecord(plan().cache.record_path).of(plan().cache.key(number)) for number in range(SHARDS)]
    made = plan(2 * max(facts.bytes for facts in sizes if facts is not None) + 100)
    if not known:
        shutil.rmtree(made.cache.folder)
        made.cache.record_path.unlink()
    filling, turns = filled(plan(made.limit), Turns(0, 0)), shards_in_turn(SEED, SHARDS, 0, 2 * SHARDS)
    for turn in range(SHARDS + 3):
        while filling.advance(Turns(turn, turn)):
            assert on_disk(made.cache.folder) <= filling.size <= made.limit
        there = {number for number in range(SHARDS) if made.cache.place(number).exists()}
        assert there == set(turns[turn : turn + 2]) if known else {turns[turn]} <= there <= set(turns[turn : turn + 2])
        while filling.advance(Turns(turn, turn + 1)):  # a step at the border of two shards
            pass
        assert {turns[turn], turns[turn + 1]} <= {number for number in range(SHARDS) if made.cache.place(number).exists()}


def test_what_an_ended_process_left_is_used_and_what_was_incomplete_is_not(plan: Plan) -> None:
    made = plan()
    filled(made, Turns(0, 0))
    times = {place: place.stat().st_mtime_ns for place in made.cache.folder.iterdir()}
    (made.cache.folder / "000001-0123456789abcdef.00000000.tmp" / "train").mkdir(parents=True)
    (made.cache.folder / "000001-0123456789abcdef").mkdir()
    made.cache.record_path.unlink()
    filled(made, Turns(0, 0))
    assert {place: place.stat().st_mtime_ns for place in made.cache.folder.iterdir()} == times
    assert len(made.cache.record_path.read_text().splitlines()) == SHARDS
    facts = made.cache.place(2) / "shard.json"
    whole = facts.read_text()
    facts.write_text(whole[:10])
    filled(made, Turns(0, 0))
    assert facts.read_text() == whole


def test_a_cache_that_cannot_hold_what_a_step_needs_is_refused(plan: Plan) -> None:
    with pytest.raises(DataError, match="no room for a file that a step needs") as raised:
        filled(plan(3000), Turns(0, 0))
    assert "raise data.cache_gb" in raised.value.remedy
    first, second = shards_in_turn(SEED, SHARDS, 0, 2)
    filled(plan(), Turns(0, 0))
    record = ShardRecord(plan().cache.record_path)
    sizes = [record.of(plan().cache.key(number)) for number in (first, second)]
    small = plan(sum(facts.bytes for facts in sizes if facts is not None) - 1)
    filling = filled(small, Turns(0, 0))  # one is enough as long as steps are within it
    assert small.cache.place(first).exists()
    with pytest.raises(DataError, match="beside the 1 file that the step reads, too"):
        filling.advance(Turns(0, 1))


def test_a_file_that_changed_is_refused(plan: Plan, tmp_path: Path, texts: list[str], write_corpus: Write) -> None:
    number = shards_in_turn(SEED, SHARDS, 0, 1)[0]
    path = tmp_path / "corpus" / f"{number}.jsonl"
    before, made = path.read_bytes(), plan()
    path.write_bytes(before + b"\n")
    with pytest.raises(DataError, match="a file of the stream changed during the run") as raised:
        filled(made, Turns(0, 0))
    assert raised.value.where == str(path)
    path.write_bytes(before)
    filled(plan(), Turns(0, 0))
    path.write_bytes(before.replace(b"ka", b"to"))  # of the same size, after the process was started anew
    changed = plan()
    with pytest.raises(DataError, match="a file of the stream changed during the run"):
        filled(changed, Turns(0, 0))
    assert not changed.cache.place(number).exists()
    path.write_bytes(before)  # restored: its content counts
    os.utime(path, ns=(1, 1))
    filled(plan(), Turns(0, 0))
    assert plan().cache.place(number).exists()


def test_a_file_that_cannot_be_read_is_refused_where_it_is_awaited(plan: Plan, tmp_path: Path) -> None:
    number = shards_in_turn(SEED, SHARDS, 0, 1)[0]
    (tmp_path / "corpus" / f"{number}.jsonl").write_text('{"text": "kalon"}\nno JSON\n')
    made = plan()
    with pytest.raises(DataError, match="JSON") as raised:
        filled(made, Turns(0, 0))
    write_failure(made.cache.failure_path, raised.value)
    with pytest.raises(DataError) as awaited:
        AwaitedShards(made.cache).store(number)
    assert str(awaited.value) == str(raised.value)


def test_a_file_that_loses_many_lines_is_told(
    plan: Plan, data: DataSettings, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with (tmp_path / "corpus" / "3.jsonl").open("a") as file:
        file.write("no JSON\n" * 2)
    made = plan()
    skipping = replace(made.cache.files, data=data.model_copy(update={"on_bad": "skip"}))
    made = replace(made, cache=replace(made.cache, files=skipping))
    filled(made, Turns(0, 0))
    told = "2 lines of 3.jsonl could not be read and are skipped: "
    assert [line[: len(told)] for line in capfd.readouterr().err.splitlines()] == [told]
    filled(made, Turns(0, 0))
    assert capfd.readouterr().err == ""
    assert _left_out(made.cache) == [
        "6 files prepared for training: 2 lines skipped, 1 document left out, since their text is held out"
    ]


@pytest.fixture
def begun(plan: Plan) -> Iterator[Callable[..., tuple[Ahead, AwaitedShards]]]:
    """The real process, and the shards as the process that trains awaits them."""
    started: list[Ahead] = []

    def begin(**changes: Any) -> tuple[Ahead, AwaitedShards]:
        made = replace(plan(), **changes)
        started.append(Ahead(made))
        return started[-1], AwaitedShards(made.cache, in_vain=started[-1].in_vain)

    yield begin
    for ahead in started:
        ahead.end()


Begin = Callable[..., tuple[Ahead, AwaitedShards]]


def test_the_process_ends_at_once_though_a_loader_worker_holds_its_pipe(begun: Begin) -> None:
    ahead, shards = begun()
    ahead.reach(Turns(0, 0))
    shards.wait_for(shards_in_turn(SEED, SHARDS, 0, 1)[0])
    worker = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    worker.start()
    try:
        began = time.monotonic()
        ahead.end()
        assert ahead._process.exitcode == 0
        assert time.monotonic() - began < 3
    finally:
        worker.kill()
        worker.join()


@pytest.mark.parametrize("alone", [True, False])
def test_a_stop_is_heard_while_a_shard_is_awaited(begun: Begin, monkeypatch: pytest.MonkeyPatch, alone: bool) -> None:
    """By the process that trains, or by all of them as an answer of the one that prepares."""
    ahead, shards = begun()
    monkeypatch.setattr(ahead, "_alone", alone)
    monkeypatch.setattr(stopping, "_requested", signal.SIGTERM)
    others = AwaitedShards(shards._cache)
    with pytest.raises(Stopped, match="stopped by SIGTERM"):
        shards.wait_for(0)  # nobody told what to prepare
    if not alone:
        with pytest.raises(Stopped, match="stopped by SIGTERM"):
            others.wait_for(0)


def test_a_cause_that_cannot_be_written_is_told(begun: Begin, tmp_path: Path) -> None:
    _, shards = begun(held_out=tmp_path / "missing.npy")
    shards._cache.failure_path.mkdir()
    with pytest.raises(PlmtrainError) as raised:
        shards.wait_for(0)
    assert "missing.npy" in str(raised.value)


def test_the_end_of_the_process_is_seen_by_the_one_that_started_it(begun: Begin) -> None:
    ahead, shards = begun()
    ahead._process.kill()
    with pytest.raises(DistributedError, match="the process that prepares text ahead of training ended"):
        shards.wait_for(0)


def test_nobody_who_prepares_is_noticed(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[Path] = []
    monkeypatch.setattr(shard_cache, "_LOST", 0.3)
    monkeypatch.setattr(shard_cache, "_PATIENCE", 0.1)
    made = plan()
    with pytest.raises(DistributedError, match="the process that prepares text ahead of training ended"):
        AwaitedShards(made.cache, waited.append).tokens(3)
    assert waited == [made.cache.files.paths[3]]


class Told:
    """Hears what the process that prepares would hear."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, Any]] = []

    def reach(self, turns: Turns) -> None:
        self.heard.append(("reach", tuple(turns)))

    def ask(self, turn: int) -> None:
        self.heard.append(("ask", turn))


def test_rows_are_those_of_their_files(plan: Plan, tokenizer: Tokenizer, texts: list[str]) -> None:
    """Against the files encoded here, at the border of two files, and with what is the same for all rows."""
    made, told = plan(), Told()
    filled(made, Turns(0, 0))
    shards = AwaitedShards(made.cache)
    opening = Blocks(shards.store(0), 16, tells_frequencies=True)
    source = ShardedRows(shards, BlockShape(16, 14), partial(Blocks, length=16, advance=14), opening, told)  # type: ignore[arg-type]
    source.order = ShardOrder(SEED, SHARDS, source.rows_in)
    end = tokenizer.vocabulary["sep"]
    tokens = []
    for number in range(SHARDS):
        own = [text for text in texts[number * 6 : number * 6 + 6] if text != texts[6]]
        encoded = [tokenizer.encode([running_text(text, "bert")])[0][0].tolist() for text in own]
        tokens.append([token for document in encoded for token in (*document, end)])
    counts = [len(range(0, len(own) - 15, 14)) for own in tokens]
    first = shards_in_turn(SEED, SHARDS, 0, 1)[0]
    source.reach(0, 4)
    source.reach(counts[first] - 2, 4)
    assert told.heard == [("reach", turns) for turns in ((0, 0), (0, 0), (0, 0), (0, 1))]
    keys = source.order.keys(SEED, 0, sum(counts))
    assert sorted(keys.samples.tolist()) == [number * ROWS + row for number, count in enumerate(counts) for row in range(count)]
    border = keys.samples[counts[first] - 2 :][:4]
    rows = source.fetch(border)
    for row, (number, place) in enumerate(zip(*divmod(border, ROWS), strict=True)):
        assert rows.tokens[row].tolist() == tokens[number][place * 14 : place * 14 + 16]
    assert rows.text is not None
    assert rows.frequencies is not None
    assert rows.text[np.arange(len(tokens[0]))].tolist() == tokens[0]
    shares = np.bincount([token for token in tokens[0] if token != end], minlength=len(rows.frequencies))
    np.testing.assert_allclose(rows.frequencies, shares / shares.sum())
