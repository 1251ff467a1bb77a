"""A run's loss on held-out or other text, or a fine-tuned run's metrics; scores without training are in ``scores``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from rich.table import Table

from plmtrain import stopping
from plmtrain.commands.evaluate.scores import KEYS, run_scores
from plmtrain.console import print_json, tell, warn
from plmtrain.data.corpus.updates import OnUpdate
from plmtrain.errors import SettingsError, nearest
from plmtrain.runs.labelled_examples import LabelledExamples
from plmtrain.runs.material import Material
from plmtrain.runs.overridden import require_meaning
from plmtrain.runs.preparation import preparation_report
from plmtrain.runs.prepared_text import PreparedText
from plmtrain.settings.decode import override
from plmtrain.settings.run import FinetuneSettings, PretrainSettings, RunSettings
from plmtrain.settings.trainer import WantedPrecision

_READ = ("data", "task", "objective")
_READ_BESIDES = frozenset(
    "launch.timeout trainer.batch_size trainer.sequence_length trainer.phases trainer.evaluate_batches trainer.precision "
    "trainer.threads trainer.device".split()
)
"""The groups of settings that an evaluation reads, and single settings of other groups."""

_OPTION = "--precision"


def run(arguments: list[str]) -> int:
    """Evaluate a run on its own held-out data, on other data, or by a score of its own."""
    precision, words = _precision([word for word in arguments if word != "--json"])
    if not words or "=" in words[0]:
        raise SettingsError("evaluate needs a run", "plmtrain evaluate RUN [OVERRIDES]", "name a folder below runs/")
    if any(word.startswith(KEYS) for word in words[1:]):
        return run_scores(Path(words[0]), words[1:], precision, json="--json" in arguments)

    from plmtrain.data.loading.order import plan_phases
    from plmtrain.interop.teacher import teacher_of
    from plmtrain.training.evaluation import evaluate
    from plmtrain.training.group import Group
    from plmtrain.training.precision import choose_precision
    from plmtrain.training.progress import encode_floats
    from plmtrain.training.restore import load_run, program_of
    from plmtrain.training.step import Step

    trained = load_run(Path(words[0]), report=warn)
    settings = override(trained.settings, [*words[1:], *([f"trainer.precision={precision}"] if precision else [])])
    require_meaning(trained.settings, settings, _READ, _READ_BESIDES)
    settings = settings.model_copy(
        update={"tokenizer": settings.tokenizer.model_copy(update={"path": str(trained.folder / "tokenizer")})}
    )
    if isinstance(settings, FinetuneSettings):
        settings = settings.untaught  # compared with the right answers alone, it works without the teacher
    with preparation_report() as on_update:
        material = _held_out(settings, words[1:], on_update)
    group = Group(settings.trainer.device, settings.launch.timeout, settings.trainer.threads)
    phase = plan_phases(settings.trainer)[-1]
    program = program_of(settings, trained.tokenizer.vocabulary)
    rows = material.held_out_rows(program, phase)
    precision = choose_precision(settings.trainer.precision, group.device)
    teacher = teacher_of(settings, trained.tokenizer, [program], trained.learner.backbone.vocabulary_size)
    if teacher is not None:
        teacher.learner.to(group.device)
    values = evaluate(
        Step(trained.learner, precision, teacher).to(group.device),
        program,
        rows,
        group,
        batch_size=phase.batch_size,
        micro_batch_size=phase.micro_batch_size,
        unigram=material.unigram_losses(),
        limit=settings.trainer.evaluate_batches,
    )
    if values is None:
        raise stopping.stopped()
    group.close()
    if not group.is_main:
        return 0
    if "--json" in arguments:
        print_json(encode_floats({"run": str(trained.folder), "step": trained.step, "rows": len(rows), **values}))
        return 0
    tell(f"{trained.folder} at step {trained.step}, {len(rows):,} held-out rows")
    table = Table()
    table.add_column("measure")
    table.add_column("value", justify="right")
    for name, value in values.items():
        table.add_row(name.replace("_", " "), f"{value:,.4f}")
    baselines = [part.baseline for part in program.parts.members if part.baseline is not None]
    tell(table, *(line for baseline in baselines if (line := baseline.compare(values))))
    return 0


def _precision(words: Sequence[str]) -> tuple[WantedPrecision | None, list[str]]:
    """Return the value of ``--precision``, and the other words.

    Raises:
        SettingsError: if it is none.
    """
    rest = list(words)
    wanted: WantedPrecision | None = None
    for place in reversed([place for place, word in enumerate(rest) if word.partition("=")[0] == _OPTION]):
        option, equals, value = rest.pop(place).partition("=")
        if not equals:
            value = rest.pop(place) if place < len(rest) else ""
        known = {name: name for name in get_args(WantedPrecision)}
        if value not in known:
            where = f"command line: {option} {value}".rstrip()
            raise SettingsError(f"--precision takes one of {', '.join(known)}, not '{value}'", where, nearest(value, known))
        wanted = wanted or known[value]
    return wanted, rest


def _held_out(settings: RunSettings, overrides: Sequence[str], on_update: OnUpdate) -> Material:
    """Return the data to evaluate a run on; of other files of labelled examples, all rows."""
    if isinstance(settings, FinetuneSettings):
        named = {text.partition("=")[0] for text in overrides}
        if "data.files" in named and "data.validation_files" not in named:
            data = settings.data.model_copy(update={"validation_files": settings.data.files})
            settings = settings.model_copy(update={"data": data})
        return LabelledExamples.held_out(settings, on_update)
    assert isinstance(settings, PretrainSettings)
    return PreparedText.held_out(settings, on_update)
