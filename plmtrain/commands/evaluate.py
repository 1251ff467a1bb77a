"""``plmtrain evaluate``: a run's held-out loss, or its loss on other text; of a fine-tuned run, its task's metrics."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from plmtrain.commands.finetune import LabelledExamples
from plmtrain.commands.material import Material
from plmtrain.commands.preparation import preparation_report
from plmtrain.commands.pretrain import PreparedText
from plmtrain.data.progress import Report
from plmtrain.errors import SettingsError
from plmtrain.settings.decode import override
from plmtrain.settings.run import FinetuneSettings, PretrainSettings, RunSettings


def run(arguments: list[str]) -> int:
    """Evaluate a run on its own held-out text, or on that of other data."""
    words = [word for word in arguments if word != "--json"]
    if not words or "=" in words[0]:
        raise SettingsError("evaluate needs a run", "plmtrain evaluate RUN [OVERRIDES]", "name a folder below runs/")

    from plmtrain.data.order import plan
    from plmtrain.training.evaluation import evaluate
    from plmtrain.training.group import Group
    from plmtrain.training.precision import choose
    from plmtrain.training.restore import load_run
    from plmtrain.training.step import Step

    console = Console(stderr=True)
    trained = load_run(Path(words[0]), report=console.print)
    settings = override(trained.settings, words[1:])
    settings = settings.model_copy(
        update={"tokenizer": settings.tokenizer.model_copy(update={"path": str(trained.folder / "tokenizer")})}
    )
    with preparation_report() as report:
        material = _held_out(settings, words[1:], report)
    group = Group(settings.trainer.device, settings.launch.timeout, settings.trainer.threads)
    phase = plan(settings.trainer)[-1]
    program = trained.program
    rows = material.rows("validation", program, phase)
    precision = choose(settings.trainer.precision, group.device)
    values = evaluate(
        Step(trained.learner, precision).to(group.device),
        program,
        rows,
        group,
        batch_size=phase.batch_size,
        limit=settings.trainer.evaluate_batches,
    )
    if values is None:
        from plmtrain import stopping

        raise stopping.stopped()
    if material.unigram_entropy is not None:
        values["unigram_entropy"] = material.unigram_entropy
    if "--json" in arguments:
        print(json.dumps({"run": str(trained.folder), "step": trained.step, "rows": len(rows), **values}))
        return 0
    table = Table(title=f"{trained.folder} at step {trained.step}, {len(rows):,} held-out rows", title_justify="left")
    table.add_column("measure")
    table.add_column("value", justify="right")
    for name, value in values.items():
        table.add_row(name.replace("_", " "), f"{value:,.4f}")
    Console().print(table)
    return 0


def _held_out(settings: RunSettings, overrides: Sequence[str], report: Report) -> Material:
    """What a run is evaluated on; of other files of labelled examples all."""
    if isinstance(settings, FinetuneSettings):
        named = {text.partition("=")[0] for text in overrides}
        if "data.files" in named and "data.validation_files" not in named:
            data = settings.data.model_copy(update={"validation_files": settings.data.files})
            settings = settings.model_copy(update={"data": data})
        return LabelledExamples.held_out(settings, report)
    assert isinstance(settings, PretrainSettings)
    return PreparedText.held_out(settings, report)
