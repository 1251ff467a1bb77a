"""``plmtrain inspect``: what an objective or a task does to the user's own data, in colour, and how often. No model is built."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from rich.table import Table
from rich.text import Text

from plmtrain.console import QuietConsole, counted
from plmtrain.data.corpus.updates import OnUpdate
from plmtrain.data.loading.order import plan_phases
from plmtrain.data.rows.rows import RowSource, order_of, rows_of
from plmtrain.errors import SettingsError, TooLittleText
from plmtrain.keyed_random import Keys
from plmtrain.programs.inspection import Inspection
from plmtrain.programs.program import AnyProgram
from plmtrain.runs.command_settings import settings_for
from plmtrain.runs.corpus import corpus_of
from plmtrain.runs.labelled_examples import LabelledExamples
from plmtrain.runs.material import Material
from plmtrain.runs.preparation import preparation_report
from plmtrain.runs.prepared_text import PreparedText
from plmtrain.runs.whole_text import WholeText, given_data
from plmtrain.settings.composing.arguments import parse_arguments
from plmtrain.settings.run import FinetuneSettings, PretrainSettings, RunSettings
from plmtrain.text.tokenizer import Tokenizer

_MARKS = {
    "plain": ("", ""),
    "special": ("dim", ""),
    "masked": ("bold yellow", "_"),
    "random": ("bold red", "!"),
    "kept": ("bold green", "="),
    "inserted": ("bold magenta", "+"),
    "deleted": ("red strike", "-"),
    "moved": ("blue", "~"),
    "target": ("bold cyan", "*"),
    "boundary": ("bold magenta", "^"),
    "asked": ("bold yellow", "?"),
    "blank": ("dim", "·"),
}
"""The style of each mark, and the sign before the token where there is no colour."""

_IN_PLACE = ("asked", "blank")
"""Marks whose sign stands in the token's place, with colour and without."""

_SHOWN_ROWS = 3
_MEASURED_ROWS = 2048
_DRAWN_STEPS = 10_000
_FEWEST_MEASURED = 64
"""Fewer rows are corrupted several times, as in that many epochs."""

_OVERRIDE = re.compile(r"[+~]*[A-Za-z_][A-Za-z0-9_./@-]*=|~")


def run(arguments: list[str]) -> int:
    """Show some rows, then rates and histograms over many: of the run's data, or of texts among the arguments."""
    words, file = _without_file(arguments)
    options = parse_arguments(words)
    texts = [word for word in options.overrides if _is_text(word)]
    settings = settings_for("inspect", [word for word in options.overrides if not _is_text(word)], options.config_dir)
    if texts and file is not None:
        raise SettingsError("there are texts and a file", f"command line: --file {file}", "give one of them")
    with TemporaryDirectory(prefix="plmtrain-inspect-") as folder:
        with preparation_report() as on_update:
            material = _material(settings, texts, file, Path(folder), on_update)
        try:
            _show_phases(material)
        except TooLittleText:
            if isinstance(material, WholeText) or not isinstance(settings, PretrainSettings):
                raise
            if settings.data.type in ("mix", "stream"):
                raise
            with preparation_report() as on_update:
                material = WholeText.prepared(settings, settings.data, Path(folder), on_update)
            print("too little text for a run: all of it is shown, and nothing is held out")
            _show_phases(material)
    return 0


def _without_file(arguments: list[str]) -> tuple[list[str], str | None]:
    """Return the arguments without ``--file FILE``, and the file."""
    words = list(arguments)
    if "--file" not in words:
        return words, None
    at = words.index("--file")
    if at + 1 == len(words):
        raise SettingsError("--file needs a file", "command line: --file", "write --file FILE, or --file - for standard input")
    return words[:at] + words[at + 2 :], words[at + 1]


def _is_text(word: str) -> bool:
    """Return whether an argument is a text to inspect: several words, or such as no setting is written in, without ``KEY=``."""
    return not _OVERRIDE.match(word) and (not word.isascii() or " " in word.strip())


def _material(settings: RunSettings, texts: list[str], file: str | None, folder: Path, on_update: OnUpdate) -> Material:
    """Load the data of the run, or the given texts; what only training derives from text is not made."""
    if isinstance(settings, FinetuneSettings):
        if texts or file is not None:
            what = f"the rows of task={settings.task.name} have answers, which a text alone has not"
            raise SettingsError(what, "the text to inspect", "write a table: data.files=[train.tsv]")
        return LabelledExamples.of(settings, on_update)
    assert isinstance(settings, PretrainSettings)
    if texts or file is not None:
        return WholeText.prepared(settings, given_data(settings.data, texts, file, folder), folder, on_update)
    try:
        return PreparedText(settings, corpus_of(settings, on_update))
    except TooLittleText:
        if settings.data.type == "mix":
            raise
        return WholeText.prepared(settings, settings.data, folder, on_update)


def _show_phases(material: Material) -> None:
    settings, phases = material.settings, plan_phases(material.settings.trainer)
    programs = material.programs(phases)
    rows_of_phases = [material.rows("train", program, phase) for phase, program in zip(phases, programs, strict=True)]
    console = QuietConsole()
    if isinstance(material, LabelledExamples):
        console.print(Text(material.opening()))
    elif isinstance(material, PreparedText) and (shares := material.shares()):
        console.print(Text("\n".join(shares)))
    for phase, program, rows in zip(phases, programs, rows_of_phases, strict=True):
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


def _show(console: QuietConsole, program: AnyProgram, rows: RowSource, seed: int, tokenizer: Tokenizer) -> None:
    count = min(_MEASURED_ROWS, len(rows))
    epochs = max(1, _FEWEST_MEASURED // count)
    epoch, index = (numbers.reshape(-1) for numbers in np.indices((epochs, count)))
    if (own := order_of(rows)) is not None:  # each text with its share
        mixed = own.keys(seed, 0, epochs * count)
        epoch, index = mixed.epochs, mixed.samples
    inspections = [
        program.inspect(program.collate(rows.fetch(index[part]), Keys(seed, epoch[part], index[part])))
        for part in np.array_split(np.arange(epochs * count), max(1, epochs * count // 64))
    ]
    _draw_rows(console, inspections[0], tokenizer)
    for note in inspections[0].notes:
        console.print(Text(note))
    measured = f"{count} row{'s' * (count > 1)}" + f" in {epochs} epochs" * (epochs > 1)
    console.print(_rates(inspections, measured))
    for table in _histograms(inspections):
        console.print(table)


def _draw_rows(console: QuietConsole, inspection: Inspection, tokenizer: Tokenizer) -> None:
    used = {mark for row in inspection.rows for tokens in row.lines.values() for _, mark in tokens}
    coloured = console.color_system is not None and not console.no_color
    console.print(_legend([mark for mark in _MARKS if mark in used], coloured))
    for row in inspection.rows[:_SHOWN_ROWS]:
        table = Table(show_header=False, box=None, padding=(0, 1))
        table.add_column(style="bold", no_wrap=True)
        table.add_column(overflow="fold")
        for label, tokens in row.lines.items():
            line = Text()
            for piece, (_, mark) in zip(tokenizer.pieces([token for token, _ in tokens]), tokens, strict=True):
                style, sign = _MARKS[mark]
                line.append(sign if mark in _IN_PLACE else piece if coloured else sign + piece, style=style)
                line.append(" ")
            table.add_row(label, line)
        console.print(table)
        console.print()


def _legend(marks: list[str], coloured: bool) -> Text:
    """Name the marks in their styles; without colour, by the signs before the tokens."""
    legend = Text("marks: ")
    for mark in marks:
        style, sign = _MARKS[mark]
        if coloured:
            legend.append(f" {sign} {mark} " if mark in _IN_PLACE else f" {mark} ", style=style)
        elif sign:
            legend.append(f" {sign} {mark} ")
    return legend


def _rates(inspections: list[Inspection], rows: str) -> Table:
    """Every rate over all rows, with its 95 % interval by the normal approximation."""
    table = Table(title=f"measured over {rows}", title_justify="left")
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
