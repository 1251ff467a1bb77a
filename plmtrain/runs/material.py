"""What a run is made of that depends on its verb: its text or examples, its programs, and what it says at its start and end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.console import RenderableType

    from plmtrain.data.corpus.store import Split
    from plmtrain.data.loading.order import Phase
    from plmtrain.data.rows.rows import PartedRows, RowSource
    from plmtrain.programs.learner import Learner
    from plmtrain.programs.program import Trainable
    from plmtrain.settings.run import RunSettings
    from plmtrain.text.tokenizer import Tokenizer
    from plmtrain.training.group import Group


class Material(ABC):
    """A run's data, made ready.

    Args:
        settings: the run's settings, with what is only known now filled in.
        tokenizer: what the data were encoded with.
        digest: of the data.
    """

    def __init__(self, settings: RunSettings, tokenizer: Tokenizer, digest: str) -> None:
        self.settings = settings
        self.tokenizer = tokenizer
        self.digest = digest

    @property
    def unigram(self) -> NDArray[np.float64] | None:
        """The loss of each token, in nats, for a model that knows only how frequent each is in the training text; None where
        there is no such text.  # [vocabulary]"""
        return None

    @abstractmethod
    def programs(self, phases: Sequence[Phase]) -> list[Trainable]:
        """Make one program, or mixture, for each phase."""

    @abstractmethod
    def rows(self, split: Split, program: Trainable, phase: Phase) -> RowSource | PartedRows:
        """The rows of a split as a program reads them in a phase."""

    @abstractmethod
    def keep(self, folder: Path) -> None:
        """Write into a run's folder what tells its data from others."""

    @abstractmethod
    def changes(self, folder: Path) -> list[str]:
        """What of the data is not as it was when ``keep`` wrote into the folder."""

    @abstractmethod
    def repetitions(self) -> list[str]:
        """What of the data repeats itself, or is held out and trained on, too; a line each."""

    @abstractmethod
    def opening(self) -> str:
        """What the run says of its data at its start."""

    def conclude(  # noqa: B027  # most have nothing to do
        self, program: Trainable, learner: Learner, phase: Phase, group: Group, folder: Path
    ) -> None:
        """Use the run's result before the run ends, say to answer what is held out. All processes call it.

        Args:
            program: what trained it.
            learner: with the weights that are the run's result, in eval mode, on the group's device.
            phase: the last one.
            group: the processes that trained together.
            folder: the run's.
        """

    @abstractmethod
    def closing(
        self, program: Trainable, learner: Learner, best: float | None, measured: Mapping[str, float]
    ) -> list[RenderableType]:
        """Return what the run shows at its end.

        Args:
            program: what trained it, in its last phase.
            learner: with the weights that are the run's result, in eval mode, on the CPU.
            best: the best value of the measure that selects checkpoints.
            measured: all measures of that validation; empty if they are lost.
        """
