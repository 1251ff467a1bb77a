"""clock.jsonl: the decisions of the clock of a run with ``trainer.hours``, a JSON object a line.

A line is on the disk before its decision takes effect. So a run that was killed finds what it decided after its last checkpoint,
and takes the same steps again. Checkpoints hold the decisions up to their step, too.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from plmtrain.data.loading.plan import Decision
from plmtrain.errors import CheckpointError
from plmtrain.files import disk_errors, read_bytes, write_bytes_atomically
from plmtrain.json_files import DamagedJson, as_record, parse


class DecisionLog:
    """The decisions of a run's clock. Only the main process has one.

    Args:
        path: the file; it is created by the first decision.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> tuple[Decision, ...]:
        """Return all decisions. A truncated last line never took effect, and is passed over.

        Raises:
            CheckpointError: if another line is damaged.
        """
        if not self.path.exists():
            return ()
        with disk_errors(self.path):
            *lines, _ = read_bytes(self.path).split(b"\n")
        try:
            decisions = tuple(as_record(parse(line), Decision) for line in lines)
        except DamagedJson as error:
            raise CheckpointError(
                f"the record of the clock's decisions is damaged: {error}",
                str(self.path),
                "restore it from a copy; or remove it, and the clock decides again from the last checkpoint on",
            ) from error
        return decisions

    def replace(self, decisions: Sequence[Decision]) -> None:
        """Write all decisions anew, where they are not what the file holds."""
        text = b"".join(map(_line, decisions))
        with disk_errors(self.path, len(text)):
            if not self.path.exists() or read_bytes(self.path) != text:
                write_bytes_atomically(self.path, text)

    def append(self, decision: Decision) -> None:
        """Add a decision; when this returns, it is on the disk.

        Raises:
            DiskError: if the disk refuses.
        """
        line = _line(decision)
        with disk_errors(self.path, len(line)), self.path.open("ab", buffering=0) as file:
            file.write(line)
            os.fsync(file.fileno())


def _line(decision: Decision) -> bytes:
    return json.dumps(asdict(decision), allow_nan=False).encode() + b"\n"


def recorded(saved: Sequence[Decision], logged: Sequence[Decision]) -> tuple[Decision, ...]:
    """Return the decisions of a run: those in its checkpoint, and those that were made after it was saved."""
    return (*saved, *(decision for decision in logged if not saved or decision.step > saved[-1].step))
