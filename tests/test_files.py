"""Writing that is whole or not there, and the lock between processes."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import tempfile
import time
from pathlib import Path

import pytest

from plmtrain import files
from plmtrain.errors import DiskError, NotRegularError
from plmtrain.files import FolderLock, atomic_folder, clear_leftovers, sha256, write_text_atomically


def names(folder: Path) -> list[str]:
    return sorted(place.name for place in folder.iterdir())


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b"
    with atomic_folder(target) as folder:
        (folder / "x").write_text("1")
        assert not target.exists()
    assert (target / "x").read_text() == "1"
    assert names(target.parent) == ["b"]


def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), atomic_folder(tmp_path / "b") as folder:
        (folder / "x").write_text(str(1 / 0))
    assert names(tmp_path) == []


def test_what_is_there_gives_way_only_if_it_may(tmp_path: Path) -> None:
    for text in ("1", "2"):
        with atomic_folder(tmp_path / "b", replace=True) as folder:
            (folder / "x").write_text(text)
    with pytest.raises(DiskError), atomic_folder(tmp_path / "b") as folder:
        (folder / "x").write_text("3")
    assert (tmp_path / "b" / "x").read_text() == "2"
    assert names(tmp_path) == ["b"]


def test_a_failed_rename_brings_the_old_folder_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with atomic_folder(tmp_path / "b") as folder:
        (folder / "x").write_text("old")
    rename = Path.rename

    def refuse(self: Path, target: Path) -> Path:
        if self.name.endswith(".tmp"):
            raise OSError(errno.EIO, "no")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(DiskError), atomic_folder(tmp_path / "b", replace=True) as folder:
        (folder / "x").write_text("new")
    assert (tmp_path / "b" / "x").read_text() == "old"


def test_leftovers_go_and_what_was_moved_aside_comes_back(tmp_path: Path) -> None:
    (tmp_path / "a.12345678.tmp").mkdir()
    (tmp_path / "a.12345678.tmp" / "x").touch()
    (tmp_path / "status.json.12345678.tmp").touch()
    (tmp_path / "lost.replaced").mkdir()
    (tmp_path / "there.replaced").mkdir()
    (tmp_path / "there").mkdir()
    (tmp_path / "mine.txt").touch()
    clear_leftovers(tmp_path)
    assert names(tmp_path) == ["lost", "mine.txt", "there"]


def test_a_full_disk_is_told_with_what_was_needed_and_what_is_free(tmp_path: Path) -> None:
    with pytest.raises(DiskError) as caught, atomic_folder(tmp_path / "b", needed=3 * 2**30):
        raise OSError(errno.ENOSPC, "full")
    assert "3.0 GiB needed" in caught.value.what
    assert "free" in caught.value.what
    assert str(tmp_path / "b") in caught.value.where


def test_free_room_is_counted_without_what_was_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "free_bytes", lambda path: 100 - len(names(path.parent)))
    with pytest.raises(DiskError, match="100 bytes free"), atomic_folder(tmp_path / "b"):
        raise OSError(errno.ENOSPC, "full")


def test_errors_of_what_is_read_are_not_taken_for_errors_of_the_disk(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    with pytest.raises(FileNotFoundError), atomic_folder(tmp_path / "target" / "b"):
        (tmp_path / "source" / "text.txt").read_text()


def test_a_file_is_replaced_or_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x"
    write_text_atomically(path, "eins")
    write_text_atomically(path, "zwei ✓")
    assert path.read_text(encoding="utf-8") == "zwei ✓"

    def refuse(descriptor: int) -> None:
        raise OSError(errno.EIO, "no")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(DiskError):
        write_text_atomically(path, "drei")
    assert path.read_text(encoding="utf-8") == "zwei ✓"
    assert names(tmp_path) == ["x"]


@pytest.mark.parametrize("size", [0, 1, files.CHUNK, files.CHUNK + 1])
def test_sha256_is_hashlibs(tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    (tmp_path / "x").write_bytes(content)
    assert sha256(tmp_path / "x") == hashlib.sha256(content).hexdigest()


def test_the_lock_excludes_processes(tmp_path: Path) -> None:
    counter, children = tmp_path / "counter", []
    counter.write_text("0")
    for _ in range(6):
        if (child := os.fork()) == 0:
            for _ in range(5):
                with FolderLock(tmp_path / "lock"):
                    value = int(counter.read_text())
                    time.sleep(0.001)
                    counter.write_text(str(value + 1))
            os._exit(0)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 6
    assert counter.read_text() == "30"


def test_the_lock_of_a_killed_holder_is_free_though_its_children_live(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    if (holder := os.fork()) == 0:
        lock = FolderLock(tmp_path / "lock")
        lock.__enter__()
        if (orphan := os.fork()) == 0:
            time.sleep(60)
            os._exit(0)
        os.write(writing, f"{orphan}\n".encode())
        time.sleep(60)
        os._exit(0)
    orphan = int(os.read(reading, 100))
    waited = []
    try:
        os.kill(holder, signal.SIGKILL)
        os.waitpid(holder, 0)
        with FolderLock(tmp_path / "lock", on_wait=lambda: waited.append(1)):
            pass
    finally:
        os.kill(orphan, signal.SIGKILL)
    assert not waited


@pytest.mark.parametrize("name", ["/dev/stdin", "/dev/fd/{}"])
def test_an_open_stream_is_no_file_even_where_it_leads_to_one(tmp_path: Path, name: str) -> None:
    (tmp_path / "text").write_text("abc")
    assert files.read_bytes(tmp_path / "text") == b"abc"
    with (tmp_path / "text").open() as stream:
        before = os.dup(0)
        os.dup2(stream.fileno(), 0)
        try:
            with pytest.raises(NotRegularError, match="an open stream"):
                files.read_bytes(Path(name.format(stream.fileno())))
        finally:
            os.dup2(before, 0)
            os.close(before)


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="there is no memory that is mounted as a folder")
def test_a_file_in_memory_is_read() -> None:
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as file:
        file.write(b"abc")
        file.flush()
        assert files.read_bytes(Path(file.name)) == b"abc"
