"""The material of a run of any kind."""

from __future__ import annotations

from plmtrain.data.corpus.updates import OnUpdate
from plmtrain.runs.labelled_examples import LabelledExamples
from plmtrain.runs.material import Material
from plmtrain.runs.prepared_text import PreparedText
from plmtrain.runs.streamed_text import StreamedText
from plmtrain.settings.run import FinetuneSettings, PretrainSettings, RunSettings


def material_of(settings: RunSettings, on_update: OnUpdate) -> Material:
    """Make a run's data ready, as the run would.

    Args:
        settings: of the run.
        on_update: called with the progress of the preparation.

    Raises:
        DataError: if it cannot be read.
    """
    if isinstance(settings, FinetuneSettings):
        return LabelledExamples.of(settings, on_update)
    assert isinstance(settings, PretrainSettings)
    kind = StreamedText if settings.data.type == "stream" else PreparedText
    return kind.of(settings, on_update)
