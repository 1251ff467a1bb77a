"""``plmtrain evaluate``: compute a run's loss on held-out or other text, or a fine-tuned run's metrics."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from plmtrain.console import tell, warn
from plmtrain.data.corpus.updates import OnUpdate
from plmtrain.errors import SettingsError, SettingsErrors
from plmtrain.runs.labelled_examples import LabelledExamples
from plmtrain.runs.material import Material
from plmtrain.runs.preparation import preparation_report
from plmtrain.runs.prepared_text import PreparedText
from plmtrain.settings.decode import override
from plmtrain.settings.identity import drift
from plmtrain.settings.run import FinetuneSettings, PretrainSettings, RunSettings

_READ = ("data", "task", "objective")
_READ_BESIDES = frozenset(
    "launch.timeout trainer.batch_size trainer.sequence_length trainer.phases trainer.evaluate_batches trainer.precision "
    "trainer.threads trainer.device".split()
)
"""The groups of settings that an evaluation reads, and single settings of other groups."""


def run(arguments: list[str]) -> int:
    """Evaluate a run on its own held-out data, or on other data."""
    words = [word for word in arguments if word != "--json"]
    if not words or "=" in words[0]:
        raise SettingsError("evaluate needs a run", "plmtrain evaluate RUN [OVERRIDES]", "name a folder below runs/")

    from plmtrain.data.loading.order import plan_phases
    from plmtrain.training.evaluation import evaluate
    from plmtrain.training.group import Group
    from plmtrain.training.precision import choose_precision
    from plmtrain.training.progress import encode_floats
    from plmtrain.training.restore import load_run, program_of
    from plmtrain.training.step import Step

    trained = load_run(Path(words[0]), report=warn)
    settings = override(trained.settings, words[1:])
    _require_meaning(trained.settings, settings)
    settings = settings.model_copy(
        update={"tokenizer": settings.tokenizer.model_copy(update={"path": str(trained.folder / "tokenizer")})}
    )
    with preparation_report() as on_update:
        material = _held_out(settings, words[1:], on_update)
    group = Group(settings.trainer.device, settings.launch.timeout, settings.trainer.threads)
    phase = plan_phases(settings.trainer)[-1]
    program = program_of(settings, trained.tokenizer.vocabulary)
    rows = material.rows("validation", program, phase)
    precision = choose_precision(settings.trainer.precision, group.device)
    values = evaluate(
        Step(trained.learner, precision).to(group.device),
        program,
        rows,
        group,
        batch_size=phase.batch_size,
        unigram=material.unigram_losses(),
        limit=settings.trainer.evaluate_batches,
    )
    if values is None:
        from plmtrain import stopping

        raise stopping.stopped()
    group.close()
    if not group.is_main:
        return 0
    if "--json" in arguments:
        print(json.dumps(encode_floats({"run": str(trained.folder), "step": trained.step, "rows": len(rows), **values})))
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


def _require_meaning(trained: RunSettings, wanted: RunSettings) -> None:
    """Refuse overrides that an evaluation does not read, or that do not fit the run's weights.

    Raises:
        SettingsErrors: for each such setting.
    """
    changed = drift(trained.model_dump(mode="json"), wanted.model_dump(mode="json"))
    fitting = (*changed.free, *changed.trajectory)
    idle = [change for change in fitting if change.key.partition(".")[0] not in _READ and change.key not in _READ_BESIDES]
    if errors := [
        SettingsError(
            f"{change.key} has no effect on a trained run",
            f"command line: {change}",
            f"omit it: an evaluation reads {', '.join((*_READ, *sorted(_READ_BESIDES)))}",
        )
        for change in (*changed.structural, *idle)
    ]:
        raise SettingsErrors(errors)


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
