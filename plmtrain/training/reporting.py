"""One interface to all outputs of a run's progress: metrics.jsonl, the progress line, the tracker, incidents."""

from __future__ import annotations

from collections.abc import Mapping

from plmtrain.files import make_folder, write_json_atomically
from plmtrain.training.metrics_log import MetricsLog
from plmtrain.training.progress_line import ProgressLine
from plmtrain.training.run_folder import RunFolder
from plmtrain.training.trackers import Tracker


class RunReporter:
    """Reports a run's progress. Only the main process has one.

    Args:
        folder: the run's folder.
        metrics: the file of all records.
        line: the progress line in the terminal.
        tracker: receives all records, too.
    """

    def __init__(self, folder: RunFolder, metrics: MetricsLog, line: ProgressLine, tracker: Tracker) -> None:
        self._folder = folder
        self._metrics = metrics
        self._line = line
        self._tracker = tracker

    def step(self, done: int) -> None:
        """Report that a step was taken."""
        self._line.step(done)

    def planned(self, steps: int) -> None:
        """Report the steps of the whole run, where the clock has changed them."""
        self._line.planned(steps)

    def record(self, record: Mapping[str, float]) -> None:
        """Report measurements."""
        self._metrics.write(record)
        self._line.record(record)
        self._tracker.log(record)

    def incident(self, step: int, facts: Mapping[str, object]) -> None:
        """Report an update that was not applied: save the samples of its batch, and the keys of their noise."""
        folder = make_folder(self._folder.path / "incidents")
        write_json_atomically(folder / f"step-{step:08d}.json", {"step": step, **facts})
        self._line.note(f"step {step}: the gradient was not finite; the update was not applied, see incidents/")

    def note(self, text: str) -> None:
        """Print a line above the progress line."""
        self._line.note(text)

    def close(self) -> None:
        """Close all outputs."""
        self._line.close()
        self._tracker.finish()
        self._metrics.close()
