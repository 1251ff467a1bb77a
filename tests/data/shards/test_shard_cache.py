"""Files that the processes of a stream write for each other: the record of shards, why one failed, the lock."""

from __future__ import annotations

import fcntl
import json
import multiprocessing
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from plmtrain.data.shards import shard_cache
from plmtrain.data.shards.shard_cache import ShardFacts, ShardRecord, read_failure, write_failure
from plmtrain.data.shards.shard_order import ROWS
from plmtrain.data.shards.shard_preparation import facts_in
from plmtrain.errors import DiskError
from plmtrain.files import FolderLock


def test_a_failure_is_told_as_what_it_is(tmp_path: Path) -> None:
    assert read_failure(tmp_path / "none.json") is None
    write_failure(tmp_path / "failure.json", DiskError("full", "here", "free some space"))
    told = read_failure(tmp_path / "failure.json")
    assert isinstance(told, DiskError)
    assert (told.what, told.where, told.remedy) == ("full", "here", "free some space")


def test_a_record_survives_a_line_that_was_cut(tmp_path: Path) -> None:
    path = tmp_path / "run" / "shards.jsonl"
    facts = [ShardFacts(key=str(n), sha256="0", tokens=n, bytes=n, documents=n, dropped=0, skipped=0) for n in range(3)]
    reader = ShardRecord(path)
    assert reader.of("0") is None
    ShardRecord(path).add(facts[0])
    with path.open("ab") as file:
        file.write(b'{"key": "1", "tok')
    assert reader.of("0") == facts[0]
    assert reader.of("1") is None
    writer = ShardRecord(path)
    for each in facts:
        writer.add(each)
    assert [reader.of(str(n)) for n in range(3)] == [ShardRecord(path).of(str(n)) for n in range(3)] == facts


DAMAGES: dict[str, Any] = {
    "a number in quotes": {"tokens": "5"},
    "fewer than no tokens": {"tokens": -5},
    "fewer than no bytes": {"bytes": -(10**12)},
    "more tokens than a shard may have": {"tokens": ROWS},
    "a truth value": {"skipped": True},
    "no key": {"key": None},
}


def facts_as_json(damage: dict[str, Any]) -> str:
    return json.dumps({**asdict(ShardFacts(key="0", sha256="0", tokens=1, bytes=1, documents=1, dropped=0, skipped=0)), **damage})


@pytest.mark.parametrize(
    "text", [*map(facts_as_json, DAMAGES.values()), "[" * 100_000, "[]", "3", "{}"], ids=lambda text: text[:9]
)
def test_what_is_not_sound_is_passed_over(text: str, tmp_path: Path) -> None:
    (tmp_path / "shards.jsonl").write_text(f"{text}\n{facts_as_json({'key': '1'})}\n")
    record = ShardRecord(tmp_path / "shards.jsonl")
    assert record.of("0") is None
    assert record.of("1") is not None
    for name, read in (
        ("shard.json", lambda: facts_in(tmp_path)),
        ("failure.json", lambda: read_failure(tmp_path / "failure.json")),
    ):
        (tmp_path / name).write_text(text)
        assert read() is None


def test_who_looks_for_the_lock_does_not_look_like_its_holder(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.touch()
    look = partial(shard_cache._is_held, lock)
    with lock.open("r+") as file:
        fcntl.lockf(file, fcntl.LOCK_SH)  # as another process does while it looks
        assert elsewhere(look) is False
    with FolderLock(lock):
        assert elsewhere(look) is True
    assert elsewhere(look) is False


def elsewhere(look: Callable[[], bool]) -> bool:
    """What a process of its own returns: the locks of one process do not exclude each other."""
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=lambda: theirs.send(look()))
    child.start()
    child.join()
    return bool(ours.recv())
