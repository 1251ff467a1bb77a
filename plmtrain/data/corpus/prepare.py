"""From text to prepared data: it is read, encoded on all cores, split, and published atomically when complete.

The folder's name is a digest of everything that determines its contents: the sources' contents, how they are read, and the
tokenizer. Any command can use an existing folder; commands that need the same one at the same time wait for the first to make it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from plmtrain import limits
from plmtrain.data.corpus import corpus_manifest as manifests
from plmtrain.data.corpus.corpus_manifest import CorpusManifest
from plmtrain.data.corpus.documents import Reading, bytes_of_text, reading_of
from plmtrain.data.corpus.encoding import Encoded, encode, token_type
from plmtrain.data.corpus.frequencies import unigram_entropy
from plmtrain.data.corpus.processes import ordered_map
from plmtrain.data.corpus.sources import HASHES, Sources, find_sources
from plmtrain.data.corpus.splitting import Held, choose_held_out, cut_position, first_of_each
from plmtrain.data.corpus.staging import SplitWriter, Staging
from plmtrain.data.corpus.updates import OnUpdate, PreparationUpdate
from plmtrain.data.splits import Split
from plmtrain.errors import DataError
from plmtrain.families import TOKENIZER_FAMILIES
from plmtrain.faults import fault_point
from plmtrain.files import FolderLock, atomic_folder, clear_leftovers, disk_errors, make_folder, temporary_name
from plmtrain.settings.data import DataSettings
from plmtrain.stopping import safe_point
from plmtrain.text.readers import Skips

if TYPE_CHECKING:
    from plmtrain.text.tokenizer import Tokenizer

_WORTH_A_PROCESS = 2**21  # bytes of text: less is encoded before another process has started


def prepare(data: DataSettings, tokenizer: Tokenizer, *, minimum_validation_tokens: int, on_update: OnUpdate) -> Path:
    """Prepare a corpus, unless that has been done.

    Args:
        data: what to read, and what to hold out.
        tokenizer: encodes it; its ``sep`` token (``eos`` where there is none) ends every document.
        minimum_validation_tokens: the fewest tokens to hold out: those of one row.
        on_update: called with the progress.

    Returns:
        The folder ``prepared_dir/NAME-DIGEST``: ``manifest.json``, and ``train`` and ``validation`` for ``Store.open``.

    Raises:
        DataError: if the text cannot be read, is too short, or changes meanwhile.
        DiskError: if it cannot be written; with the bytes needed and free.
        Stopped: if a signal requested it; nothing is left behind.
        DistributedError: if a worker process was killed.
    """
    root = make_folder(Path(data.prepared_dir))
    sources = find_sources(data, root / HASHES, on_update)
    preparation = _Preparation(data, tokenizer, sources, minimum_validation_tokens, root)
    if (folder := preparation.existing()) is not None:
        return folder
    with FolderLock(root / ".lock", on_wait=lambda: on_update(PreparationUpdate(stage="wait"))):
        if (folder := preparation.existing()) is not None:
            return folder
        clear_leftovers(root)
        return preparation.make(on_update)


class _Preparation:
    def __init__(self, data: DataSettings, tokenizer: Tokenizer, sources: Sources, minimum: int, root: Path) -> None:
        self._data, self._tokenizer, self._sources, self._minimum, self._root = data, tokenizer, sources, minimum, root
        self._token_type = token_type(tokenizer.vocabulary.size)

    def _target(self, *, by_minimum: bool) -> tuple[Path, str]:
        """Return the folder and its digest.

        Args:
            by_minimum: whether the fewest number of validation tokens determined what is held out. That is rare, and otherwise
                the folder serves rows of any length.
        """
        data = self._data
        made_of: dict[str, Any] = {
            "format": manifests.VERSION,
            "sources": self._sources.digest(),
            "tokenizer": self._tokenizer.digest,
            "reading": reading_of(data, self._sources),
            "held_out": None if data.validation_files else data.validation_fraction,
            "minimum": self._minimum if by_minimum else None,
        }
        if data.deduplicate:
            made_of["deduplicated"] = True
        if self._tokenizer.type == "unigram":
            made_of["words"] = 2  # in data of the first rule of word starts, punctuation began no word
        digest = hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()
        return self._root / f"{data.name}-{digest[:16]}", digest

    def existing(self) -> Path | None:
        """Return a complete folder that exists already."""
        for by_minimum in (False, True):
            folder, _ = self._target(by_minimum=by_minimum)
            try:
                manifest = manifests.load(folder, self._tokenizer.digest)
            except DataError:
                continue  # missing; or damaged, and then made again
            if by_minimum or manifest.splits["validation"].tokens >= self._minimum:
                return folder
            if self._data.validation_files:
                raise self._short_validation(manifest.splits["validation"].tokens)
        return None

    def make(self, on_update: OnUpdate) -> Path:
        """Make the folder; this process holds the lock."""
        needed = 2 * self._bytes_of_a_copy()
        with _temporary_folder(self._root, needed) as temporary:
            staged: dict[Split, Staging] = {}
            skips = Skips()
            for split in self._splits_read():
                staged[split] = self._encode(split, temporary / split, skips, on_update)
            self._sources.check_unchanged()
            kept = self._kept(staged)
            held = self._held_out(staged, kept)
            target, digest = self._target(by_minimum=held is not None and held.needed_minimum)
            with atomic_folder(
                target, needed=needed // 2, replace=True, before_rename=lambda: fault_point("prep.cache_commit")
            ) as folder:
                self._write(staged, kept, held, folder, digest, skips, on_update)
        return target

    def _bytes_of_a_copy(self) -> int:
        """Return about the size of the prepared data: two or three bytes for each token of some four letters, and the rest."""
        return bytes_of_text(self._sources)

    def _splits_read(self) -> tuple[Split, ...]:
        return ("train", "validation") if self._data.validation_files else ("train",)

    def _encode(self, split: Split, folder: Path, skips: Skips, on_update: OnUpdate) -> Staging:
        """Encode the documents of one split's sources, and count the lines that are skipped."""
        reading = Reading(self._data, self._sources, split, skips)
        total = self._sources.total_bytes
        before = 0 if split == "train" else sum(s.bytes for s in self._sources.described if s.split == "train")
        processes = self._data.processes or min(limits.cores(), 1 + total // _WORTH_A_PROCESS)
        documents = tokens = 0

        def update() -> None:
            done = before + reading.passed()
            on_update(PreparationUpdate(stage="encode", bytes=done, total_bytes=total, documents=documents, tokens=tokens))

        results = ordered_map(encode, self._tokenizer, reading.chunks(), processes)
        with Staging(folder, self._token_type) as staging, results as encoded:
            for number, chunk in enumerate(encoded):
                fault_point("prep.encode", number)
                staging.add(chunk)
                documents, tokens = documents + len(chunk.documents), tokens + len(chunk.tokens)
                update()
        update()
        if not documents:
            raise DataError(
                f"there is no text in the {'training' if split == 'train' else 'validation'} files",
                ", ".join(source.path for source in self._sources.described if source.split == split),
                "give files with text in them",
            )
        return staging

    def _kept(self, staged: Mapping[Split, Staging]) -> NDArray[np.bool_]:
        """Return which documents of the training sources stay: all, or each text once and no held-out one.  # [documents]"""
        hashes = staged["train"].hashes
        if not self._data.deduplicate:
            return np.ones(len(hashes), np.bool_)
        held_out = staged["validation"].hashes if "validation" in staged else np.empty(0, np.uint64)
        kept = first_of_each(hashes, held_out)
        if not kept.any():
            where, remedy = "data.files, data.validation_files", "give other text to train on"
            raise DataError("each training document is a held-out document, too", where, remedy)
        return kept

    def _held_out(self, staged: Mapping[Split, Staging], kept: NDArray[np.bool_]) -> Held | None:
        """Return what is held out of the training documents that stay; None where validation has its own files."""
        if (own := staged.get("validation")) is not None:
            if len(own.tokens) < self._minimum:
                raise self._short_validation(len(own.tokens))
            return None
        train = staged["train"]
        held = choose_held_out(train.keys[kept], train.documents[kept], self._data.validation_fraction, self._minimum)
        return held.among(kept)

    def _short_validation(self, tokens: int) -> DataError:
        return DataError(
            f"the validation text has {tokens} tokens, but a row takes {self._minimum}",
            ", ".join(source.path for source in self._sources.described if source.split == "validation"),
            "give more text (data.validation_files=), or a smaller trainer.sequence_length",
        )

    def _write(
        self,
        staged: Mapping[Split, Staging],
        kept: NDArray[np.bool_],
        held: Held | None,
        folder: Path,
        digest: str,
        skips: Skips,
        on_update: OnUpdate,
    ) -> None:
        """Write both splits and the manifest."""
        size = self._tokenizer.vocabulary.size
        mark = self._tokenizer.vocabulary.document_end
        kinds = {"parallel": self._data.type == "parallel", "spelt": bool(self._tokenizer.vocabulary.words)}
        train = SplitWriter(folder / "train", self._token_type, size, **kinds)
        validation = SplitWriter(folder / "validation", self._token_type, size, **kinds)
        total = self._sources.total_bytes
        done = tokens = 0
        for split, staging in staged.items():
            every = np.ones(len(staging.documents), np.bool_) if split == "validation" else kept
            for documents, out in self._divided(staging, every, held, mark):
                safe_point()
                if split == "validation":
                    out = ~out
                validation.add(documents.select(out))
                train.add(documents.select(~out))
                done, tokens = done + len(out), tokens + len(documents.tokens)
                on_update(PreparationUpdate(stage="write", bytes=total, total_bytes=total, documents=done, tokens=tokens))
        for writer in (train, validation):
            writer.frequencies[uncounted(self._tokenizer)] = 0
        counts, hashes = train.finish()
        held_counts, held_hashes = validation.finish()
        CorpusManifest(
            name=self._data.name,
            digest=digest,
            tokenizer=self._tokenizer.digest,
            vocabulary_size=size,
            document_end=mark,
            sources=self._sources.described,
            splits={"train": counts, "validation": held_counts},
            overlap=int(np.isin(held_hashes, hashes, assume_unique=True).sum()),
            dropped=int(np.count_nonzero(~kept)),
            skipped=skips.count,
            first_skipped=skips.first,
            unigram_entropy=unigram_entropy(train.frequencies),
        ).write(folder)

    def _divided(
        self, staging: Staging, kept: NDArray[np.bool_], held: Held | None, mark: int
    ) -> Iterator[tuple[Encoded, NDArray[np.bool_]]]:
        """Yield the documents that stay in pieces, and which of them are held out."""
        tokens = int(staging.documents[kept].sum())
        for here, every in staging.pieces():
            keep = kept[here]
            documents = every.select(keep)
            if held is None:
                yield documents, np.zeros(len(documents.documents), np.bool_)
                continue
            out = held.documents[here][keep]
            if held.cut is not None and here.start <= held.cut < here.stop:
                index = int(np.count_nonzero(keep[: held.cut - here.start]))
                documents = documents.cut(self._position(documents, index, tokens), mark)
                out = np.insert(out, index + 1, True)
            yield documents, out

    def _position(self, documents: Encoded, index: int, tokens: int) -> int:
        """Return the token at which a document is cut, in a text of some tokens."""
        start, sentence = int(documents.documents[:index].sum()), int(documents.sentence_counts[:index].sum())
        length = int(documents.documents[index])
        sentences = documents.sentences[sentence : sentence + int(documents.sentence_counts[index])]
        return start + cut_position(
            length,
            np.cumsum(sentences) - sentences,
            documents.word_starts[start : start + length],
            round(self._data.validation_fraction * tokens),
            self._minimum,
        )


def uncounted(tokenizer: Tokenizer) -> list[int]:
    """Return the tokens around documents and sentences, which do not count as text."""
    vocabulary = tokenizer.vocabulary
    return [vocabulary.document_end, *([vocabulary["bos"]] if TOKENIZER_FAMILIES[tokenizer.family].marks_sentences else [])]


@contextmanager
def _temporary_folder(root: Path, needed: int) -> Iterator[Path]:
    """Provide a folder that is removed at the end; if this process is killed, by the next command that prepares."""
    folder = temporary_name(root / "staging")
    with disk_errors(root, needed):
        try:
            folder.mkdir()
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
