"""Fine-tuning tasks whose answers are compared with those of a teacher that was fine-tuned on the same task (Sanh et al. 2019,
section 4; Jiao et al. 2020, section 3.1)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torch import Tensor

from plmtrain.batch import Batch, Inputs, Term
from plmtrain.programs.taught import Taught

if TYPE_CHECKING:
    from plmtrain.programs.learner import Learner
    from plmtrain.programs.program import AnyProgram

SOFT = "soft"
"""The name of the term of the teacher's answers."""


class TaughtTask(Taught):
    """A task that learns from a teacher where its settings say so.

    Its targets then have the ``segments`` of rows, which a teacher may read although the student has none.
    """

    settings: Any

    @property
    def is_taught(self) -> bool:
        taught: bool = self.settings.is_taught
        return taught

    def unfit(self, program: AnyProgram, teacher: Learner) -> Iterator[tuple[str, str]]:
        ours, theirs = self.settings, program.settings
        if type(theirs) is not type(ours):
            what = f"the teacher was trained by {theirs.name}, and the run's task is of type {ours.type}"
            yield what, f"name a fine-tuning run of a task of type {ours.type}"
            return
        if not theirs.has_head:
            yield "the teacher writes its answers, and has no probabilities to learn", "name a teacher with a head"
            return
        if (labels := getattr(theirs, "labels", None)) != getattr(ours, "labels", None):
            what = f"the teacher's labels are {_listed(labels)}, and the task's {_listed(getattr(ours, 'labels', ()))}"
            yield what, f"write task.labels=[{','.join(labels or ())}], or name a teacher of the same labels in the same order"
        if (read := _texts(theirs)) != _texts(ours):
            yield f"the teacher reads {read} in a row, and the task {_texts(ours)}", "name a teacher that reads the same texts"
        for name in ("multi_label", "symmetric", "windows"):
            if (known := getattr(theirs, name, None)) != getattr(ours, name, None):
                written = known if isinstance(known, str) else json.dumps(known)
                yield f"the teacher was trained with task.{name}={written}", f"write task.{name}={written}"

    def with_soft(self, terms: dict[str, Term], total: Tensor, batch: Batch) -> dict[str, Term]:
        """Return the terms of the right answers with their weight, and that of the teacher's.

        Args:
            terms: of the right answers, by name.
            total: the sum of the losses of the teacher's answers.
            batch: has the number of answers.
        """
        weighed = {name: term._replace(weight=self.settings.right_weight) for name, term in terms.items()}
        assert self.settings.soft_weight is not None
        return {**weighed, SOFT: Term(total=total, normaliser=batch.normalisers[SOFT], weight=self.settings.soft_weight)}


def inputs_for(teacher: Learner, batch: Batch) -> Inputs:
    """Return the inputs of a batch as a teacher reads them: with segments if it knows any."""
    known = teacher.backbone.settings.tells_segments
    return replace(batch.inputs, segments=batch.targets["segments"] if known else None)


def _listed(labels: tuple[str, ...] | None) -> str:
    return ", ".join(labels or ()) or "none"


def _texts(task: Any) -> str:
    two = isinstance(task.text, tuple) and len(task.text) > 1
    return "two texts" if two else "one text"
