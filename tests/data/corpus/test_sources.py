"""Sources are known by their content, and hashed again only when they may have changed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from plmtrain.data.corpus import sources as module
from plmtrain.data.corpus.sources import Sources, find_sources
from plmtrain.data.corpus.updates import PreparationUpdate
from plmtrain.errors import DataError
from plmtrain.settings.data import DataSettings

Make = Callable[..., DataSettings]


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Three files, long unchanged as far as this test is concerned."""
    made = [tmp_path / f"{name}.jsonl" for name in ("b", "a", "c")]
    for number, file in enumerate(made):
        file.write_text(f'{{"text": "document {number}"}}\n' * (number + 1))
    return made


@pytest.fixture
def look(tmp_path: Path, settings: Make, files: list[Path], monkeypatch: pytest.MonkeyPatch) -> Callable[[], tuple[Sources, int]]:
    """Finds the files, and says how many bytes were hashed for it."""
    monkeypatch.setattr(module, "_FRESH", -(10**12))
    data = settings(files=[str(file) for file in files])

    def act() -> tuple[Sources, int]:
        moments: list[PreparationUpdate] = []
        found = find_sources(data, tmp_path / "memory.json", moments.append)
        return found, len({moment.bytes for moment in moments})

    return act


def test_hashes_are_of_the_content_in_the_order_given(look: Callable[[], tuple[Sources, int]], files: list[Path]) -> None:
    found, _ = look()
    assert [source.path for source in found.described] == [str(file) for file in files]
    assert [source.sha256 for source in found.described] == [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    assert found.total_bytes == sum(file.stat().st_size for file in files)
    assert found.digest("validation") == []
    assert found.digest("train") == found.digest() == [["train", source.sha256] for source in found.described]


def test_only_what_may_have_changed_is_hashed_again(look: Callable[[], tuple[Sources, int]], files: list[Path]) -> None:
    first, hashed = look()
    assert hashed == 3
    again, hashed = look()
    assert (again, hashed) == (first, 0)
    files[1].touch()
    touched, hashed = look()
    assert (touched.described, hashed) == (first.described, 1)
    before = files[2].stat()
    files[2].write_bytes(files[2].read_bytes().replace(b"document", b"DOCUMENT"))
    os.utime(files[2], ns=(before.st_atime_ns, before.st_mtime_ns))
    edited, hashed = look()
    assert hashed == 1
    assert edited.described[2].sha256 != first.described[2].sha256
    assert edited.described[:2] == first.described[:2]


def test_a_damaged_memory_costs_time_only(look: Callable[[], tuple[Sources, int]], tmp_path: Path) -> None:
    first, _ = look()
    for damage in ("", "[]", "{", '{"x": 3}', "\x00"):
        (tmp_path / "memory.json").write_text(damage)
        assert look() == (first, 3)


def test_what_changed_just_now_is_not_remembered(settings: Make, files: list[Path], tmp_path: Path) -> None:
    """Another edit may fall into the same tick of the clock."""
    data = settings(files=[str(file) for file in files])
    for _ in range(2):
        moments: list[PreparationUpdate] = []
        find_sources(data, tmp_path / "memory.json", moments.append)
        assert len(moments) == 3


def test_a_change_is_seen_later(look: Callable[[], tuple[Sources, int]], files: list[Path]) -> None:
    found, _ = look()
    found.check_unchanged()
    files[0].write_bytes(files[0].read_bytes())
    with pytest.raises(DataError, match="changed while it was read"):
        found.check_unchanged()
    files[0].unlink()
    with pytest.raises(DataError):
        found.check_unchanged()


def test_a_file_that_cannot_be_read(settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: list[Path]) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match="Permission denied") as caught:
        find_sources(settings(files=[str(files[0])]), tmp_path / "memory.json", lambda _: None)
    assert caught.value.where == str(files[0])


def test_the_sample_is_found_once(settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "sample_texts", lambda: ("One text.", "Another."))
    data = settings(type="sample", files=())
    found = find_sources(data, tmp_path / "memory.json", lambda _: None)
    assert found.total_bytes == len("One text.Another.")
    monkeypatch.setattr(module, "sample_texts", lambda: pytest.fail("looked for again"))
    assert find_sources(data, tmp_path / "memory.json", lambda _: None) == found
