"""clock.jsonl: the decisions of the clock of a run with ``trainer.hours``, a JSON object a line.

A line is on the disk before its decision takes effect. So a run that was killed finds what it decided after its last checkpoint,
and takes the same steps again. Checkpoints hold the decisions up to their step, too.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from plmtrain.data.loading.plan import Decision
from plmtrain.errors import CheckpointError
from plmtrain.files import disk_errors, read_bytes, write_bytes_atomically
from plmtrain.json_files import LARGEST, DamagedJson, as_record, parse
from plmtrain.settings.base import MOST


class DecisionLog:
    """The decisions of a run's clock. Only the main process has one.

    Args:
        path: the file; it is created by the first decision.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, phases: int) -> tuple[Decision, ...]:
        """Return all decisions. A truncated last line never took effect, and is passed over.

        Args:
            phases: how many the run has.

        Raises:
            CheckpointError: if another line is damaged, or the decisions are not those of a clock.
        """
        if not self.path.exists():
            return ()
        try:
            with disk_errors(self.path):
                if (size := self.path.stat().st_size) > LARGEST:
                    raise DamagedJson(f"{size:,} bytes, more than decisions need")
                *lines, _ = read_bytes(self.path).split(b"\n")
            decisions = tuple(as_record(parse(line), Decision) for line in lines)
            _require_sound(decisions, phases)
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
        with disk_errors(self.path, len(line)), self.path.open("ab") as file:
            file.write(line)
            file.flush()  # a disk that takes only a part of the line is asked again, and then says why
            os.fsync(file.fileno())


def _line(decision: Decision) -> bytes:
    return json.dumps(asdict(decision), allow_nan=False).encode() + b"\n"


def _require_sound(decisions: Sequence[Decision], phases: int) -> None:
    """Refuse decisions that no clock makes.

    Raises:
        DamagedJson: if there is one.
    """
    before = 0
    for number, decision in enumerate(decisions, start=1):
        costs = decision.costs
        numbers = (decision.position, decision.hours, decision.used, *costs.step, costs.validation, costs.checkpoint)
        demands = {
            "a number is not finite": all(map(math.isfinite, numbers)),
            "the first step is not 0": number > 1 or decision.step == 0,
            "step is less than in the line before": decision.step >= before,
            f"total_steps is not from step, or 1, to {MOST}": max(1, decision.step) <= decision.total_steps <= MOST,
            f"length is not from 1 to {MOST}": 1 <= decision.length <= MOST,
            "position is not within length": 0 <= decision.position <= decision.length,
            "hours is not above 0": decision.hours > 0,
            "used is less than 0": decision.used >= 0,
            f"costs.step has not {phases} numbers, of one phase each": len(costs.step) == phases,
            "a cost is not above 0": all(1 / MOST <= seconds <= MOST for seconds in costs.step),
            "a cost is less than 0": costs.validation >= 0 and costs.checkpoint >= 0,
        }
        for fault, is_sound in demands.items():
            if not is_sound:
                raise DamagedJson(f"line {number}: {fault}")
        before = decision.step


def recorded(saved: Sequence[Decision], logged: Sequence[Decision]) -> tuple[Decision, ...]:
    """Return the decisions of a run: those in its checkpoint, and those that were made after it was saved.

    Args:
        saved: those of the checkpoint.
        logged: those of the file. It goes on from ``saved``, unless it was removed or is that of another run: then only decisions
            about later steps count.
    """
    if tuple(logged[: len(saved)]) == tuple(saved):
        return tuple(logged)
    return (*saved, *(decision for decision in logged if decision.step > saved[-1].step))
