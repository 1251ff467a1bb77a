"""One process to a run folder, and no dead one in the way.

The lock is a file that names its owner: host, process id, and when the process started, since ids are used again. On the
owner's own machine the kernel says whether it lives. From elsewhere (another node, another container) nobody can, so the owner
gives a sign of life every few seconds by touching the file, and counts as gone after two minutes of silence.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

from plmtrain.errors import PlmtrainError, SettingsError
from plmtrain.files import FolderLock, disk_errors, make_folder, temporary_name

BEAT = 15.0
"""Seconds between two signs of life."""
SILENCE = 120.0
"""Seconds without one after which an owner that cannot be seen from here counts as gone."""


@dataclass(frozen=True)
class Owner:
    """A process, so described that no other one is taken for it.

    Args:
        host: the machine's name.
        pid: the process id.
        started: when it started, in the kernel's ticks since boot; empty where that is unknown.
        boot: the machine's boot; process ids mean nothing across two.
        namespace: the process namespace (container) in which the id counts.
        since: when it took the lock, in seconds since 1970.
        token: a random word: two locks of one process differ.
    """

    host: str
    pid: int
    started: str = ""
    boot: str = ""
    namespace: str = ""
    since: float = 0.0
    token: str = ""

    @classmethod
    def this_process(cls) -> Owner:
        """The process that asks."""
        pid = os.getpid()
        return cls(socket.gethostname(), pid, _process(pid)[1], _boot(), _namespace(), time.time(), secrets.token_hex(8))

    @property
    def visible(self) -> bool:
        """Whether its process id means the same here as where it was written."""
        return (self.host, self.boot, self.namespace) == (socket.gethostname(), _boot(), _namespace())

    def __str__(self) -> str:
        minutes, seconds = divmod(max(0, int(time.time() - self.since)), 60)
        hours, minutes = divmod(minutes, 60)
        age = f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
        return f"process {self.pid} on {self.host} (for {age})"


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _process(pid: int) -> tuple[bool, str]:
    """Whether a process of this machine is alive, and when it started (in ticks; empty where /proc does not say)."""
    try:
        # The name in parentheses may hold anything; fields count from behind it.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return fields[0] not in ("Z", "X"), fields[19]
    except (FileNotFoundError, ProcessLookupError):
        if Path("/proc/self/stat").exists():
            return False, ""
    except (OSError, IndexError):
        pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False, ""
    except PermissionError:
        pass
    return True, ""


def is_alive(owner: Owner, silent_for: float) -> bool:
    """Whether an owner must be respected.

    Args:
        owner: who holds the lock.
        silent_for: seconds since its last sign of life.
    """
    if not owner.visible:
        return silent_for < SILENCE
    alive, started = _process(owner.pid)
    if not alive:
        return False
    if owner.started and started:
        return owner.started == started
    # Somebody has that id, but whether it is the owner only the signs of life can tell.
    return silent_for < SILENCE


class RunLock:
    """The lock of a run folder, held inside a ``with`` statement.

    Args:
        path: the lock's file.
        report: told, in one line, if the lock of a dead process is taken over.
    """

    def __init__(self, path: Path, report: Callable[[str], None] = lambda line: None) -> None:
        self.path = path
        self._report = report
        self._owner: Owner | None = None
        self._released = threading.Event()

    def __enter__(self) -> RunLock:
        """Take the lock.

        Raises:
            SettingsError: if another process holds it.
            DiskError: if the folder cannot be written to.
        """
        make_folder(self.path.parent)
        with disk_errors(self.path), self._guard():
            other, silent_for = self._read()
            if other is not None and is_alive(other, silent_for):
                raise self._refusal(other, silent_for)
            if self.path.exists():
                self._report(f"took over the lock of {other or 'an unknown process'}, which is gone")
                self.path.unlink()
            self._owner = Owner.this_process()
            self._create(self._owner)
        threading.Thread(target=self._beat, name="run lock", daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._released.set()
        # A child that was forked inside the statement leaves it too, but the lock is its parent's.
        if self._owner is not None and self._owner.pid == os.getpid():
            with suppress(OSError, PlmtrainError), self._guard():
                if self.is_ours():
                    self.path.unlink()

    def holder(self) -> Owner | None:
        """The living process that holds the lock, if one does; nothing is written to find out."""
        try:
            beat = self.path.stat().st_mtime
            owner = Owner(**json.loads(self.path.read_text()))
        except (OSError, ValueError, TypeError):
            return None
        return owner if is_alive(owner, time.time() - beat) else None

    def require_ours(self) -> None:
        """Refuse to write what another process has taken over, say while this one was suspended for long.

        Raises:
            SettingsError: if the lock was taken by this process and is another one's now.
        """
        if self._owner is not None and self._owner.pid == os.getpid() and not self._released.is_set():
            other, silent_for = self._read()
            if other not in (None, self._owner):
                raise self._refusal(other, silent_for)

    def is_ours(self) -> bool:
        """Whether the lock is still this process's: after a long silence another machine may have taken it over."""
        return self._owner is not None and self._read()[0] == self._owner

    def _guard(self) -> FolderLock:
        """Reading and replacing are one act: of many that find a dead owner's lock, one takes it."""
        return FolderLock(self.path.with_name(f".{self.path.name}.guard"))

    def _read(self) -> tuple[Owner | None, float]:
        """The owner that the file names, and seconds since its last sign of life by the clock of the file's own disk."""
        try:
            beat = self.path.stat().st_mtime
            owner = Owner(**json.loads(self.path.read_text()))
        except (OSError, ValueError, TypeError):
            return None, 0.0
        probe = temporary_name(self.path)
        try:
            probe.touch()
            now = probe.stat().st_mtime
            probe.unlink()
        except OSError:
            now = time.time()
        return owner, now - beat

    def _create(self, owner: Owner) -> None:
        """Create the file with its content, or fail if there is one (even where the guard cannot work)."""
        whole = temporary_name(self.path)
        try:
            whole.write_text(json.dumps(asdict(owner)) + "\n")
            self.path.hardlink_to(whole)
        except FileExistsError:
            other, silent_for = self._read()
            raise self._refusal(other, silent_for) from None
        finally:
            whole.unlink(missing_ok=True)

    def _refusal(self, owner: Owner | None, silent_for: float) -> SettingsError:
        seen = owner is None or owner.visible
        wait = (
            "" if seen else f", or in {SILENCE - silent_for:.0f} s if it is gone (its last sign of life: {silent_for:.0f} s ago)"
        )
        return SettingsError(
            f"the run is in use by {owner or 'another process'}",
            str(self.path.parent),
            f"start it again when that process has ended{wait}; or choose another name=",
        )

    def _beat(self) -> None:
        while not self._released.wait(BEAT):
            with suppress(OSError):
                if not self.is_ours():
                    return
                os.utime(self.path)
