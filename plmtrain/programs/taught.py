"""Programs whose loss reads the outputs of a teacher: a trained model that stays as it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from plmtrain.batch import Batch
    from plmtrain.programs.learner import Learner
    from plmtrain.programs.program import AnyProgram


@dataclass(frozen=True)
class Teacher:
    """A trained model. It is no module, so that no module that holds it trains, moves or saves its weights.

    Args:
        folder: the run or the Hugging Face folder that it is from.
        digest: the digest of its weights.
        learner: the model, frozen and in eval mode.
    """

    folder: Path
    digest: str
    learner: Learner


class Taught(ABC):
    """A program whose loss may read ``Batch.lessons``, the outputs of a teacher."""

    @property
    def is_taught(self) -> bool:
        """Whether it has a teacher with its settings."""
        return True

    @property
    def texts(self) -> int:
        """The number of texts in a row that both read; 0 for running text."""
        return 1

    @abstractmethod
    def unfit(self, program: AnyProgram, teacher: Learner) -> Iterator[tuple[str, str]]:
        """Yield each reason why a trained model cannot be its teacher, and what to do.

        Args:
            program: the program that trained the model, or that could have.
            teacher: its learner.
        """

    @abstractmethod
    def lessons(self, teacher: Learner, batch: Batch) -> Mapping[str, Tensor]:
        """Return the teacher's outputs for a batch that the loss needs, by name. It is called without gradients."""

    def inherit(self, learner: Any, teacher: Learner) -> str | None:
        """Replace fresh weights of a learner by those of the teacher that the settings choose: by default none.

        Args:
            learner: the learner of this program, with initial weights.
            teacher: the teacher's learner.

        Returns:
            A description of what was replaced; None if the program has nothing to say of it.

        Raises:
            SettingsError: if the weights differ in shape.
        """
        return None
