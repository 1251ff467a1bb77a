"""Preparing a pretraining run's text, tokenizer, rows and programs from its settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from plmtrain.data.corpus import corpus_manifest as manifests
from plmtrain.data.corpus.corpus_manifest import CorpusManifest
from plmtrain.data.corpus.named_source import of_source
from plmtrain.data.corpus.updates import OnUpdate
from plmtrain.data.loading.order import Phase, plan_phases
from plmtrain.data.shards.shard_files import ShardFiles
from plmtrain.data.splits import SPLITS
from plmtrain.errors import SettingsError
from plmtrain.files import make_folder
from plmtrain.interop.hub_text import located
from plmtrain.runs.material import require_tokens
from plmtrain.settings.data import DataSettings
from plmtrain.settings.objectives.base import ObjectiveSettings, Reads
from plmtrain.settings.pairs import PairSettings
from plmtrain.settings.run import PretrainSettings
from plmtrain.text.extension import with_added_tokens

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from plmtrain.data.corpus.cooccurrence import Information
    from plmtrain.data.corpus.pair_store import PairStore
    from plmtrain.data.corpus.store import Store
    from plmtrain.data.rows.mixed_rows import HeldOut
    from plmtrain.data.rows.rows import PartedRows, RowSource
    from plmtrain.data.splits import Split
    from plmtrain.programs.program import AnyProgram, Trainable
    from plmtrain.text.tokenizer import Tokenizer
    from plmtrain.text.vocabulary import Vocabulary


@dataclass(frozen=True)
class Corpus:
    """The prepared text of a run: one text, or several that are mixed.

    Args:
        tokenizer: the tokenizer that encoded it.
        manifest: the description of all of it.
        folders: the folder of the prepared data of each text by its name; of one text alone, without a name.
        shares: the share of each text in the rows of training, which add up to 1.
    """

    tokenizer: Tokenizer
    manifest: CorpusManifest
    folders: Mapping[str | None, Path]
    shares: Mapping[str | None, float]

    @classmethod
    def of_one(cls, tokenizer: Tokenizer, folder: Path) -> Corpus:
        """Return one prepared text."""
        return cls(tokenizer, manifests.load(folder, tokenizer.digest), {None: folder}, {None: 1.0})

    def stores(self, split: Split) -> dict[str | None, Store]:
        """Return a split of each text."""
        from plmtrain.data.corpus.store import Store

        return {name: Store.open(folder, split) for name, folder in self.folders.items()}

    @property
    def main(self) -> str | None:
        """The name of the text with the largest share."""
        return max(self.shares, key=lambda name: self.shares[name])

    def token_counts(self) -> NDArray[np.int64]:
        """Count the tokens of the training text; those of several texts in their shares.  # [vocabulary]"""
        from plmtrain.data.corpus.frequencies import mixed_counts, token_counts

        manifest, stores = self.manifest, self.stores("train")
        counts = [token_counts(store, manifest.vocabulary_size, manifest.document_end) for store in stores.values()]
        return counts[0] if len(counts) == 1 else mixed_counts(counts, [self.shares[name] for name in stores])

    def mutual_information(self) -> Information:
        """Return what the tokens of the training text have to do with those beside them."""
        from plmtrain.data.corpus.cooccurrence import mutual_information

        stores = {store: self.shares[name] for name, store in self.stores("train").items()}
        return mutual_information(stores, self.token_counts(), self.manifest.document_end)

    def rows(self, split: Split, program: Trainable, phase: Phase, isolate_documents: bool) -> RowSource | PartedRows:
        """Return the rows of a split for an objective in a phase; for a mixture, the rows for each part.

        Args:
            split: ``train`` or ``validation``.
            program: the objective's program; ``source`` of its settings selects the kind of rows.
            phase: gives the sequence length, and for streams their number.
            isolate_documents: whether rows contain the document of each token.
        """
        stores = self.stores(split)
        if None in stores:
            return _of_parts(program, lambda part: rows_from(stores[None], part, phase, isolate_documents))
        return _of_parts(program, lambda part: self._mixed(stores, part, phase, isolate_documents))

    def passes(self, program: Trainable, phase: Phase, isolate_documents: bool) -> dict[str, float]:
        """Return how often each text of a mix is read in a phase, by its main objective; arguments as of ``rows``."""
        from plmtrain.data.rows.mixed_rows import MixedRows, MixedStreams

        rows = self._mixed(self.stores("train"), program.parts.main.program, phase, isolate_documents)
        assert isinstance(rows, MixedRows | MixedStreams)
        passes = rows.passes(phase.steps, phase.batch_size)
        return {str(name): count for name, count in zip(self.folders, passes, strict=True)}

    def held_out_rows(self, program: Trainable, phase: Phase, isolate_documents: bool) -> HeldOut:
        """Return the held-out rows, those of several texts by name; arguments as of ``rows``."""
        from plmtrain.data.rows.mixed_rows import RowsBySource

        if None in self.folders:
            return self.rows("validation", program, phase, isolate_documents)

        def of(store: Store) -> RowSource | PartedRows:
            return _of_parts(program, lambda part: rows_from(store, part, phase, isolate_documents))

        stores = self.stores("validation")
        names = [name for name in stores if name is not None]
        return RowsBySource({name: of(stores[name]) for name in names}, {name: self.shares[name] for name in names})

    def _mixed(self, stores: Mapping[str | None, Store], part: AnyProgram, phase: Phase, isolate_documents: bool) -> RowSource:
        """Return the rows of several texts in their shares."""
        from plmtrain.data.rows.mixed_rows import MixedRows, MixedStreams
        from plmtrain.data.rows.mixing import BLOCK
        from plmtrain.data.rows.quotas import apportioned
        from plmtrain.data.rows.rows import StreamSource

        shares = [self.shares[name] for name in stores]
        streamed = part.settings.source in ("streams", "two_way_streams")
        total = phase.batch_size if streamed else BLOCK
        quotas = apportioned(total, shares)
        for name, share, quota in zip(stores, shares, quotas, strict=True):
            if not quota:
                unit, more = (f"{total} streams", " or trainer.batch_size") if streamed else (f"{total:,} rows", "")
                what = f"the share of source {name}, {share:.2%}, is less than one of {unit}"
                raise SettingsError(what, f"data.sources.{name}", f"omit it, or raise its weight{more}")
        rows = [
            rows_from(store, part, replace(phase, batch_size=quota) if streamed else phase, isolate_documents)
            for store, quota in zip(stores.values(), quotas, strict=True)
        ]
        if not streamed:
            return MixedRows(rows, shares)
        return MixedStreams([each for each in rows if isinstance(each, StreamSource)], shares)


def _of_parts(program: Trainable, rows_of_part: Callable[[AnyProgram], RowSource]) -> RowSource | PartedRows:
    """Return the rows of a program, or of each of its parts."""
    from plmtrain.data.rows.rows import PartedRows

    rows = {part.name: rows_of_part(part.program) for part in program.parts.members}
    return rows[None] if None in rows else PartedRows({name: rows[name] for name in program.parts.names})


def rows_from(store: Store, program: AnyProgram, phase: Phase, isolate_documents: bool) -> RowSource:
    """Return the rows of one text for a program; further arguments as of ``Corpus.rows``."""
    return _SOURCES[program.settings.source](store, program, phase, isolate_documents)


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
    from plmtrain.data.rows.row_formats import RowFormat

    for phase in plan_phases(settings.trainer):
        length = phase.sequence_length - RowFormat.of(settings.model.family, 2).framing
        for objective in objective_in(settings, phase).members().values():
            if (pairs := objective.pairs) is not None:
                for split in SPLITS:
                    for store in corpus.stores(split).values():
                        _cut(store, pairs, length, on_update)


def tokenizer_of(settings: PretrainSettings, on_update: OnUpdate) -> Tokenizer:
    """Return the run's tokenizer: an existing one, the one of ``init`` or of the teacher, or one trained on its text."""
    from plmtrain.data.corpus.trained_tokenizers import tokenizer_for

    chosen = settings.tokenizer
    if chosen.path is None and settings.tokenizer_from is not None:
        from plmtrain.training.restore import tokenizer_folder

        chosen = chosen.model_copy(update={"path": str(tokenizer_folder(Path(settings.tokenizer_from)))})
    tokenizer = tokenizer_for(_sample(settings.data, chosen.sample_bytes), chosen, on_update)
    return with_added_tokens(tokenizer, settings.model.published.tokens)


def _sample(data: DataSettings, size: int) -> DataSettings:
    """Return the settings of the text that a tokenizer is trained on: of a stream, some files that have about as many bytes."""
    return ShardFiles.of(data).sample(size) if data.type == "stream" else located(data)


def first_words(settings: PretrainSettings, on_update: OnUpdate, characters: int = 60) -> str:
    """Return the beginning of the run's text, for showing what a tokenizer makes of it.

    Args:
        settings: the run's settings.
        on_update: called with the progress.
        characters: the largest number of them; words are not cut, except one that is longer.
    """
    from plmtrain.data.corpus.documents import Reading
    from plmtrain.data.corpus.sources import find_sources

    data = next(iter(located(settings.data).texts.values()))
    sources = find_sources(data, make_folder(Path(data.prepared_dir)) / ".hashes.json", on_update)
    for _, passage in Reading(data, sources, "train").passages():
        if words := passage.text.split():
            text = " ".join(words[:characters])
            return text if len(text) <= characters else text[: characters + 1].rpartition(" ")[0] or text[:characters]
    return ""


def corpus_of(settings: PretrainSettings, on_update: OnUpdate) -> Corpus:
    """Return the run's text, prepared now if necessary; several texts with the same tokenizer, each in a folder of its own."""
    from plmtrain.data.corpus.frequencies import unigram_entropy
    from plmtrain.data.corpus.overlap import overlaps
    from plmtrain.data.corpus.prepare import prepare

    tokenizer = tokenizer_of(settings, on_update)
    require_tokens(settings, tokenizer)
    longest = max(phase.sequence_length for phase in plan_phases(settings.trainer))
    folders: dict[str | None, Path] = {}
    for name, data in located(settings.data).texts.items():
        with of_source(name):
            folders[name] = prepare(data, tokenizer, minimum_validation_tokens=longest, on_update=on_update)
    if None in folders:
        return Corpus.of_one(tokenizer, folders[None])
    own = {str(name): manifests.load(folder, tokenizer.digest) for name, folder in folders.items()}
    shares = _shares(settings.data, {name: manifest.splits["train"].tokens for name, manifest in own.items()})
    between = overlaps({str(name): folder for name, folder in folders.items()})
    corpus = Corpus(tokenizer, manifests.joined(settings.data.name, own, between, 0.0), folders, shares)
    entropy = unigram_entropy(corpus.token_counts())
    return replace(corpus, manifest=replace(corpus.manifest, unigram_entropy=entropy))


def _shares(data: DataSettings, tokens: Mapping[str, int]) -> dict[str | None, float]:
    """Return the share of each source of a mix: by its weight, or by its size.

    Args:
        data: the mix.
        tokens: the training tokens of each source.
    """
    from plmtrain.data.rows.quotas import shares

    weights = data.weights
    if weights is not None:
        return {name: weights[name] / sum(weights.values()) for name in tokens}
    by_size = shares(list(tokens.values()), data.size_exponent)
    return dict(zip(tokens, by_size.tolist(), strict=True))


def objective_in(settings: PretrainSettings, phase: Phase) -> ObjectiveSettings:
    """Return the objective's settings in a phase of the run."""
    return settings.objective.changed(phase.objective) if phase.objective else settings.objective


def programs_of(settings: PretrainSettings, phases: Sequence[Phase], vocabulary: Vocabulary) -> list[Trainable]:
    """Make one program, or mixture, for each phase."""
    from plmtrain import objectives

    return [objectives.build(objective_in(settings, phase), settings.model, vocabulary) for phase in phases]
