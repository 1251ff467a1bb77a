"""Programs whose loss reads the outputs of a teacher: a trained model that stays as it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from plmtrain.batch import Batch
    from plmtrain.programs.learner import Learner


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
    """A program whose loss reads ``Batch.lessons``, the outputs of a teacher."""

    @abstractmethod
    def lessons(self, teacher: Learner, batch: Batch) -> Mapping[str, Tensor]:
        """Return the teacher's outputs for a batch that the loss needs, by name. It is called without gradients."""

    @abstractmethod
    def inherit(self, learner: Any, teacher: Learner) -> str:
        """Replace fresh weights of a learner by those of the teacher that the settings choose.

        Args:
            learner: the learner of this program, with initial weights.
            teacher: the teacher's learner.

        Returns:
            A description of what was replaced.

        Raises:
            SettingsError: if the weights differ in shape.
        """
