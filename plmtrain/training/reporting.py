"""Everything that hears of a run's progress, behind one face: metrics.jsonl, the progress line, the tracker, incidents."""

from __future__ import annotations

from collections.abc import Mapping

from plmtrain.files import make_folder, write_json_atomically
from plmtrain.training.metrics_log import MetricsLog
from plmtrain.training.progress_line import ProgressLine
from plmtrain.training.run_folder import RunFolder
from plmtrain.training.trackers import Tracker


class RunReporter:
    """Tells what happens in a run. Only the main process has one.

    Args:
        folder: the run's.
        metrics: where every record is kept.
        line: what a person watches.
        tracker: where records go besides.
    """

    def __init__(self, folder: RunFolder, metrics: MetricsLog, line: ProgressLine, tracker: Tracker) -> None:
        self._folder = folder
        self._metrics = metrics
        self._line = line
        self._tracker = tracker

    def step(self, done: int) -> None:
        """A step was taken."""
        self._line.step(done)

    def record(self, record: Mapping[str, float]) -> None:
        """Something was measured."""
        self._metrics.write(record)
        self._line.record(record)
        self._tracker.log(record)

    def incident(self, step: int, facts: Mapping[str, object]) -> None:
        """An update was not applied: keep what tells which rows it was, and with which noise."""
        folder = make_folder(self._folder.path / "incidents")
        write_json_atomically(folder / f"step-{step:08d}.json", {"step": step, **facts})
        self._line.note(f"step {step}: the gradient was not finite; the update was not applied, see incidents/")

    def note(self, text: str) -> None:
        """A line for the person."""
        self._line.note(text)

    def close(self) -> None:
        """Nothing more will be told."""
        self._line.close()
        self._tracker.finish()
        self._metrics.close()
