"""A lock that admits one process to a run folder, and does not outlive a dead one.

The lock is a file that names its owner: host, process id, and the process's start time, since ids are reused. On the owner's own
machine the kernel knows whether it is alive. From elsewhere (another node, another container) that is unknown, so the owner
touches the file every few seconds, and counts as gone after two minutes without a heartbeat.
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
from plmtrain.json_files import DamagedJson, read_record

BEAT = 15.0
"""Seconds between two heartbeats."""
SILENCE = 120.0
"""Seconds without a heartbeat after which an owner that is not visible from here counts as gone."""


@dataclass(frozen=True)
class Owner:
    """A process, described so that no other process can be mistaken for it.

    Args:
        host: the machine's name.
        pid: the process id.
        started: its start time, in the kernel's ticks since boot; empty if unknown.
        boot: the machine's boot; process ids of different boots are unrelated.
        namespace: the process namespace (container) of the id.
        since: when it took the lock, in seconds since 1970.
        token: a random word, which distinguishes two locks of one process.
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
        """Describe the current process."""
        pid = os.getpid()
        return cls(socket.gethostname(), pid, _process(pid)[1], _boot(), _namespace(), time.time(), secrets.token_hex(8))

    @property
    def visible(self) -> bool:
        """Whether its process id has the same meaning here as where it was written."""
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
    """Return whether a process of this machine is alive, and its start time (in ticks; empty if /proc does not have it)."""
    try:
        # The name in parentheses may contain anything; the fields are counted from the end of it.
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
    """Return whether an owner counts as alive.

    Args:
        owner: the holder of the lock.
        silent_for: seconds since its last heartbeat.
    """
    if not owner.visible:
        return silent_for < SILENCE
    alive, started = _process(owner.pid)
    if not alive:
        return False
    if owner.started and started:
        return owner.started == started
    # A process has that id; only the heartbeat can tell whether it is the owner.
    return silent_for < SILENCE


class RunLock:
    """The lock of a run folder, held inside a ``with`` statement.

    Args:
        path: the lock's file.
        report: called with one line if the lock of a dead process is taken over.
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
                if self.path.is_dir():
                    raise SettingsError("there is a folder in the place of the run's lock", str(self.path), "remove it")
                self._report(f"took over the lock of {other or 'an unknown process'}, which is gone")
                self.path.unlink()
            self._owner = Owner.this_process()
            self._create(self._owner)
        threading.Thread(target=self._beat, name="run lock", daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._released.set()
        # A child that was forked inside the statement leaves it too, but the lock belongs to its parent.
        if self._owner is not None and self._owner.pid == os.getpid():
            with suppress(OSError, PlmtrainError), self._guard():
                if self.is_ours():
                    self.path.unlink()

    def holder(self) -> Owner | None:
        """Return the living process that holds the lock, if there is one; nothing is written."""
        try:
            beat = self.path.stat().st_mtime
            owner = read_record(self.path, Owner)
        except (OSError, DamagedJson):
            return None
        return owner if is_alive(owner, time.time() - beat) else None

    def silence(self) -> float:
        """Return the seconds since the last heartbeat; 0 if nothing holds the lock."""
        try:
            return max(0.0, time.time() - self.path.stat().st_mtime)
        except OSError:
            return 0.0

    def require_ours(self) -> None:
        """Raise an error if another process has taken the lock over, for example while this one was suspended.

        Raises:
            SettingsError: if this process took the lock and another one has it now.
        """
        if self._owner is not None and self._owner.pid == os.getpid() and not self._released.is_set():
            other, silent_for = self._read()
            if other not in (None, self._owner):
                raise self._refusal(other, silent_for)

    def is_ours(self) -> bool:
        """Return whether this process still has the lock: after a long silence another machine may have taken it over."""
        return self._owner is not None and self._read()[0] == self._owner

    def _guard(self) -> FolderLock:
        """Return the guard that makes reading and replacing atomic: of many that see a dead owner's lock, one takes it."""
        return FolderLock(self.path.with_name(f".{self.path.name}.guard"))

    def _read(self) -> tuple[Owner | None, float]:
        """Return the owner that the file names, and seconds since its last heartbeat by the clock of the file's own disk."""
        try:
            beat = self.path.stat().st_mtime
            owner = read_record(self.path, Owner)
        except (OSError, DamagedJson):
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
        """Create the file with its content, or fail if it exists (even where the guard does not work)."""
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
        visible = owner is None or owner.visible
        wait = (
            "" if visible else f", or in {SILENCE - silent_for:.0f} s if it is gone (its last heartbeat: {silent_for:.0f} s ago)"
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
