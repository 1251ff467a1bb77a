"""One shard prepared: its documents, but for those that are held out, as the training split of prepared data."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from plmtrain.data.corpus.documents import Reading
from plmtrain.data.corpus.encoding import Encoded, encode, token_type
from plmtrain.data.corpus.prepare import uncounted
from plmtrain.data.corpus.processes import ordered_map
from plmtrain.data.corpus.staging import SplitWriter
from plmtrain.data.shards.shard_cache import ShardCache, ShardFacts
from plmtrain.errors import escaped
from plmtrain.files import atomic_folder, sha256
from plmtrain.json_files import DamagedJson, read_record
from plmtrain.text.readers import Skips

if TYPE_CHECKING:
    from plmtrain.text.tokenizer import Tokenizer

_FACTS = "shard.json"
_HEADERS = 2048  # bytes of the array files and the facts, apart from what the arrays hold


class NoRoom(Exception):
    """A shard that takes more space than there is; nothing of it is left."""


def prepare_shard(
    cache: ShardCache,
    number: int,
    tokenizer: Tokenizer,
    held_out: NDArray[np.uint64],
    *,
    known: ShardFacts | None,
    room: int,
    processes: int,
    between_chunks: Callable[[], None] = lambda: None,
) -> ShardFacts:
    """Prepare a shard in the cache.

    Args:
        cache: of the run.
        number: of the shard.
        tokenizer: encodes it.
        held_out: [documents] the hashes of documents that are held out, ascending.
        known: its facts, if it was prepared before.
        room: the most bytes that it may take.
        processes: how many encode.
        between_chunks: called about once for each megabyte of text; an error ends the preparation.

    Raises:
        NoRoom: if it takes more.
        DataError: if its file changed or cannot be read.
        DiskError: if it cannot be written.
    """
    files = cache.files
    sources, skips, dropped = files.sources(number), Skips(), 0
    reading = Reading(files.as_text([number]), sources, "train", skips)
    vocabulary = tokenizer.vocabulary
    taken = _HEADERS + 8 * vocabulary.size
    with atomic_folder(cache.place(number)) as folder:
        writer = SplitWriter(
            folder / "train", token_type(vocabulary.size), vocabulary.size, parallel=False, spelt=bool(vocabulary.words)
        )
        with ordered_map(encode, tokenizer, reading.chunks(), processes) as chunks:
            for chunk in chunks:
                between_chunks()
                reading.passed()
                kept = ~np.isin(chunk.hashes, held_out)
                documents = chunk.select(kept)
                dropped += int(np.count_nonzero(~kept))
                taken += _bytes(documents)
                if taken > room:
                    raise NoRoom
                writer.add(documents)
        writer.frequencies[uncounted(tokenizer)] = 0
        counts, _ = writer.finish()
        digest = sha256(files.paths[number])
        files.require_unchanged(number)
        if known is not None and known.sha256 != digest:
            raise files.changed(number)
        facts = ShardFacts(
            key=cache.key(number),
            sha256=digest,
            tokens=counts.tokens,
            bytes=taken,
            documents=counts.documents,
            dropped=dropped,
            skipped=skips.count,
            first_skipped=escaped(next(iter(skips.first), "")),
        )
        (folder / _FACTS).write_text(json.dumps(asdict(facts)))
    return facts


def facts_in(folder: Path) -> ShardFacts | None:
    """Return the facts of a prepared shard; None if they are missing or damaged."""
    try:
        return read_record(folder / _FACTS, ShardFacts)
    except (FileNotFoundError, DamagedJson):
        return None


def _bytes(documents: Encoded) -> int:
    """Return the most bytes that documents take on the disk."""
    return int(sum(getattr(documents, field.name).nbytes for field in fields(documents)))
