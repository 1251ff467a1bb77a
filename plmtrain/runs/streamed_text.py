"""The text of a pretraining run that is prepared file by file while training reads it (``data=stream``).

The first file is prepared whole, like any other text. It stands for all where a run must know something of its text before it
reads it: it gives the held-out documents, unless they have files of their own, the frequencies of tokens, and rows to measure
steps with.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from plmtrain import limits
from plmtrain.console import counted, warn
from plmtrain.data.corpus.overlap import HASHES
from plmtrain.data.corpus.store import mapped
from plmtrain.data.corpus.updates import OnUpdate
from plmtrain.data.rows.rows import PartedRows
from plmtrain.data.shards.ahead import Ahead, AheadPlan
from plmtrain.data.shards.shard_cache import AwaitedShards, ShardCache, ShardRecord
from plmtrain.data.shards.shard_files import LISTING, ShardFiles
from plmtrain.data.shards.shard_order import ShardOrder
from plmtrain.data.shards.sharded_rows import BlockShape, ShardedRows
from plmtrain.errors import TooLittleText
from plmtrain.files import size_in_words, write_json_atomically
from plmtrain.json_files import read_object
from plmtrain.runs.corpus import Corpus, corpus_of, rows_from
from plmtrain.runs.prepared_text import PreparedText
from plmtrain.settings.run import PretrainSettings

if TYPE_CHECKING:
    from rich.console import RenderableType

    from plmtrain.data.loading.order import Phase
    from plmtrain.data.rows.rows import RowSource
    from plmtrain.programs.learner import Learner
    from plmtrain.programs.program import Trainable
    from plmtrain.training.group import Group
    from plmtrain.training.run_folder import RunFolder

_SHARE_OF_CORES = 4
"""One core in so many prepares text ahead of training, which needs the others."""


class StreamedText(PreparedText):
    """The text of a run, of which only the files around the current step are prepared.

    Args:
        settings: the run's settings.
        corpus: the first file, and what is held out.
        files: all files.
    """

    def __init__(self, settings: PretrainSettings, corpus: Corpus, files: ShardFiles) -> None:
        # Held-out documents are left out of all files when these are prepared.
        super().__init__(settings, replace(corpus, manifest=replace(corpus.manifest, overlap=0)))
        self.files = files
        self.digest = hashlib.sha256(json.dumps([corpus.manifest.digest, files.listing]).encode()).hexdigest()
        self._ahead: Ahead | None = None
        self._cache: ShardCache | None = None

    @classmethod
    def of(cls, settings: PretrainSettings, on_update: OnUpdate) -> StreamedText:
        """Make the material of a run; prepare its first file now if necessary."""
        files, corpus = ShardFiles.of(settings.data), corpus_of(settings, on_update)
        _require_whole_documents(corpus, files)
        return cls(settings, corpus, files)

    def training_rows(
        self,
        rows: Sequence[RowSource | PartedRows],
        programs: Sequence[Trainable],
        phases: Sequence[Phase],
        folder: RunFolder,
        group: Group,
    ) -> Sequence[ShardedRows]:
        # A copy of a run's folder is another run. The first process names the place, which other machines may call otherwise.
        place = str(group.gather_json([str(folder.path.resolve())])[0])
        name = f"{folder.path.name}-{hashlib.sha256(os.fsencode(f'{folder.run_id} {place}')).hexdigest()[:16]}"
        streams, record = Path(self.settings.data.prepared_dir) / "streams", folder.path / "data" / "shards.jsonl"
        self._cache = cache = ShardCache(self.files, self.corpus.manifest.digest, streams / name, record)
        shards = AwaitedShards(cache)
        if group.is_main:
            self._ahead = Ahead(self._plan(cache), alone=group.size == 1)
            shards = AwaitedShards(cache, _tell_wait, self._ahead.in_vain)
        group.wait()  # the others must not read why an earlier start failed
        sources: list[ShardedRows] = []
        for opening, program, phase in zip(rows, programs, phases, strict=True):
            assert not isinstance(opening, PartedRows), "refused by the rules of the settings"
            part = program.parts.main.program
            shape = part.row_shape(phase.sequence_length)
            cut = partial(rows_from, program=part, phase=phase, isolate_documents=self.settings.data.isolate_documents)
            block = BlockShape(shape.length, shape.advance or shape.length)
            source = ShardedRows(shards, block, cut, opening, self._ahead)
            source.order = self._order(source, phase, sources[-1] if sources else None, phases[len(sources) - 1])
            sources.append(source)
        return sources

    def _order(self, source: ShardedRows, phase: Phase, previous: ShardedRows | None, before: Phase) -> ShardOrder:
        """Return the order of a phase's rows: that of the phase before it if their rows have one shape, else one that begins with
        the next file.

        Args:
            source: the rows of the phase.
            phase: the phase.
            previous: the rows of the phase before it; None for the first phase.
            before: that phase.
        """
        if previous is None:
            return ShardOrder(self.settings.seed, len(self.files), source.rows_in)
        if (before.sequence_length, previous.shape) == (phase.sequence_length, source.shape):
            return previous.order
        read = before.samples_before + before.steps * before.batch_size
        first = partial(previous.order.turn_after, read)
        return ShardOrder(self.settings.seed, len(self.files), source.rows_in, first, phase.samples_before)

    def _plan(self, cache: ShardCache) -> AheadPlan:
        data = self.settings.data
        return AheadPlan(
            cache=cache,
            seed=self.settings.seed,
            tokenizer=self.tokenizer,
            held_out=_held_out(self.corpus),
            limit=self.limit,
            processes=data.processes or max(1, limits.cores() // _SHARE_OF_CORES),
        )

    @property
    def limit(self) -> int:
        """The most bytes that prepared files take."""
        return int(self.settings.data.cache_gb * 10**9)

    def release(self) -> None:
        if self._ahead is not None:
            self._ahead.end()
            self._ahead = None

    def conclude(self, program: Trainable, learner: Learner, phase: Phase, group: Group, folder: Path) -> None:
        self.release()
        if group.is_main and self._cache is not None:
            shutil.rmtree(self._cache.folder, ignore_errors=True)

    def closing(
        self, program: Trainable, learner: Learner, best: float | None, measured: Mapping[str, float]
    ) -> list[RenderableType]:
        shown = super().closing(program, learner, best, measured)
        return shown if self._cache is None else [*shown, *_left_out(self._cache)]

    def keep(self, folder: Path) -> None:
        super().keep(folder)
        write_json_atomically(folder / "data" / LISTING, {"files": self.files.listing})

    def changes(self, folder: Path) -> list[str]:
        before = read_object(folder / "data" / LISTING)["files"]
        changed = [str(now[0]) for now in self.files.listing if now not in before]
        changed += [str(old[0]) for old in before if old not in self.files.listing and str(old[0]) not in changed]
        return changed or (super().changes(folder) if before == self.files.listing else ["the files are in another order"])

    def passes(self, rows: Sequence[RowSource], phases: Sequence[Phase]) -> float | None:
        return None

    def amount(self) -> str:
        size = size_in_words(sum(self.files.sizes))
        files = f"{counted(len(self.files), 'file')} of {size}, prepared while they are read in at most {self.limit / 1e9:g} GB"
        return f"{files}, of which the first has {super().amount()}"

    def repetitions(self) -> list[str]:
        return [f"in the first file, {line}" for line in super().repetitions()]


def _tell_wait(path: Path) -> None:
    warn(f"training waits for {path.name} to be prepared; more data.processes prepare sooner")


def _left_out(cache: ShardCache) -> list[str]:
    """Return a line that sums up what the prepared files lack; none if that is nothing."""
    record = ShardRecord(cache.record_path)
    facts = [known for number in range(len(cache.files)) if (known := record.of(cache.key(number))) is not None]
    skipped, dropped = sum(known.skipped for known in facts), sum(known.dropped for known in facts)
    if not skipped and not dropped:
        return []
    left_out = f"{counted(dropped, 'document')} left out, since their text is held out"
    return [f"{counted(len(facts), 'file')} prepared for training: {counted(skipped, 'line')} skipped, {left_out}"]


def _held_out(corpus: Corpus) -> Path:
    return next(iter(corpus.folders.values())) / "validation" / HASHES


def _require_whole_documents(corpus: Corpus, files: ShardFiles) -> None:
    """Refuse a first file of which the end of a document is held out: training would read the whole document.

    Raises:
        TooLittleText: naming the file.
    """
    held = mapped(_held_out(corpus))
    # The two parts of a document that was cut have hashes of opposite bits (``Encoded.cut``).
    if np.isin(~held, mapped(next(iter(corpus.folders.values())) / "train" / HASHES)).any():
        what = "the first file of the stream has too few documents to hold one out"
        raise TooLittleText(what, str(files.paths[0]), "name held-out text: data.validation_files=[held-out.txt]")
