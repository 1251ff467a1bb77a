"""The files of a stream: what they are called, how they are read, and which of them stand for all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from plmtrain.data.corpus.corpus_manifest import SourceFile
from plmtrain.data.corpus.documents import text_bytes
from plmtrain.data.corpus.sources import Signature, Sources, signature_of
from plmtrain.errors import DataError
from plmtrain.keyed_random import permute
from plmtrain.settings.data import DataSettings
from plmtrain.text import readers

LISTING = "files.json"
"""The file in a run's folder, below ``data``, with the ``ShardFiles.listing`` that it began with."""

_FEWEST_SAMPLED = 8
"""A tokenizer is trained on documents of as many shards at least, if there are so many."""


@dataclass(frozen=True)
class ShardFiles:
    """The files of a stream as they were when this process began.

    Args:
        data: the settings of the stream.
        type: the type of ``DataSettings`` that reads each file.
        paths: the files, in the order in which they are numbered.
        signatures: of each file.
    """

    data: DataSettings
    type: str
    paths: tuple[Path, ...]
    signatures: tuple[Signature, ...]

    @classmethod
    def of(cls, data: DataSettings) -> ShardFiles:
        """Find the files.

        Raises:
            DataError: if there are none, or if they are of several kinds.
        """
        paths = readers.expand(data.files)
        type = readers.kind_of(paths[0]) if data.format == "auto" else data.format
        for path in paths:
            try:
                readers.require_kind(path, type)
            except DataError as error:
                remedy = "name files of one kind, with a pattern such as 'corpus/*.jsonl', or another data.format"
                raise DataError(error.what.replace("data=", "data.format="), error.where, remedy) from None
        return cls(data, type, tuple(paths), tuple(map(signature_of, paths)))

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def sizes(self) -> list[int]:
        """The bytes of each file."""
        return [signature[0] for signature in self.signatures]

    @property
    def listing(self) -> list[list[object]]:
        """The name and the size of each file: all that is known before they are read."""
        return [[path.name, size] for path, size in zip(self.paths, self.sizes, strict=True)]

    def text_bytes(self, number: int) -> int:
        """Return about the bytes of text in a file.

        Raises:
            DataError: if it changed, or cannot be read.
        """
        path = self.paths[number]
        self.require_unchanged(number)
        try:
            return text_bytes(path, self.sizes[number])
        except OSError as error:
            raise DataError(f"this file cannot be read: {error.strerror}", str(path), "check its permissions") from None

    def as_text(self, numbers: Sequence[int]) -> DataSettings:
        """Return the settings of some of the files as a text that is prepared whole."""
        own = {"type": self.type, "files": tuple(str(self.paths[number]) for number in numbers)}
        return DataSettings(**{**self.data.model_dump(exclude={"format", "cache_gb"}), **own})

    def sample(self, size: int) -> DataSettings:
        """Return the settings of some of the files, the same for every seed, that stand for all where a tokenizer is trained.

        Args:
            size: the bytes of text that they must have, if all have so many.
        """
        chosen, total = list[int](), 0
        for number in permute(np.arange(len(self)), len(self), "tokenizer shards").tolist():
            if total >= size and len(chosen) >= _FEWEST_SAMPLED:
                break
            chosen.append(number)
            total += self.text_bytes(number)
        return self.as_text(sorted(chosen))

    def sources(self, number: int) -> Sources:
        """Return a file as the only one of a corpus.

        Raises:
            DataError: if it has changed since this process began.
        """
        self.require_unchanged(number)
        path, signature = self.paths[number], self.signatures[number]
        described = SourceFile(path=str(path), split="train", bytes=signature[0], sha256="")
        return Sources(files=((path, "train"),), signatures=(signature,), described=(described,))

    def require_unchanged(self, number: int) -> None:
        """Refuse a file that was changed or removed since this process began.

        Raises:
            DataError: naming it.
        """
        path = self.paths[number]
        if not path.exists() or signature_of(path) != self.signatures[number]:
            raise self.changed(number)

    def changed(self, number: int) -> DataError:
        """Return the error that a file is not the one that the run began with."""
        remedy = "restore it and run the same command again, or start another run with another name="
        return DataError("a file of the stream changed during the run", str(self.paths[number]), remedy)

    def key(self, number: int, made_with: str) -> str:
        """Return the digest by which a shard is known, whenever its file was copied or touched.

        Args:
            number: of the file.
            made_with: the digest of everything else that determines its tokens.
        """
        return _digest([made_with, number, *self.listing[number]])

    def folder_name(self, number: int, made_with: str) -> str:
        """Return the name of the folder of a prepared shard; a file that was written anew is prepared anew. Arguments as of
        ``key``."""
        return f"{number:06d}-{_digest([made_with, number, *self.signatures[number][:2]])}"


def _digest(values: list[object]) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:16]
