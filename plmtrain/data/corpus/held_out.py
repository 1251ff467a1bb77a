"""The original text of the documents that are held out: prepared data have its tokens alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from plmtrain.data.corpus.documents import Reading
from plmtrain.data.corpus.encoding import Passage, content_hash, encode
from plmtrain.data.corpus.sources import Sources, find_sources
from plmtrain.data.corpus.store import Store
from plmtrain.data.corpus.updates import OnUpdate
from plmtrain.errors import DataError
from plmtrain.settings.data import DataSettings
from plmtrain.text.sentences import boundaries

if TYPE_CHECKING:
    from plmtrain.text.tokenizer import Tokenizer

_MORE = 16
"""More documents than these cannot be too large to be held out: see ``splitting.LARGEST_SHARE``."""


def held_out_texts(data: DataSettings, folder: Path, tokenizer: Tokenizer, on_update: OnUpdate) -> Iterator[str]:
    """Yield the original text of each held-out document.

    Args:
        data: how the text was read.
        folder: the prepared data.
        tokenizer: the tokenizer that encoded them.
        on_update: called with the progress.

    Raises:
        DataError: if the text is not in the sources, or if it begins in the middle of a sentence.
    """
    sources = find_sources(data, Path(data.prepared_dir) / ".hashes.json", on_update)
    if data.validation_files:
        yield from (passage.text for _, passage in Reading(data, sources, "validation").passages())
        return
    store = Store.open(folder, "validation")
    ends = store.documents[1:] - 1  # the last token of each document is its end mark
    held = {np.asarray(store.tokens[first:end]).tobytes() for first, end in zip(store.documents[:-1], ends, strict=True)}
    count, seen = 0, set[int]()
    for passage in _with_lowest_keys(data, sources, len(ends) + _MORE):
        if data.deduplicate and content_hash(passage.text) in seen:
            continue
        seen.add(content_hash(passage.text))
        if encode(tokenizer, [passage]).tokens[:-1].tobytes() in held:
            count += 1
            yield passage.text
    if count == len(ends):
        return
    if count or len(ends) != 1:
        remedy = "run the same command again, or name files with scoring.files="
        raise DataError("the held-out documents are no longer in the sources", "data.files", remedy)
    yield _end_of_a_document(data, sources, np.asarray(store.tokens[:-1]), tokenizer)


def _passages(data: DataSettings, sources: Sources) -> Iterator[Passage]:
    yield from (passage for _, passage in Reading(data, sources, "train").passages())


def _with_lowest_keys(data: DataSettings, sources: Sources, count: int) -> Iterator[Passage]:
    """Yield the documents whose keys are among the lowest: they are the first to be held out."""
    keys = np.unique(np.array([passage.key for passage in _passages(data, sources)], np.uint64))
    limit = keys[:count][-1]
    yield from (passage for passage in _passages(data, sources) if passage.key <= limit)


def _end_of_a_document(data: DataSettings, sources: Sources, end: NDArray[np.unsignedinteger], tokenizer: Tokenizer) -> str:
    """Return the text of the end of a document that was cut in two, from its tokens."""
    for passage in _passages(data, sources):
        whole = encode(tokenizer, [passage])
        tokens = whole.tokens[:-1]
        if len(tokens) < len(end) or (tokens[len(tokens) - len(end) :] != end).any():
            continue
        starts, sentences = boundaries(passage.text), np.cumsum(whole.sentences) - whole.sentences
        index = int(np.searchsorted(sentences, len(tokens) - len(end)))
        if len(starts) == len(sentences) and index < len(sentences) and sentences[index] == len(tokens) - len(end):
            return passage.text[starts[index] :]
        if tokenizer.type == "byte_bpe":
            return tokenizer.decode(end)  # exact: its tokens are the bytes of the text
    what = "the held-out text begins in the middle of a sentence, so that its words and bytes are unknown"
    raise DataError(what, "data.validation_fraction", "name the text to score: scoring.files=[held-out.txt]")
