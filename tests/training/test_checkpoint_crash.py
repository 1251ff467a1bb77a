"""A checkpoint survives any instant's end: real SIGKILLs, a model of power cuts, and a look at the folder at every operation."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from plmtrain import faults
from plmtrain.training.checkpoint import Checkpoints
from plmtrain.training.checkpoint_manifest import Identity
from plmtrain.training.progress import Progress

RUN = Identity("run-a")
POINTS = ["save.open", "save.write", "save.fsync", "save.rename", "save.latest", "save.retention"]


def save(checkpoints: Checkpoints, step: int, size: int = 50) -> None:
    weights = {"weight": torch.full((size,), float(step)), "bias": torch.full((3,), float(step))}
    checkpoints.save(step, {"model": weights, "optimizer": {"moment": weights["weight"]}}, Progress(step=step), best_step=None)


def newest_step(folder: Path) -> int:
    """The newest step by the product's own search, its tensors compared."""
    checkpoint = Checkpoints(folder, 2, RUN).newest()
    if checkpoint is None:
        return 0
    for group in ("model", "optimizer"):
        for tensor in checkpoint.load(group).values():
            assert tensor.unique().tolist() == [checkpoint.step]
    return checkpoint.step


def complete(folder: Path) -> list[int]:
    """The complete checkpoints by a reading of the manifest that shares nothing with the product's."""
    steps = []
    for path in folder.glob("step-????????"):
        try:
            files = json.loads((path / "manifest.json").read_text())["files"]
            sound = all(
                hashlib.sha256((path / name).read_bytes()).hexdigest() == entry["sha256"] for name, entry in files.items()
            )
        except OSError:
            continue
        if sound:
            steps.append(int(path.name[5:]))
    return sorted(steps)


def killed_in_child(action: Callable[[], None]) -> None:
    """Run in a forked child, which must end by SIGKILL."""
    if (child := os.fork()) == 0:
        try:
            action()
        finally:
            os._exit(1)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_killed_at_a_point_of_a_save(tmp_path: Path, point: str, at: int) -> None:
    folder = tmp_path / "checkpoints"
    if point == "save.retention" and at <= 2:
        pytest.skip("nothing goes before the third save")

    def train() -> None:
        faults.plan(f"{point}@{at}:kill9")
        checkpoints = Checkpoints(folder, 2, RUN)
        for step in range(1, 9):
            save(checkpoints, step)

    killed_in_child(train)
    renamed = point in ("save.latest", "save.retention")
    assert newest_step(folder) == (at if renamed else at - 1)
    Checkpoints(folder, 2, RUN).clear_leftovers()
    assert not list(tmp_path.rglob("*.tmp"))
    checkpoints = Checkpoints(folder, 2, RUN)
    checkpoints.newest()
    save(checkpoints, 9)
    assert 9 in complete(folder)
    assert len(complete(folder)) == min(2, at + renamed)


def test_killed_at_any_time(tmp_path: Path) -> None:
    folder, draw, last = tmp_path / "checkpoints", random.Random(1), 1
    began = time.perf_counter()
    save(Checkpoints(folder, 2, RUN), 1, size=20_000)
    usual = time.perf_counter() - began
    for _ in range(25):
        reading, writing = os.pipe()
        if (child := os.fork()) == 0:
            os.write(writing, b"x")
            checkpoints = Checkpoints(folder, 2, RUN)
            checkpoints.clear_leftovers()
            found = checkpoints.newest()
            step = found.step if found else 0
            while True:
                step += 1
                save(checkpoints, step, size=20_000)
        os.read(reading, 1)
        os.close(reading)
        os.close(writing)
        time.sleep(draw.uniform(0, 4 * usual))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        told: list[str] = []
        Checkpoints(folder, 2, RUN).newest(report=told.append)
        assert not told, "a kill damages nothing"
        assert newest_step(folder) >= last
        last = newest_step(folder)
    assert last > 1


def test_killed_amid_a_removal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "checkpoints"

    def half(place: Path, ignore_errors: bool) -> None:
        next(place.iterdir()).unlink()
        os.kill(os.getpid(), signal.SIGKILL)

    def train() -> None:
        monkeypatch.setattr(shutil, "rmtree", half)
        checkpoints = Checkpoints(folder, 1, RUN)
        for step in (1, 2):
            save(checkpoints, step)

    killed_in_child(train)
    assert sorted(path.name for path in folder.glob("step-????????")) == ["step-00000002"]
    Checkpoints(folder, 2, RUN).clear_leftovers()
    assert [path.name for path in folder.iterdir()] == ["step-00000002"]


_watcher: Callable[[], None] | None = None


def _audit(event: str, arguments: tuple[object, ...]) -> None:
    global _watcher
    if _watcher is not None and event in ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "shutil.rmtree"):
        watcher, _watcher = _watcher, None
        try:
            watcher()
        finally:
            _watcher = watcher


@pytest.fixture
def watch() -> Iterator[Callable[[Callable[[], None]], None]]:
    """Have something called before every operation on files, as an inotify log would show it."""
    if not getattr(sys, "_plmtrain_audited", False):
        sys.addaudithook(_audit)  # it cannot be taken away again
        sys._plmtrain_audited = True  # type: ignore[attr-defined]

    def begin(watcher: Callable[[], None]) -> None:
        global _watcher
        _watcher = watcher

    yield begin
    global _watcher
    _watcher = None


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_never_fewer_than_promised(tmp_path: Path, keep: int, watch: Callable[[Callable[[], None]], None]) -> None:
    folder = tmp_path / "checkpoints"
    checkpoints = Checkpoints(folder, keep, RUN)
    saved, looks = 0, 0

    def look() -> None:
        nonlocal looks
        looks += 1
        assert len(complete(folder)) >= min(keep, saved)

    watch(look)
    for step in range(1, 7):
        save(checkpoints, step)
        saved = step
    assert looks > 100
    assert complete(folder) == list(range(7 - keep, 7))


class Disk:
    """What is on the disk after a power cut: only what was flushed, by inode.

    Args:
        root: the folder that is watched; it counts as flushed from the start.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files: dict[int, bytes] = {}
        self.folders: dict[int, dict[str, tuple[int, bool]]] = {}
        self._flush = os.fsync

    def fsync(self, descriptor: int) -> None:
        self._flush(descriptor)
        place, inode = Path(f"/proc/self/fd/{descriptor}").readlink(), os.fstat(descriptor).st_ino
        if place.is_dir():
            self.folders[inode] = {entry.name: (entry.inode(), entry.is_dir()) for entry in os.scandir(place)}
        else:
            self.files[inode] = place.read_bytes()

    def after_power_cut(self, target: Path, names_survive: bool) -> None:
        """Write what would be found.

        Args:
            target: where to write it.
            names_survive: whether names (which journalling file systems order) outlive the cut though not flushed, with files
                that were not flushed empty; else they are as they were when their folder was last flushed.
        """
        self._restore(self.root, self.root.stat().st_ino, target, names_survive)

    def _restore(self, live: Path, inode: int, target: Path, names_survive: bool) -> None:
        target.mkdir()
        entries = self.folders.get(inode, {})
        if names_survive:
            # A folder that is gone from sight has only its flushed names to go by.
            entries = {e.name: (e.inode(), e.is_dir()) for e in os.scandir(live)} if live.is_dir() else entries
        for name, (number, is_folder) in entries.items():
            if is_folder:
                self._restore(live / name, number, target / name, names_survive)
            else:
                (target / name).write_bytes(self.files.get(number, b""))


@pytest.mark.parametrize("names_survive", [False, True], ids=["flushed names", "live names"])
def test_power_cut_at_any_operation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, watch: Callable[[Callable[[], None]], None], names_survive: bool
) -> None:
    root = tmp_path / "run"
    root.mkdir()
    disk, saved, cuts = Disk(root), 0, 0

    def cut() -> None:
        nonlocal cuts
        cuts += 1
        found = tmp_path / f"cut-{cuts}"
        disk.after_power_cut(found, names_survive)
        Checkpoints(found / "checkpoints", 2, RUN).clear_leftovers()
        assert newest_step(found / "checkpoints") >= saved
        shutil.rmtree(found)

    monkeypatch.setattr(os, "fsync", disk.fsync)
    checkpoints = Checkpoints(root / "checkpoints", 2, RUN)
    watch(cut)
    for step in range(1, 5):
        save(checkpoints, step)
        saved = step
    checkpoints.save(4, {"model": {"weight": torch.full((5,), 4.0)}}, Progress(step=4))  # replaces what stands there
    assert cuts > 100


def test_what_was_logged_is_on_the_disk_before_the_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = tmp_path / "metrics.jsonl"
    metrics.write_text('{"step": 1}\n')
    disk = Disk(tmp_path)
    monkeypatch.setattr(os, "fsync", disk.fsync)
    there: list[bool] = []
    rename = Path.rename

    def spy(self: Path, target: Path) -> Path:
        if target.name == "step-00000001":
            there.append(disk.files.get(metrics.stat().st_ino) == metrics.read_bytes())
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", spy)
    save(Checkpoints(tmp_path / "checkpoints", 2, RUN, flushed_first=[metrics]), 1)
    assert there == [True]
