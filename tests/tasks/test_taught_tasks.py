"""Fine-tuning with a teacher: its losses by their definitions, what it reads, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.every_program import PROGRAMS
from support.finished_run import randomised
from support.memory_rows import VOCABULARY
from support.program_kind import teacher_folder
from support.tiny_task import examples, labeller, program, scored_examples, scorer, tagged_examples, tiny_model

from plmtrain import backbones
from plmtrain.backbones import Backbone
from plmtrain.batch import Batch
from plmtrain.errors import SettingsErrors
from plmtrain.keyed_random import Keys
from plmtrain.runs.command_settings import settings_for
from plmtrain.settings.base import MOST_PLACES
from plmtrain.settings.composing.compose import compose
from plmtrain.settings.decode import finetune_settings
from plmtrain.settings.models.base import ModelSettings
from plmtrain.settings.run import FinetuneSettings

BOTH = {"soft_weight": 0.7, "hard_weight": 0.2}
KINDS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "classification": (program, examples, {"temperature": 3.0}),
    "regression": (scorer, scored_examples, {}),
    "token_labels": (labeller, tagged_examples, {"temperature": 3.0}),
}
"""By type of task: what makes its program and its rows, and what it has to be told besides weights."""


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def pupil(kind: str, **changes: Any) -> tuple[Any, Any, Any, Any, Batch]:
    """A program, its learner without segments, its teacher with some, the teacher's program, and the teacher's own batch."""
    make, rows, besides = KINDS[kind]
    student = tiny_model("distilbert", "model.layers=1", "model.dropout=0", "model.attention_dropout=0")
    task = make(student, length=24, dropout=0.0, **{**BOTH, **besides, **changes})
    taught = make(tiny_model("bert"), length=24)
    learner, teacher = (each.build(lambda model: backbones.build(model, VOCABULARY.size)) for each in (task, taught))
    randomised(teacher, 2)
    fetched = rows(8, task.row_shape(24).length).fetch(np.arange(8))
    keys = Keys(0, np.zeros(8, np.int64), np.arange(8))
    with torch.no_grad():
        batch = task.collate(fetched, keys)
        batch = replace(batch, lessons=task.lessons(teacher, batch))
    return task, randomised(learner, 1).train(), (taught, teacher), taught.collate(fetched, keys), batch


def built(model: ModelSettings) -> Backbone:
    return backbones.build(model, VOCABULARY.size)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


@pytest.mark.parametrize("kind", KINDS)
def test_losses_are_those_of_the_right_and_of_the_teachers_answers(kind: str) -> None:
    """The teacher reads segments, of which the student has none; each term is a mean over the answers."""
    task, learner, (_, teacher), own, batch = pupil(kind)
    assert own.inputs.segments is not None
    assert batch.inputs.segments is None
    if kind != "token_labels":
        assert own.inputs.segments.any()
    places = [own.targets["places"]] if kind == "token_labels" else []
    with torch.no_grad():
        theirs = teacher.scores(own.inputs, *places).double().numpy()
        ours = learner.scores(batch.inputs, *places).double().numpy()
    np.testing.assert_allclose(batch.lessons["scores"], theirs, atol=1e-6)
    if kind == "regression":
        soft, hard = ((ours - theirs) ** 2).sum(), ((ours[:, 0] - batch.targets["scores"].numpy()) ** 2).sum()
    else:
        wanted, given = log_softmax(theirs / 3), log_softmax(ours / 3)
        soft = 9 * (np.exp(wanted) * (wanted - given)).sum()
        hard = -np.take_along_axis(log_softmax(ours), batch.targets["labels"].numpy()[:, None], 1).sum()
    terms, _ = task.loss(learner, batch, {})
    assert set(terms) == set(task.terms) == {kind, "soft"}
    answers = float(len(ours))
    for name, total, weight in ((kind, hard, 0.2), ("soft", soft, 0.7)):
        assert terms[name].total.item() == pytest.approx(total, rel=1e-5), name
        assert (terms[name].normaliser, terms[name].weight, batch.normalisers[name]) == (answers, weight, answers)


@pytest.mark.parametrize("kind", KINDS)
def test_the_teachers_answers_alone_are_learnt_by_heart(kind: str) -> None:
    """And the teacher stays as it is."""
    task, learner, (_, teacher), _, batch = pupil(kind, hard_weight=0.0, soft_weight=1.0)
    with torch.no_grad():
        learner.head.scores.bias[0] += 2.0
    optimiser = torch.optim.Adam(learner.parameters(), lr=0.01)
    losses = []
    for step in range(150):
        terms, _ = task.loss(learner, batch, {})
        optimiser.zero_grad()
        sum(term.weight * term.total / term.normaliser for term in terms.values()).backward()
        if not step:
            assert not [name for name, each in learner.named_parameters() if each.grad is None or not each.grad.any()]
        losses.append(terms["soft"].total.item())
        optimiser.step()
    assert losses[-1] < 0.1 * losses[0], (losses[0], losses[-1])
    assert all(parameter.grad is None for parameter in teacher.parameters())


@pytest.mark.parametrize("windows", ["mean", "maximum"])
def test_texts_in_windows_are_compared_as_wholes(windows: str) -> None:
    """By the scores of all windows of a text, of the student and of the teacher alike."""
    options: dict[str, Any] = {**BOTH, "temperature": 3.0, "pairs": False, "windows": windows, "overlap": 2}
    task = program(tiny_model("distilbert", "model.layers=1"), length=9, dropout=0.0, **options)
    teacher = randomised(program(tiny_model("bert"), length=9, pairs=False).build(built), 2)
    learner = randomised(task.build(built), 1)
    rows = examples(8, MOST_PLACES, pairs=False).fetch(np.arange(8))
    batch = task.collate(rows, Keys(0, np.zeros(8, np.int64), np.arange(8)))
    owners = (batch.targets["windows"] >= 0).nonzero()[:, 0].numpy()
    assert 8 < len(owners) == len(batch.inputs.ids)
    with torch.no_grad():
        batch = replace(batch, lessons=task.lessons(teacher.eval(), batch))
        terms, _ = task.loss(learner.eval(), batch, {})
        both = [learner.scores(batch.inputs).double().numpy(), batch.lessons["scores"].double().numpy()]
    join = {"mean": np.mean, "maximum": np.max}[windows]
    given, wanted = (log_softmax(np.stack([join(each[owners == text], axis=0) for text in range(8)]) / 3) for each in both)
    assert terms["soft"].total.item() == pytest.approx(9 * (np.exp(wanted) * (wanted - given)).sum(), rel=1e-5)
    assert terms["soft"].normaliser == 8


def test_without_a_teacher_nothing_changes() -> None:
    task = program(tiny_model("bert"), length=24)
    batch = task.collate(examples(4, 20).fetch(np.arange(4)), Keys(0, np.zeros(4, np.int64), np.arange(4)))
    assert (task.is_taught, task.terms, set(batch.targets)) == (False, ("classification",), {"labels"})


@pytest.mark.parametrize(
    ("other", "what"),
    [
        (partial(program, classes=4), "labels are class 0, class 1, class 2, class 3"),
        (partial(program, pairs=False), "reads one text in a row, and the task two texts"),
        (scorer, "of type classification"),
        (partial(program, symmetric=True), "trained with task.symmetric=true"),
    ],
)
def test_a_teacher_of_another_task_is_refused(other: Any, what: str) -> None:
    task, _, (_, teacher), _, _ = pupil("classification")
    ((told, remedy),) = task.unfit(other(tiny_model("bert"), length=24), teacher)
    assert what in told
    assert remedy


@pytest.mark.parametrize(("own", "known", "written"), [("mean", None, "null"), (None, "maximum", "maximum")])
def test_a_teacher_that_reads_long_texts_otherwise_is_refused(own: str | None, known: str | None, written: str) -> None:
    task, other = (program(tiny_model("bert"), pairs=False, windows=windows) for windows in (own, known))
    told = f"the teacher was trained with task.windows={written}"
    assert list(task.unfit(other, other.build(built))) == [(told, f"write task.windows={written}")]


FILES = ["data.files=[train.tsv]"]
TEACHER = PROGRAMS["taught"].teacher


def tuned(*words: str) -> FinetuneSettings:
    settings = settings_for("finetune", [*FILES, *words])
    assert isinstance(settings, FinetuneSettings)
    return settings


def test_a_teacher_gives_its_tokenizer_and_the_usual_weights() -> None:
    """Unless others are chosen; an evaluation needs no teacher."""
    named = f"teacher={teacher_folder(TEACHER)}"
    shape = ["model=distilbert", "model.width=16", "model.heads=2", "trainer.sequence_length=32"]
    made = tuned(named, *shape)
    assert (made.tokenizer_from, made.tokenizer.vocab_size) == (str(teacher_folder(TEACHER)), 30522)
    task: Any = made.task
    assert (task.soft_weight, task.hard_weight, task.softening, task.is_taught) == (0.5, 0.5, 2.0, True)
    chosen: Any = tuned(named, *shape, "task.soft_weight=1", "task.hard_weight=0", "task.temperature=1").task
    assert (chosen.soft_weight, chosen.right_weight, chosen.softening) == (1, 0, 1)
    alone: Any = made.untaught
    assert (alone.teacher, alone.task.is_taught, alone.task.right_weight, alone.folders) == (None, False, 1, {})
    assert tuned(named, "task=token_labels", *shape).task.is_taught


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["task.soft_weight=1"], "task.soft_weight is of a loss that reads a teacher, and none is named"),
        (["task.temperature=2"], "task.temperature is of a loss that reads a teacher"),
        (["task=regression", "task.temperature=2"], "temperature"),
        (
            ["task=sequence_to_sequence", "model=bart", "teacher=here"],
            "task=sequence_to_sequence has no loss that reads a teacher",
        ),
        (["teacher=here", "task.multi_label=true"], "several labels a text are learnt from the right ones alone"),
        (["teacher=here", "model=t5_small"], "model=t5_small writes its answers to task=classification"),
        (["task.hard_weight=0"], "task.hard_weight is of a loss that reads a teacher"),
    ],
)
def test_what_has_no_meaning_is_refused(words: list[str], what: str) -> None:
    with pytest.raises(SettingsErrors, match=what):
        finetune_settings(compose([*FILES, *words], primary="finetune"))


def test_a_folder_without_a_model_is_no_teacher() -> None:
    with pytest.raises(SettingsErrors, match="neither a run nor a Hugging Face folder to learn from"):
        tuned("teacher=nowhere")


def test_a_teacher_whose_labels_differ_is_refused_before_training(tmp_path: Path) -> None:
    """The run that fits it, and the same with other labels."""
    kind = PROGRAMS["taught"]
    run = kind.run(tmp_path / "run")
    teacher = run.trainer().module.teacher
    assert teacher is not None
    assert not any(parameter.requires_grad for parameter in teacher.learner.parameters())
    assert not any(module.training for module in teacher.learner.modules())
    other = program(run.settings.model, classes=2, **BOTH)
    with pytest.raises(SettingsErrors, match="labels are class 0, class 1, class 2"):
        replace(run, path=tmp_path / "other", program=other).trainer()
