"""Segment pairs on disk: cut once from prepared text, for each sequence length, and kept inside the text's folder.

A folder contains the places and lengths of segments, not their tokens: some twenty bytes a pair. Its name is a digest of how the
text was cut; the text itself is identified by the folder around it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plmtrain.data.corpus import corpus_manifest as manifests
from plmtrain.data.corpus.pair_cutting import Cutting, Text, cut
from plmtrain.data.corpus.staging import NpyWriter
from plmtrain.data.corpus.store import Store, mapped
from plmtrain.data.corpus.updates import OnUpdate, PreparationUpdate
from plmtrain.errors import DataError
from plmtrain.faults import fault_point
from plmtrain.files import FolderLock, atomic_folder, clear_leftovers, make_folder, sha256, write_json_atomically
from plmtrain.json_files import read_object
from plmtrain.keyed_random import spread_at
from plmtrain.stopping import safe_point

VERSION = 2
"""Of the format and of the rules of cutting; pairs of another version are cut again."""

_PIECE = 2**22  # tokens that are cut at a time, over all copies, or one document if it has more

_AGAIN = "delete the folder: the pairs are cut again"


@dataclass(frozen=True, eq=False)
class PairStore:
    """The pairs of one split, cut in one way.

    Args:
        folder: where they lie.
        starts: [2 arrays of pairs] the first token of each first segment, and of each second one.
        lengths: [2 arrays of pairs] tokens of each first segment, and of each second one.
        changed: [pairs] whether the second segment is not what follows the first.
    """

    folder: Path
    starts: tuple[NDArray[np.unsignedinteger], NDArray[np.unsignedinteger]]
    lengths: tuple[NDArray[np.unsignedinteger], NDArray[np.unsignedinteger]]
    changed: NDArray[np.bool_]

    @classmethod
    def open(cls, folder: Path) -> PairStore:
        """Map pairs into memory.

        Raises:
            DataError: if a file is missing, damaged, or does not fit the others.
        """
        first, second, first_lengths, second_lengths, changed = (mapped(folder / f"{name}.npy") for name in _types(0, 0))
        if {len(array) for array in (first, second, first_lengths, second_lengths)} != {len(changed)}:
            raise DataError("segment pairs do not fit together", str(folder), _AGAIN)
        return cls(folder, (first, second), (first_lengths, second_lengths), changed)

    def __len__(self) -> int:
        return len(self.changed)


def _types(tokens: int, longest: int) -> dict[str, np.dtype[Any]]:
    """The arrays of a folder and the smallest types that hold them."""
    start, length = np.min_scalar_type(tokens), np.min_scalar_type(longest)
    return {
        "first": start,
        "second": start,
        "first_lengths": length,
        "second_lengths": length,
        "changed": np.dtype(np.bool_),
    }


def pairs_of(store: Store, cutting: Cutting, on_update: OnUpdate) -> PairStore:
    """Cut a split into pairs, unless that has been done.

    Args:
        store: one split of the prepared data.
        cutting: how.
        on_update: called with the progress.

    Raises:
        DataError: if the text has too few documents or sentences.
        DiskError: if the pairs cannot be written.
        Stopped: if a signal requested it; nothing is left behind.
    """
    _require_enough(store, cutting)
    made_of = {"version": VERSION, **asdict(cutting)}
    digest = hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()
    root = store.folder / "pairs"
    target = root / f"{store.split}-{cutting.relation}-{cutting.tokens}-{digest[:16]}"
    if not _is_whole(target):
        make_folder(root)
        with FolderLock(root / ".lock", on_wait=lambda: on_update(PreparationUpdate(stage="wait"))):
            if not _is_whole(target):
                clear_leftovers(root)
                _make(target, store, cutting, made_of, on_update)
    return PairStore.open(target)


def _require_enough(store: Store, cutting: Cutting) -> None:
    """Refuse text without anything to distinguish: every label would be the same, or wrong."""
    counts = manifests.read_alone(store.folder).splits[store.split]
    which = "training" if store.split == "train" else "held-out"
    # A repetition of the same document does not count as another document.
    if cutting.relation == "next" and (documents := counts.documents - counts.duplicates) < 2:
        more = "data.files=" if store.split == "train" else "data.validation_files=, or a larger data.validation_fraction"
        raise DataError(
            f"next sentence prediction takes half of all second segments from another document, but the {which} text has "
            f"{documents}",
            str(store.folder),
            f"give more documents ({more}), say what a document is (data.document_per=), or use objective=sop",
        )
    if cutting.relation != "within" and counts.sentences == counts.documents:
        raise DataError(
            f"no document of the {which} text has two sentences: nothing follows anything",
            str(store.folder),
            "give longer documents, or say what a document is (data.document_per=)",
        )


def _is_whole(folder: Path) -> bool:
    """Return whether pairs were cut there and no file is missing."""
    try:
        sizes = read_object(folder / "manifest.json")["bytes"]
        return all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False  # missing; or damaged, and then made again


def _make(target: Path, store: Store, cutting: Cutting, made_of: dict[str, Any], on_update: OnUpdate) -> None:
    """Make the folder; this process holds the lock."""
    repeated = cutting.relation == "next" and manifests.read_alone(store.folder).splits[store.split].duplicates > 0
    text = Text(documents=store.documents, sentences=store.sentences, contents=_contents(store, on_update) if repeated else None)
    types = _types(len(store), cutting.tokens)
    needed = sum(kind.itemsize for kind in types.values()) * 2 * cutting.copies * (1 + len(store) // cutting.tokens)
    count = changed = 0
    with atomic_folder(target, needed=needed, replace=True, before_rename=lambda: fault_point("prep.cache_commit")) as folder:
        with ExitStack() as stack:
            writers = [stack.enter_context(NpyWriter(folder / f"{name}.npy", kind)) for name, kind in types.items()]
            for number, part in enumerate(_parts(store.documents, _PIECE // cutting.copies)):
                safe_point()
                fault_point("prep.pairs", number)
                pairs = cut(text, part, cutting)
                arrays = *pairs.starts.T, *pairs.lengths.T, pairs.changed
                for writer, array in zip(writers, arrays, strict=True):
                    writer.write(array)
                count, changed = count + len(pairs), changed + int(pairs.changed.sum())
                done = int(part[-1]) + 1
                on_update(
                    PreparationUpdate(stage="pairs", bytes=int(store.documents[done]), total_bytes=len(store), documents=done)
                )
        names = [writer.path.name for writer in writers]
        described = {
            **made_of,
            "split": store.split,
            "pairs": count,
            "changed": changed,
            "bytes": {name: (folder / name).stat().st_size for name in names},
            "sha256": {name: sha256(folder / name) for name in names},
        }
        write_json_atomically(folder / "manifest.json", described)


def _contents(store: Store, on_update: OnUpdate) -> NDArray[np.uint64]:
    """Hash each document's tokens to 64 bits: a repetition of a document is not another document.  # [documents]"""
    hashes = [np.empty(0, np.uint64)]
    for part in _parts(store.documents, _PIECE):
        safe_point()
        starts, end = store.documents[part], int(store.documents[part[-1] + 1])
        places = np.arange(starts[0], end) - np.repeat(starts, np.diff(np.append(starts, end)))
        tokens = store.tokens[starts[0] : end].astype(np.uint64) << np.uint64(32)
        hashes.append(np.add.reduceat(spread_at(tokens, places), starts - starts[0]))
        on_update(PreparationUpdate(stage="pairs", documents=int(part[-1]) + 1))
    return np.concatenate(hashes)


def _parts(documents: NDArray[np.int64], tokens: int) -> Iterator[NDArray[np.int64]]:
    """Yield all documents in parts: several that together have at most this many tokens, or one that has more."""
    first, count = 0, len(documents) - 1
    while first < count:
        end = int(np.searchsorted(documents, documents[first] + tokens, side="right")) - 1
        last = min(max(end, first + 1), count)
        yield np.arange(first, last)
        first = last
