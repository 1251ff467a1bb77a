"""One process to a run; the dead do not hold locks, and the living keep theirs."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from plmtrain.errors import SettingsError
from plmtrain.training import lock
from plmtrain.training.checkpoint_manifest import Identity
from plmtrain.training.lock import RunLock
from plmtrain.training.progress import Progress
from plmtrain.training.run_folder import RunFolder


def forked(action: Callable[[], None]) -> int:
    """Start a child that does something and exits with 0, or with an error's exit code."""
    if child := os.fork():
        return child
    try:
        action()
        os._exit(0)
    except SettingsError as error:
        os._exit(error.exit_code)
    except BaseException:
        os._exit(99)


def exit_code(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def holder(path: Path) -> int:
    """A child that holds the lock until it is killed."""
    reading, writing = os.pipe()

    def hold() -> None:
        with RunLock(path):
            os.write(writing, b"x")
            time.sleep(60)

    child = forked(hold)
    os.read(reading, 1)
    return child


def end(child: int) -> None:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def test_it_is_held_and_given_back(tmp_path: Path) -> None:
    path = tmp_path / "run" / "lock.json"
    with RunLock(path) as held:
        owner = json.loads(path.read_text())
        assert (owner["host"], owner["pid"]) == (socket.gethostname(), os.getpid())
        assert held.is_ours()
    assert not path.exists()
    with RunLock(path):
        pass


def test_who_was_suspended_for_too_long_writes_no_more(tmp_path: Path) -> None:
    """Another process took the run over: two writers would destroy each other's checkpoints."""
    folder = RunFolder(tmp_path / "run").create()
    with folder.lock():
        checkpoints = folder.checkpoints(2, Identity("suspended"))
        checkpoints.save(1, {"model": {"weight": torch.zeros(3)}}, Progress(step=1))
        owner = json.loads((folder.path / "lock.json").read_text())
        (folder.path / "lock.json").write_text(json.dumps({**owner, "token": "another", "pid": 1}))
        with pytest.raises(SettingsError, match="in use by process 1"):
            checkpoints.save(2, {"model": {"weight": torch.zeros(3)}}, Progress(step=2))
        assert [path.name for path in folder.checkpoints_path.iterdir()] == ["step-00000001"]
    assert (folder.path / "lock.json").exists()  # it is not ours to remove


def test_asking_who_holds_it_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "lock.json"
    assert RunLock(path).holder() is None
    assert list(tmp_path.iterdir()) == []
    child = holder(path)
    try:
        before = sorted(tmp_path.iterdir())
        owner = RunLock(path).holder()
        assert owner is not None
        assert owner.pid == child
        assert sorted(tmp_path.iterdir()) == before
    finally:
        end(child)
    assert RunLock(path).holder() is None


def test_a_living_owner_is_named(tmp_path: Path) -> None:
    path = tmp_path / "lock.json"
    child = holder(path)
    try:
        with pytest.raises(SettingsError) as caught, RunLock(path):
            pass
        assert caught.value.exit_code == 2
        assert f"process {child} on {socket.gethostname()}" in caught.value.what
        assert "0 s" in caught.value.what
        assert json.loads(path.read_text())["pid"] == child
    finally:
        end(child)


def test_a_stopped_owner_lives(tmp_path: Path) -> None:
    child = holder(tmp_path / "lock.json")
    try:
        os.kill(child, signal.SIGSTOP)
        with pytest.raises(SettingsError), RunLock(tmp_path / "lock.json"):
            pass
    finally:
        end(child)


@pytest.mark.parametrize("reaped", [True, False])
def test_a_dead_owners_lock_is_taken_over_with_a_line(tmp_path: Path, reaped: bool) -> None:
    child = holder(tmp_path / "lock.json")
    os.kill(child, signal.SIGKILL)
    os.waitid(os.P_PID, child, os.WEXITED | (0 if reaped else os.WNOWAIT))
    told: list[str] = []
    with RunLock(tmp_path / "lock.json", told.append) as held:
        assert held.is_ours()
    (line,) = told
    assert str(child) in line
    if not reaped:
        os.waitpid(child, 0)


def rewritten(path: Path, **facts: object) -> None:
    """Change what the lock says of its owner, keeping its last heartbeat."""
    beat = path.stat().st_mtime
    path.write_text(json.dumps({**json.loads(path.read_text()), **facts}))
    os.utime(path, (beat, beat))


def test_a_process_id_that_was_used_again_is_not_the_owner(tmp_path: Path) -> None:
    path = tmp_path / "lock.json"
    end(holder(path))
    rewritten(path, pid=os.getpid())
    told: list[str] = []
    with RunLock(path, told.append):
        assert told


@pytest.mark.parametrize("elsewhere", [{"host": "node17"}, {"namespace": "pid:[7]"}, {"boot": "another"}])
def test_an_owner_that_cannot_be_seen_counts_as_alive_until_it_was_silent(tmp_path: Path, elsewhere: dict[str, str]) -> None:
    path = tmp_path / "lock.json"
    end(holder(path))
    rewritten(path, **elsewhere)
    with pytest.raises(SettingsError) as caught, RunLock(path):
        pass
    assert "last heartbeat" in caught.value.remedy
    now = time.time()
    os.utime(path, (now, now - lock.SILENCE - 5))
    told: list[str] = []
    with RunLock(path, told.append):
        assert told


def test_a_living_owner_gives_signs_of_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lock.json"
    monkeypatch.setattr(lock, "BEAT", 0.01)
    with RunLock(path) as held:
        os.utime(path, (0, 0))
        deadline = time.monotonic() + 5
        while path.stat().st_mtime == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert path.stat().st_mtime > 0
        path.write_text(json.dumps({"host": "thief", "pid": 1}))
        assert not held.is_ours()
    assert path.exists(), "the lock of another owner is not removed"


def test_a_forked_child_does_not_give_its_parents_lock_back(tmp_path: Path) -> None:
    path = tmp_path / "lock.json"
    with RunLock(path):
        pid = os.fork()
        if pid == 0:
            try:
                raise RuntimeError
            except RuntimeError:
                child = True
        else:
            child = False
            os.waitpid(pid, 0)
            assert path.exists()
        if child:
            # Leave the statement as an error in a worker would, but not the test.
            held = RunLock(path)
            held._owner = lock.Owner(**{**json.loads(path.read_text())})
            held.__exit__(None, None, None)
            os._exit(0)


def test_a_folder_that_was_deleted_meanwhile_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "run" / "lock.json"
    with RunLock(path):
        for place in path.parent.iterdir():
            place.unlink()
        path.parent.rmdir()


@pytest.mark.parametrize("stale", [False, True])
def test_twenty_at_once(tmp_path: Path, stale: bool) -> None:
    path = tmp_path / "lock.json"
    if stale:
        end(holder(path))
    start_reading, start = os.pipe()
    end_reading, finish = os.pipe()
    done_reading, done = os.pipe()

    def compete() -> None:
        os.close(start)
        os.close(finish)
        os.read(start_reading, 1)
        try:
            with RunLock(path):
                os.write(done, b"w")
                os.read(end_reading, 1)
        except SettingsError as error:
            winner = json.loads(path.read_text())["pid"]
            os.write(done, b"l" if f"process {winner} on" in error.what else b"?")
            raise

    children = [forked(compete) for _ in range(20)]
    os.close(start)
    results = b""
    while len(results) < 20:
        results += os.read(done_reading, 20)
    os.close(finish)
    codes = [exit_code(child) for child in children]
    assert sorted(results) == sorted(b"w" + 19 * b"l")
    assert sorted(codes) == [0] + 19 * [2]
    assert [place.name for place in tmp_path.iterdir()] == [".lock.json.guard"]
