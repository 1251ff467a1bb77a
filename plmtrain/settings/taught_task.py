"""Fine-tuning tasks that may learn from a teacher: a model that was fine-tuned on the same task."""

from __future__ import annotations

from pydantic import Field

from plmtrain.settings.tasks.base import TaskSettings

TEACHER_SHARE = 0.5
"""The weight of each of the two losses with a teacher, if it is not given: those of Sanh et al.'s code."""
_TEMPERATURE = 2.0


class TaughtTaskSettings(TaskSettings):
    """A task whose answers may be compared with a teacher's as well as with the right ones (Sanh et al. 2019, section 4, and the
    authors' code; Jiao et al. 2020, section 3.1)."""

    soft_weight: float | None = Field(None, gt=0)
    """The weight of the loss of the teacher's answers; with a teacher 0.5 if not given, and without one there is no such loss."""
    hard_weight: float | None = Field(None, ge=0)
    """The weight of the loss of the right answers; with a teacher 0.5 if not given, else 1."""

    @property
    def is_taught(self) -> bool:
        """Whether there is a loss of a teacher's answers; the command line fills in its weight where a teacher is named."""
        return self.soft_weight is not None

    @property
    def right_weight(self) -> float:
        """The weight of the loss of the right answers."""
        return 1.0 if self.hard_weight is None else self.hard_weight

    @property
    def of_teachers(self) -> tuple[str, ...]:
        """The settings that have a meaning with a teacher alone."""
        return "soft_weight", "hard_weight"


class TaughtClassesSettings(TaughtTaskSettings):
    """Such a task whose answers are classes, of which a teacher gives probabilities."""

    temperature: float | None = Field(None, gt=0, le=1000)
    """The divisor of the logits of both models before their probabilities are compared; their divergence is multiplied by its
    square. 2 if not given, as in Sanh et al.'s code."""

    @property
    def softening(self) -> float:
        """The temperature, given or not."""
        return _TEMPERATURE if self.temperature is None else self.temperature

    @property
    def of_teachers(self) -> tuple[str, ...]:
        return *super().of_teachers, "temperature"
