"""A run's learner and its teacher, with the weights that they begin with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from plmtrain import backbones, keyed_random
from plmtrain.families import embedding_rows
from plmtrain.interop.initial import Start, start_of, token_rows
from plmtrain.interop.teacher import teacher_of
from plmtrain.programs.learner import Learner
from plmtrain.programs.program import Trainable
from plmtrain.programs.taught import Taught, Teacher
from plmtrain.settings.run import RunSettings
from plmtrain.text.tokenizer import Tokenizer
from plmtrain.training.compilation import compile_blocks
from plmtrain.training.freezing import freeze
from plmtrain.training.recomputation import recompute_blocks


def embedded_tokens(settings: RunSettings, tokenizer: Tokenizer) -> int:
    """Return the number of rows of the token embedding: those of the weights that the run starts from or learns from, or else a
    row for each token and those that the model's family adds."""
    tokens = tokenizer.vocabulary.size
    if settings.tokenizer_from is None:
        return embedding_rows(settings.model.family, tokens)
    return token_rows(Path(settings.tokenizer_from), tokens)


def load_teacher(
    settings: RunSettings, tokenizer: Tokenizer, programs: Sequence[Trainable], device: torch.device
) -> Teacher | None:
    """Load the teacher of a run onto a device, compiled as requested; None if the run has none. Errors as from ``teacher_of``."""
    teacher = teacher_of(settings, tokenizer, programs, embedded_tokens(settings, tokenizer))
    if teacher is not None:
        teacher.learner.to(device)
        if settings.trainer.compile:
            compile_blocks(teacher.learner, ragged=programs[0].parts.are_ragged)
    return teacher


def inherit(learner: Learner, program: Trainable, teacher: Teacher) -> str:
    """Replace fresh weights of a learner by those of its teacher that the settings choose; return a description for the user."""
    taken = [
        member.program.inherit(member.learner(learner), teacher.learner)
        for member in program.parts.members
        if isinstance(member.program, Taught)
    ]
    told = ", ".join(dict.fromkeys(filter(None, taken)))
    return f"the teacher is {teacher.folder}" + (f": {told}" if told else "")


def build_learner(
    settings: RunSettings, program: Trainable, vocabulary_size: int, on_start: Callable[[Start], None] = lambda start: None
) -> Learner:
    """Build a learner in train mode, with the weights of ``init`` if given, frozen and compiled as requested.

    Args:
        settings: the run's settings.
        program: the run's program or mixture.
        vocabulary_size: the number of rows of the token embedding.
        on_start: called with what is loaded from ``init``.
    """
    torch.manual_seed(keyed_random.scalar("initial weights", settings.seed))
    learner = program.build(lambda model: backbones.build(model, vocabulary_size))
    program.initialise(learner)
    if (start := start_of(settings, program, learner)) is not None:
        start.load()
        on_start(start)
    freeze(learner, settings.trainer.freeze)
    if settings.trainer.activation_checkpointing:
        recompute_blocks(learner)
    if settings.trainer.compile:
        compile_blocks(learner, ragged=program.parts.are_ragged)
    learner.train()
    return learner
