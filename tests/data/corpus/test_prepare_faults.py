"""Preparations that are killed, stopped, raced or run out of disk: what is there is whole, and the next start needs no help."""

from __future__ import annotations

import hashlib
import multiprocessing
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.children import in_child

from plmtrain import faults, stopping
from plmtrain.data.corpus import documents
from plmtrain.data.corpus.corpus_manifest import load
from plmtrain.data.corpus.prepare import prepare
from plmtrain.data.corpus.trained_tokenizers import tokenizer_for
from plmtrain.errors import DiskError, DistributedError, Stopped
from plmtrain.settings.data import DataSettings
from plmtrain.settings.tokenizer import TokenizerSettings
from plmtrain.text.tokenizer import Tokenizer

Make = Callable[..., DataSettings]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "_CHUNK", 1500)


@pytest.fixture
def fault() -> Iterator[Callable[[str], None]]:
    yield faults.plan
    faults.plan("")
    stopping.forget()


def preparing(data: DataSettings, tokenizer: Tokenizer) -> Callable[[], Path]:
    return lambda: prepare(data, tokenizer, minimum_validation_tokens=16, on_update=lambda _: None)


def prepared(data: DataSettings) -> list[Path]:
    return sorted(set(Path(data.prepared_dir).glob("made-up-*")) - set(leftovers(data)))


def leftovers(data: DataSettings) -> list[Path]:
    return [place for place in Path(data.prepared_dir).rglob("*") if place.name.endswith((".tmp", ".replaced"))]


def assert_whole(folder: Path, tokenizer: Tokenizer) -> None:
    for split, counts in load(folder, tokenizer.digest).splits.items():
        for name, digest in counts.sha256.items():
            assert hashlib.sha256((folder / split / name).read_bytes()).hexdigest() == digest


@pytest.mark.parametrize("point", ["prep.encode@0", "prep.encode@4", "prep.cache_commit"])
def test_killed_anywhere(settings: Make, tokenizer: Tokenizer, point: str) -> None:
    data = settings()
    killed = in_child(preparing(data, tokenizer), point)
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    assert not prepared(data)
    assert leftovers(data), "the fault came too early to prove anything"
    folder = preparing(data, tokenizer)()
    assert_whole(folder, tokenizer)
    assert not leftovers(data)


def test_killed_at_any_time(settings: Make, tokenizer: Tokenizer) -> None:
    data = settings()
    delay = random.Random(0)
    for _ in range(12):
        child = in_child(preparing(data, tokenizer))
        time.sleep(delay.uniform(0, 0.12))
        child.kill()
        child.join()
        for folder in prepared(data):
            assert_whole(folder, tokenizer)
    assert_whole(preparing(data, tokenizer)(), tokenizer)


def test_helpers_end_with_a_parent_that_is_killed(settings: Make, tokenizer: Tokenizer) -> None:
    data = settings(processes=2)
    child = in_child(preparing(data, tokenizer), "prep.encode@1:hang")
    wait_for(lambda: bool(leftovers(data)))
    time.sleep(0.5)
    helpers = children_of(child.pid or 0)
    assert len(helpers) >= 2
    child.kill()
    child.join()
    wait_for(lambda: not any(Path(f"/proc/{helper}/cmdline").exists() for helper in helpers))


def wait_for(fact: Callable[[], bool], seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < until, "this took too long"
        time.sleep(0.02)


def children_of(parent: int) -> list[int]:
    found = []
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = place.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == parent:
            found.append(int(place.parent.name))
    return found


def test_four_at_once_and_one_is_killed(settings: Make, tokenizer: Tokenizer) -> None:
    data = settings()
    first = in_child(preparing(data, tokenizer), "prep.encode@3:stop")
    wait_for(lambda: bool(leftovers(data)))
    others = [in_child(preparing(data, tokenizer)) for _ in range(3)]
    time.sleep(0.3)
    assert not prepared(data)
    assert all(other.is_alive() for other in others), "they wait for the first"
    first.kill()
    for child in (first, *others):
        child.join(30)
    assert [child.exitcode for child in others] == [0, 0, 0]
    (folder,) = prepared(data)
    assert_whole(folder, tokenizer)
    assert not leftovers(data)


def test_four_at_once_make_it_once(settings: Make, tokenizer: Tokenizer, tmp_path: Path) -> None:
    data = settings()
    made = tmp_path / "made"

    def work() -> None:
        def report(moment: object) -> None:
            if getattr(moment, "stage", "") == "write" and not getattr(work, "told", False):
                work.told = True  # type: ignore[attr-defined]
                with made.open("a") as file:
                    file.write("once\n")

        prepare(data, tokenizer, minimum_validation_tokens=16, on_update=report)

    children = [in_child(work) for _ in range(4)]
    for child in children:
        child.join(30)
    assert [child.exitcode for child in children] == [0] * 4
    assert made.read_text() == "once\n"


@pytest.mark.parametrize("point", ["prep.encode@2:term", "prep.encode@2:usr1"])
def test_a_signal_stops_at_a_safe_point(settings: Make, tokenizer: Tokenizer, point: str, fault: Callable[[str], None]) -> None:
    data = settings()
    child = in_child(preparing(data, tokenizer), point)
    child.join(20)
    assert child.exitcode == Stopped.exit_code
    assert not prepared(data)
    assert not leftovers(data)


@pytest.mark.parametrize("point", ["prep.encode@2:enospc", "prep.cache_commit:enospc", "prep.encode@0:erofs"])
def test_a_disk_that_refuses(settings: Make, tokenizer: Tokenizer, point: str, fault: Callable[[str], None]) -> None:
    data = settings()
    fault(point)
    with pytest.raises(DiskError) as caught:
        preparing(data, tokenizer)()
    assert "needed" in caught.value.what
    assert "free" in caught.value.what
    assert caught.value.where.startswith(data.prepared_dir)
    assert not prepared(data)
    assert not leftovers(data)


def test_a_helper_that_is_killed(settings: Make, tokenizer: Tokenizer) -> None:
    def kill_one(moment: object) -> None:
        if getattr(moment, "stage", "") == "encode":
            for child in multiprocessing.active_children():
                child.kill()

    data = settings(processes=2)
    with pytest.raises(DistributedError, match="ended with exit code -9"):
        prepare(data, tokenizer, minimum_validation_tokens=16, on_update=kill_one)
    assert not multiprocessing.active_children()
    assert not prepared(data)
    assert not leftovers(data)


def test_a_tokenizer_that_is_killed_is_trained_again(settings: Make) -> None:
    data = settings()
    made = TokenizerSettings(type="wordpiece", family="bert", vocab_size=120, lowercase=False)
    killed = in_child(lambda: tokenizer_for(data, made, lambda _: None), "prep.tokenizer")
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    assert leftovers(data)
    first = tokenizer_for(data, made, lambda _: None)
    assert not leftovers(data)
    assert tokenizer_for(data, made, lambda _: None).digest == first.digest
