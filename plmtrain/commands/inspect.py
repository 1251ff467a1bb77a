"""``plmtrain inspect``: what an objective or a task does to the user's own data, in colour, and how often. No model is built."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from plmtrain.console import counted
from plmtrain.data.corpus.updates import OnUpdate
from plmtrain.data.loading.order import plan_phases
from plmtrain.data.rows.rows import RowSource, rows_of
from plmtrain.keyed_random import Keys
from plmtrain.programs.inspection import Inspection
from plmtrain.programs.program import AnyProgram
from plmtrain.runs.command_settings import settings_for
from plmtrain.runs.corpus import corpus_of
from plmtrain.runs.labelled_examples import LabelledExamples
from plmtrain.runs.material import Material
from plmtrain.runs.preparation import preparation_report
from plmtrain.runs.prepared_text import PreparedText
from plmtrain.settings.run import FinetuneSettings, PretrainSettings, RunSettings
from plmtrain.text.tokenizer import Tokenizer

_STYLES = {
    "plain": "",
    "special": "dim",
    "masked": "bold yellow",
    "random": "bold red",
    "kept": "bold green",
    "inserted": "bold magenta",
    "deleted": "red strike",
    "moved": "blue",
    "target": "bold cyan",
    "blank": "dim",
}
_SHOWN_ROWS = 3
_MEASURED_ROWS = 2048
_DRAWN_STEPS = 10_000


def run(arguments: list[str]) -> int:
    """Show some rows, then rates and histograms over many."""
    settings = settings_for("inspect", arguments)
    with preparation_report() as on_update:
        material = _material(settings, on_update)
    settings, phases = material.settings, plan_phases(material.settings.trainer)
    console = Console()
    if isinstance(material, LabelledExamples):
        console.print(Text(material.opening()))
    for phase, program in zip(phases, material.programs(phases), strict=True):
        rows = material.rows("train", program, phase)
        if len(phases) > 1:
            console.rule(f"phase {phase.index + 1}: steps {phase.first_step + 1} to {phase.end}")
        steps = range(phase.first_step, min(phase.end, phase.first_step + _DRAWN_STEPS))
        parts = program.parts
        drawn = Counter(parts.draw(settings.seed, step).name for step in steps)
        idle = program.settings.idle_keys() if parts.names else ()
        for part in parts.members:
            if f"shares.{part.name}" in idle:
                continue  # in this phase no step trains it
            if part.name is not None:
                console.rule(
                    f"{part.name}: trained in {drawn[part.name]:,} of the first {counted(len(steps), 'step')}", align="left"
                )
            _show(console, part.program, rows_of(rows, part.name), settings.seed, material.tokenizer)
    return 0


def _material(settings: RunSettings, on_update: OnUpdate) -> Material:
    """Load the data of the run; what only training derives from text is not made."""
    if isinstance(settings, FinetuneSettings):
        return LabelledExamples.of(settings, on_update)
    assert isinstance(settings, PretrainSettings)
    return PreparedText(settings, corpus_of(settings, on_update))


def _show(console: Console, program: AnyProgram, rows: RowSource, seed: int, tokenizer: Tokenizer) -> None:
    count = min(_MEASURED_ROWS, len(rows))
    inspections = [
        program.inspect(program.collate(rows.fetch(part), Keys(seed, np.zeros(len(part), np.int64), part)))
        for part in np.array_split(np.arange(count), max(1, count // 64))
    ]
    _draw_rows(console, inspections[0], tokenizer)
    for note in inspections[0].notes:
        console.print(Text(note))
    console.print(_rates(inspections, count))
    for table in _histograms(inspections):
        console.print(table)


def _draw_rows(console: Console, inspection: Inspection, tokenizer: Tokenizer) -> None:
    legend = Text("marks: ")
    used = {mark for row in inspection.rows for tokens in row.lines.values() for _, mark in tokens}
    for mark, style in _STYLES.items():
        if mark in used:
            legend.append(f" {mark} ", style=style)
    console.print(legend)
    for row in inspection.rows[:_SHOWN_ROWS]:
        table = Table(show_header=False, box=None, padding=(0, 1))
        table.add_column(style="bold", no_wrap=True)
        table.add_column(overflow="fold")
        for label, tokens in row.lines.items():
            line = Text()
            for piece, (_, mark) in zip(tokenizer.pieces([token for token, _ in tokens]), tokens, strict=True):
                line.append("·" if mark == "blank" else piece, style=_STYLES[mark])
                line.append(" ")
            table.add_row(label, line)
        console.print(table)
        console.print()


def _rates(inspections: list[Inspection], rows: int) -> Table:
    """Every rate over all rows, with its 95 % interval by the normal approximation."""
    table = Table(title=f"measured over {rows} rows", title_justify="left")
    for heading in ("rate", "share", "±", "counted"):
        table.add_column(heading, justify="left" if heading == "rate" else "right")
    for name in inspections[0].rates:
        part = sum(inspection.rates[name][0] for inspection in inspections)
        whole = sum(inspection.rates[name][1] for inspection in inspections)
        share = part / whole if whole else 0.0
        margin = 1.96 * (share * (1 - share) / whole) ** 0.5 if whole else 0.0
        table.add_row(name, f"{share:.4f}", f"{margin:.4f}", f"{part:,} of {whole:,}")
    return table


def _histograms(inspections: list[Inspection]) -> list[Table]:
    tables = []
    for name in inspections[0].histograms:
        counts: Counter[int] = Counter()
        for inspection in inspections:
            counts.update(dict(inspection.histograms[name]))
        tables.append(_histogram(name, counts))
    return tables


def _histogram(name: str, counts: Mapping[int, int]) -> Table:
    table = Table(title=name, title_justify="left", show_header=False, box=None)
    most = max(counts.values(), default=1)
    for value in sorted(counts):
        table.add_row(str(value), f"{counts[value]:,}", "█" * max(1, round(40 * counts[value] / most)))
    return table
