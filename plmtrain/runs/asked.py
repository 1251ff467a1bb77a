"""The model that ``plmtrain predict`` asks, put together from a run or a Hugging Face folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from plmtrain.console import warn
from plmtrain.errors import SettingsError
from plmtrain.interop.trained import load_trained
from plmtrain.training.precision import Precision, autocast, choose_precision
from plmtrain.training.prediction import by_example
from plmtrain.training.restore import TrainedRun

if TYPE_CHECKING:
    from plmtrain.data.rows.rows import Rows
    from plmtrain.programs.answering import Answer, Answering
    from plmtrain.programs.learner import Learner
    from plmtrain.settings.generation import GenerationSettings
    from plmtrain.settings.trainer import WantedPrecision
    from plmtrain.text.tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A model that answers texts.

    Args:
        answering: how a text is asked about and an answer read.
        learner: in eval mode, on its device.
        tokenizer: its tokenizer.
        device: where it is computed.
        precision: of its matrix products.
    """

    answering: Answering[Any]
    learner: Learner
    tokenizer: Tokenizer
    device: torch.device
    precision: Precision

    def writing(self, chosen: GenerationSettings) -> Asked:
        """Return the same with other settings of text generation.

        Raises:
            SettingsError: if it does not generate text.
        """
        return replace(self, answering=self.answering.writing(chosen, self.tokenizer))

    def ranked(self, count: int) -> Asked:
        """Return the same, with several answers to each question.

        Raises:
            SettingsError: if it has one answer to a question.
        """
        return replace(self, answering=self.answering.ranked(count))

    def answers(self, texts: Sequence[str], rows: Rows) -> Iterator[Answer]:
        """Yield the answers to some texts.

        Args:
            texts: the texts.
            rows: of these texts, from ``answering.questions``.
        """
        with autocast(self.precision, self.device):
            answers = self.answering.predict(self.learner, self.answering.collate(rows).to(self.device))
        owners = self.answering.owners(rows)
        first = np.flatnonzero(np.diff(owners, prepend=-1)).tolist()
        for row, text, answer in zip(first, texts, by_example(self.answering, answers, owners), strict=True):
            yield self.answering.read_out(text, rows.tokens[row, : rows.lengths[row]], answer, self.tokenizer)

    def stream(self, text: str, row: Rows) -> Iterator[str]:
        """Yield the lines of the answer to one text piece by piece, while they are computed; arguments as in ``answers``."""
        with autocast(self.precision, self.device):
            batch = self.answering.collate(row).to(self.device)
            yield from self.answering.stream(self.learner, batch, text, row.tokens[0], self.tokenizer)


def asked(folder: Path, name: str | None, precision: WantedPrecision | None) -> Asked:
    """Load a model to ask, on a GPU if there is one.

    Args:
        folder: a run or a Hugging Face folder.
        name: the part of a mixture; None for its main part.
        precision: of matrix products; None for the run's own, which is ``auto`` for a Hugging Face folder.

    Raises:
        SettingsError: if there is no such model or part, or it answers no texts.
        CheckpointError: if its weights cannot be used.
    """
    trained = load_trained(folder, report=warn)
    part = trained.part(name)
    if name is None and part.name is not None:
        others = ", ".join(sorted(set(trained.program.parts.names) - {part.name}))
        warn(f"{folder} answers as its part {part.name}; --part names another: {others}")
    if part.program.answering is None:
        raise SettingsError("the run has no answers to texts", str(folder), "name a run of another objective or of a task")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    own = trained.settings.trainer.precision if isinstance(trained, TrainedRun) else "auto"
    return Asked(
        answering=part.program.answering,
        learner=part.learner(trained.learner.to(device)),
        tokenizer=trained.tokenizer,
        device=device,
        precision=choose_precision(precision or own, device),
    )
