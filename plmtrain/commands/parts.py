"""Putting a run's parts together from its settings: the one place that joins text, model, objective and trainer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plmtrain.data import manifest as manifests
from plmtrain.data.manifest import Manifest
from plmtrain.data.order import Phase, plan
from plmtrain.settings.objectives.base import ObjectiveSettings
from plmtrain.settings.run import PretrainSettings

if TYPE_CHECKING:
    from plmtrain.data.rows import RowSource
    from plmtrain.data.store import Split
    from plmtrain.program import Program
    from plmtrain.text.tokenizer import Tokenizer
    from plmtrain.text.vocabulary import Vocabulary


@dataclass(frozen=True)
class Corpus:
    """Text made ready for a run.

    Args:
        tokenizer: what it was encoded with.
        folder: the prepared data.
        manifest: what is in it.
    """

    tokenizer: Tokenizer
    folder: Path
    manifest: Manifest

    def rows(self, split: Split, objective: ObjectiveSettings, length: int, isolate_documents: bool) -> RowSource:
        """The rows of a split as an objective reads them.

        Args:
            split: ``train`` or ``validation``.
            objective: whose ``reads`` says how.
            length: tokens of text in a row.
            isolate_documents: whether rows say which document each token is of.
        """
        from plmtrain.data.blocks import Blocks
        from plmtrain.data.store import Store

        sources: dict[str, Callable[..., RowSource]] = {"blocks": Blocks}
        return sources[objective.reads](Store.open(self.folder, split), length, isolate_documents)


def tokenizer_of(settings: PretrainSettings, report: Callable[[Any], None]) -> Tokenizer:
    """The tokenizer that the run uses: an existing one, that of what it starts from, or one trained on its text."""
    from plmtrain.data.tokenizers import tokenizer_for

    chosen = settings.tokenizer
    if chosen.path is None and settings.init is not None:
        from plmtrain.training.restore import tokenizer_folder

        chosen = chosen.model_copy(update={"path": str(tokenizer_folder(Path(settings.init)))})
    return tokenizer_for(settings.data, chosen, report)


def corpus_of(settings: PretrainSettings, report: Callable[[Any], None]) -> Corpus:
    """The run's text, prepared now if that has not been done."""
    from plmtrain.data.prepare import prepare

    tokenizer = tokenizer_of(settings, report)
    longest = max(phase.sequence_length for phase in plan(settings.trainer))
    folder = prepare(settings.data, tokenizer, minimum_validation_tokens=longest, report=report)
    return Corpus(tokenizer, folder, manifests.load(folder, tokenizer.digest))


def objective_in(settings: PretrainSettings, phase: Phase) -> ObjectiveSettings:
    """The objective's settings in one phase of the run."""
    if not phase.objective:
        return settings.objective
    return type(settings.objective).model_validate({**settings.objective.model_dump(), **phase.objective})


def programs_of(settings: PretrainSettings, phases: Sequence[Phase], vocabulary: Vocabulary) -> list[Program[Any]]:
    """One program for each phase."""
    from plmtrain import objectives

    return [objectives.build(objective_in(settings, phase), settings.model, vocabulary) for phase in phases]
