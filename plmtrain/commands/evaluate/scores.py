"""``plmtrain evaluate RUN scoring=...``: score a language model as it is, without training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from plmtrain.console import counted, print_json, tell, tell_whole
from plmtrain.runs.preparation import preparation_report
from plmtrain.settings.composing.arguments import parse_arguments

if TYPE_CHECKING:
    from plmtrain.scoring import Report
    from plmtrain.scoring.report import Score
    from plmtrain.settings.trainer import WantedPrecision

KEYS = ("scoring=", "scoring.")
"""How the overrides begin that ask for a score."""

_LARGE = 1e7
"""Larger numbers are written with a power of ten."""


def run_scores(folder: Path, arguments: Sequence[str], precision: WantedPrecision | None, json: bool) -> int:
    """Score a run or a Hugging Face folder.

    Args:
        folder: the folder of either.
        arguments: overrides of ``scoring`` and of the run's own settings.
        precision: of matrix products; None for the run's own.
        json: whether one JSON object is printed instead of a table.
    """
    from plmtrain.runs.scored import scored, scoring_settings

    options = parse_arguments(arguments)
    own = [text for text in options.overrides if text.startswith(KEYS)]
    settings = scoring_settings(own, options.config_dir)
    others = [text for text in options.overrides if text not in own]

    from plmtrain.scoring import score
    from plmtrain.training.progress import encode_floats

    with preparation_report() as on_update:
        subject = scored(folder, others, precision, on_update)
        report = score(settings, subject.subject)
    subject.group.close()
    if not subject.group.is_main:
        return 0
    if json:
        print_json(encode_floats({"run": str(folder), "step": subject.step, "scoring": settings.type, **report.values()}))
        return 0
    at = "" if subject.step is None else f" at step {subject.step}"
    tell(f"{folder}{at}: {settings.type.replace('_', ' ')}, {counted(report.examples, 'example')}, by {report.measured}")
    tell_whole(_table(report))
    tell(*report.notes)
    return 0


def _table(report: Report) -> Table:
    table = Table()
    for heading in ("file", "measure")[0 if report.by_file else 1 :]:
        table.add_column(heading)
    for heading in ("value", "standard error"):
        table.add_column(heading, justify="right")
    table.add_column("unit")
    for file, scores in (*report.by_file.items(), ("all", report.scores)):
        for one in scores:
            table.add_row(*([file] if report.by_file else []), *_cells(one))
    return table


def _cells(score: Score) -> tuple[str, str, str, str]:
    error = "" if score.error is None else f"± {_number(score.error)}"
    return score.name.replace("_", " "), _number(score.value), error, score.unit


def _number(value: float) -> str:
    """Return a number that fits a table; the perplexity of a word may have any size."""
    return f"{value:,.4f}" if abs(value) < _LARGE else f"{value:.4e}"
