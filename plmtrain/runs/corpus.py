"""Preparing a pretraining run's text, tokenizer, rows and programs from its settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from plmtrain.data.corpus import corpus_manifest as manifests
from plmtrain.data.corpus.corpus_manifest import CorpusManifest
from plmtrain.data.corpus.updates import OnUpdate
from plmtrain.data.loading.order import Phase, plan_phases
from plmtrain.data.splits import SPLITS
from plmtrain.files import make_folder
from plmtrain.interop.hub_text import located
from plmtrain.runs.material import require_tokens
from plmtrain.settings.objectives.base import ObjectiveSettings, Reads
from plmtrain.settings.pairs import PairSettings
from plmtrain.settings.run import PretrainSettings
from plmtrain.text.extension import with_added_tokens

if TYPE_CHECKING:
    from plmtrain.data.corpus.pair_store import PairStore
    from plmtrain.data.corpus.store import Store
    from plmtrain.data.rows.rows import PartedRows, RowSource
    from plmtrain.data.splits import Split
    from plmtrain.programs.program import AnyProgram, Trainable
    from plmtrain.text.tokenizer import Tokenizer
    from plmtrain.text.vocabulary import Vocabulary


@dataclass(frozen=True)
class Corpus:
    """The prepared text of a run.

    Args:
        tokenizer: the tokenizer that encoded it.
        folder: the folder of the prepared data.
        manifest: the manifest of the folder.
    """

    tokenizer: Tokenizer
    folder: Path
    manifest: CorpusManifest

    def rows(self, split: Split, program: Trainable, phase: Phase, isolate_documents: bool) -> RowSource | PartedRows:
        """Return the rows of a split for an objective in a phase; for a mixture, the rows for each part.

        Args:
            split: ``train`` or ``validation``.
            program: the objective's program; ``source`` of its settings selects the kind of rows.
            phase: gives the sequence length, and for streams their number.
            isolate_documents: whether rows contain the document of each token.
        """
        from plmtrain.data.corpus.store import Store
        from plmtrain.data.rows.rows import PartedRows

        store = Store.open(self.folder, split)
        rows = {
            part.name: _SOURCES[part.program.settings.source](store, part.program, phase, isolate_documents)
            for part in program.parts.members
        }
        return rows[None] if None in rows else PartedRows({name: rows[name] for name in program.parts.names})


def _blocks(store: Store, program: AnyProgram, phase: Phase, isolate_documents: bool) -> RowSource:
    from plmtrain.data.rows.blocks import Blocks

    shape = program.row_shape(phase.sequence_length)
    return Blocks(
        store,
        shape.length,
        isolate_documents,
        advance=shape.advance,
        tells_frequencies=program.settings.reads_frequencies,
    )


def _streams(store: Store, program: AnyProgram, phase: Phase, isolate_documents: bool) -> RowSource:
    from plmtrain.data.rows.streams import Streams, TwoWayStreams, held_out_streams

    shape, streams = program.row_shape(phase.sequence_length), phase.batch_size
    advance = shape.advance or shape.length
    if store.split == "validation":
        streams = held_out_streams(len(store), shape.length, advance, most=streams)
    kind = TwoWayStreams if program.settings.source == "two_way_streams" else Streams
    return kind(store, shape.length, streams, advance=advance, others=shape.others, isolate_documents=isolate_documents)


def _translations(store: Store, program: AnyProgram, phase: Phase, isolate_documents: bool) -> RowSource:
    from plmtrain.data.rows.translations import Translations

    assert not isolate_documents, "refused by the rules of the settings"
    settings = program.settings
    return Translations(
        store,
        program.row_shape(phase.sequence_length).length,
        translation_share=settings.translation_share,
        exponent=settings.language_exponent,
        sentences=settings.reads_sentences,
    )


def _segment_pairs(store: Store, program: AnyProgram, phase: Phase, isolate_documents: bool) -> RowSource:
    from plmtrain.data.rows.pair_rows import PairSource

    assert not isolate_documents, "refused by the rules of the settings"
    length = program.row_shape(phase.sequence_length).length
    return PairSource(store, _cut(store, program.settings.pairs, length, lambda moment: None), length)


_SOURCES: Mapping[Reads, Callable[[Store, AnyProgram, Phase, bool], RowSource]] = {
    "blocks": _blocks,
    "streams": _streams,
    "two_way_streams": _streams,
    "segment_pairs": _segment_pairs,
    "translations": _translations,
}
"""The function that makes rows from prepared text, for each value of ``ObjectiveSettings.source``."""


def _cut(store: Store, settings: PairSettings, length: int, on_update: OnUpdate) -> PairStore:
    """Return the pairs of a split, cut now if necessary; held-out text is cut in one copy."""
    from plmtrain.data.corpus.pair_cutting import Cutting
    from plmtrain.data.corpus.pair_store import pairs_of

    copies = settings.pair_copies if store.split == "train" else 1
    cutting = Cutting(
        relation=settings.relation,
        tokens=length,
        copies=copies,
        short_share=settings.short_share,
        one_segment_share=settings.one_segment_share,
    )
    return pairs_of(store, cutting, on_update)


def derive(corpus: Corpus, settings: PretrainSettings, on_update: OnUpdate) -> None:
    """Derive from prepared text the further data that the objective reads, such as pairs. A run does so before it trains, so that
    unsuitable text is reported early."""
    from plmtrain.data.corpus.store import Store
    from plmtrain.data.rows.row_formats import RowFormat

    for phase in plan_phases(settings.trainer):
        length = phase.sequence_length - RowFormat.of(settings.model.family, 2).framing
        for objective in objective_in(settings, phase).members().values():
            if (pairs := objective.pairs) is not None:
                for split in SPLITS:
                    _cut(Store.open(corpus.folder, split), pairs, length, on_update)


def tokenizer_of(settings: PretrainSettings, on_update: OnUpdate) -> Tokenizer:
    """Return the run's tokenizer: an existing one, the one of ``init`` or of the teacher, or one trained on its text."""
    from plmtrain.data.corpus.trained_tokenizers import tokenizer_for

    chosen = settings.tokenizer
    if chosen.path is None and settings.tokenizer_from is not None:
        from plmtrain.training.restore import tokenizer_folder

        chosen = chosen.model_copy(update={"path": str(tokenizer_folder(Path(settings.tokenizer_from)))})
    return with_added_tokens(tokenizer_for(located(settings.data), chosen, on_update), settings.model.published.tokens)


def first_words(settings: PretrainSettings, on_update: OnUpdate, characters: int = 60) -> str:
    """Return the beginning of the run's text, for showing what a tokenizer makes of it.

    Args:
        settings: the run's settings.
        on_update: called with the progress.
        characters: the largest number of them; words are not cut, except one that is longer.
    """
    from plmtrain.data.corpus.documents import Reading
    from plmtrain.data.corpus.sources import find_sources

    data = located(settings.data)
    sources = find_sources(data, make_folder(Path(data.prepared_dir)) / ".hashes.json", on_update)
    for _, passage in Reading(data, sources, "train").passages():
        if words := passage.text.split():
            text = " ".join(words[:characters])
            return text if len(text) <= characters else text[: characters + 1].rpartition(" ")[0] or text[:characters]
    return ""


def corpus_of(settings: PretrainSettings, on_update: OnUpdate) -> Corpus:
    """Return the run's text, prepared now if necessary."""
    from plmtrain.data.corpus.prepare import prepare

    tokenizer = tokenizer_of(settings, on_update)
    require_tokens(settings, tokenizer)
    longest = max(phase.sequence_length for phase in plan_phases(settings.trainer))
    folder = prepare(located(settings.data), tokenizer, minimum_validation_tokens=longest, on_update=on_update)
    return Corpus(tokenizer, folder, manifests.load(folder, tokenizer.digest))


def objective_in(settings: PretrainSettings, phase: Phase) -> ObjectiveSettings:
    """Return the objective's settings in a phase of the run."""
    return settings.objective.changed(phase.objective) if phase.objective else settings.objective


def programs_of(settings: PretrainSettings, phases: Sequence[Phase], vocabulary: Vocabulary) -> list[Trainable]:
    """Make one program, or mixture, for each phase."""
    from plmtrain import objectives

    return [objectives.build(objective_in(settings, phase), settings.model, vocabulary) for phase in phases]
