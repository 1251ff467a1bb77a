"""Runs of every model and objective at their smallest: on a few lines of text, for a step or two, without a folder."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from plmtrain import backbones, objectives
from plmtrain.data.loading.order import plan_phases
from plmtrain.data.loading.step_loader import StepLoader
from plmtrain.data.rows.rows import rows_of
from plmtrain.optim import optimizer
from plmtrain.programs.taught import Teacher
from plmtrain.runs.learners import build_learner, embedded_tokens
from plmtrain.runs.prepared_text import PreparedText
from plmtrain.settings.composing.compose import compose
from plmtrain.settings.composing.folders import section
from plmtrain.settings.decode import pretrain_settings
from plmtrain.settings.lookup import objective_classes
from plmtrain.settings.objectives.clm import CausalLMSettings
from plmtrain.settings.objectives.masked_lm import MaskedLMSettings
from plmtrain.settings.run import PretrainSettings
from plmtrain.training.evaluation import evaluate
from plmtrain.training.group import Group
from plmtrain.training.step import Step, take_step

SHAPE = (
    "size=tiny tokenizer.vocab_size=300 trainer.batch_size=4 trainer.precision=fp32 trainer.threads=1 trainer.device=cpu "
    "data.validation_fraction=0.3 data.processes=1"
).split()
SHORT = ("trainer.sequence_length=32", "trainer.steps=2", "schedule.warmup=0")

_WORDS = "the a river mill old low water wheel turned slowly ran past again rain came nobody had seen miller said was".split()


class Text:
    """Text of each kind that an objective may read.

    Args:
        folder: takes the files and what is prepared of them.
    """

    def __init__(self, folder: Path) -> None:
        draw = random.Random(1)
        sentences = [" ".join(draw.choices(_WORDS, k=draw.randrange(4, 12))).capitalize() + "." for _ in range(900)]
        documents = [" ".join(sentences[first : first + 6]) for first in range(0, len(sentences), 6)]
        plain, tables = folder / "plain.txt", folder / "pairs.tsv"
        plain.write_text("\n\n".join(documents) + "\n")
        translations = ["\t".join((one, " ".join(reversed(one.split())))) for one in sentences]
        tables.write_text("en\tde\n" + "\n".join(translations) + "\n")
        prepared = f"data.prepared_dir={folder / 'prepared'}"
        self._plain = ["data=text", f"data.files=[{plain}]", "data.document_per=blank_line", prepared]
        self._parallel = ["data=parallel", f"data.files=[{tables}]", "data.languages=[en,de]", prepared]

    def overrides(self, objective: str) -> list[str]:
        """The text that an objective reads."""
        return self._parallel if reads(objective) == "translations" else self._plain


def reads(objective: str) -> str | None:
    """How an objective reads text; None for one that is made of others."""
    kind = objective_classes()[section("objective", objective)["type"]]
    return None if kind.is_combined else kind.model_validate(section("objective", objective)).source


def chosen(model: str, objective: str, row: dict[str, str]) -> list[str]:
    """The overrides that choose a pair; of an objective that is made of others, with all that it can be made of.

    Args:
        model, objective: the pair.
        row: of the matrix.
    """
    pair = [f"model={model}", f"objective={objective}"]
    if reads(objective) is not None:
        return [*pair, "teacher=large"] if "distillation" in objective else pair
    able = [name for name, answer in row.items() if answer == "yes" and reads(name) not in (None, "streams", "translations")]
    able = [name for name in able if "distillation" not in name]  # the others of the mixture have no teacher
    shares = dict.fromkeys(able, 1) or {"mlm": 1, "rtd": 1}
    if len(shares) == 1:
        shares["other"] = 1
        pair.append(f"objective.parts.other.name={able[0]}")
    return [*pair, f"objective.shares={{{', '.join(f'{name}: {share}' for name, share in shares.items())}}}"]


def train(overrides: Sequence[str], steps: int) -> PretrainSettings:
    """Take steps of every phase, and of every part where there are parts, and validate a batch.

    Args:
        overrides: of the run.
        steps: of each.
    """
    settings = pretrain_settings(compose(overrides))
    # A teacher would bring its tokenizer and its layers; here one is made like its pupil.
    alone = settings.model_copy(update={"teacher": None})
    material = PreparedText.of(alone, lambda moment: None)
    group, phases = Group("cpu", 60, 1), plan_phases(settings.trainer)
    programs = material.programs(phases)
    learner = build_learner(alone, programs[0], embedded_tokens(alone, material.tokenizer))
    assert len(material.begin(learner)) == (alone.trainer.start == "counted")
    taught_by = None
    if settings.teacher is not None:
        kind = MaskedLMSettings(name="mlm") if settings.model.kind == "encoder" else CausalLMSettings(name="clm")
        able = objectives.build(kind, settings.model, material.tokenizer.vocabulary)
        taught_by = Teacher(Path(), "", able.build(lambda model: backbones.build(model, learner.backbone.vocabulary_size)))
    module = Step(learner, "fp32", taught_by)
    optimiser, scaler = optimizer.build(learner, settings.optimizer), torch.amp.GradScaler("cpu", enabled=False)
    before = [parameter.detach().clone() for parameter in learner.parameters()]
    for phase, program in zip(phases, programs, strict=True):
        rows = material.rows("train", program, phase)
        first = replace(phase, index=0, first_step=0, steps=steps, samples_before=0)
        for part in program.parts.members:
            carry = {}
            for number, batches in StepLoader([rows_of(rows, part.name)], [part.program], [first], seed=1):
                outcome = take_step(
                    module,
                    part,
                    batches,
                    carry,
                    optimiser,
                    scaler,
                    group,
                    step=number,
                    seed=1,
                    learning_rate=0.01,
                    clip_norm=1.0,
                )
                assert outcome.updated
                assert outcome.gradient_norm > 0
                carry = outcome.carry
    assert any(not torch.equal(old, new) for old, new in zip(before, learner.parameters(), strict=True))
    held_out = material.rows("validation", programs[-1], phases[-1])
    values = evaluate(
        module, programs[-1], held_out, group, batch_size=phases[-1].batch_size, unigram=material.unigram_losses(), limit=1
    )
    assert values is not None
    assert torch.tensor(list(values.values())).isfinite().all()
    return settings
