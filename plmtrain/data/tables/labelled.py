"""The examples of a run in memory: read from tables by the reader of their task, a part of them held out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from plmtrain.data.splits import Split
from plmtrain.data.tables import table_files as tables
from plmtrain.data.tables.division import divided
from plmtrain.data.tables.reader import Example, Member, Reader
from plmtrain.data.tables.table_files import Row
from plmtrain.errors import DataError
from plmtrain.settings.data import TableSettings
from plmtrain.stopping import safe_point
from plmtrain.text import readers
from plmtrain.text.readers import Skips

Splits = Mapping[Split, Sequence[Example[Any]]]
"""The examples by split."""


@dataclass(frozen=True, kw_only=True)
class Examples:
    """The examples of a run.

    Args:
        reader: the reader of their task, with all settings filled in.
        splits: the examples by split.
        sources: by split, for each file or dataset a digest of what was read from it.
        skips: rows that were omitted.
        empty: the places of examples that have a text without a letter.
    """

    reader: Reader[Any, Any]
    splits: Splits
    sources: Mapping[Split, Mapping[str, str]]
    skips: Skips = field(default_factory=Skips)
    empty: Sequence[str] = ()

    def digest(self) -> str:
        """Return a hash of everything that training reads: the examples in order, and the meaning of the numbers for answers."""
        parts = [*(_digest(self.splits[split], self.reader) for split in sorted(self.splits)), *self.reader.numbering]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def held_out_digest(self) -> str:
        """Return a hash of the held-out examples in order, wherever they come from."""
        return _digest(self.splits["validation"], self.reader)


def _digest(examples: Sequence[Example[Any]], reader: Reader[Any, Any]) -> str:
    """Return a hash of the content of examples, in order."""
    whole = hashlib.blake2b(digest_size=32, person=b"plmtrain table")
    for example in examples:
        for text in reader.content(example):
            content = text.encode()
            whole.update(len(content).to_bytes(8, "little") + content)
    return whole.hexdigest()


Rows = Callable[[Split], Iterable[tuple[str, Iterable[Row]]]]
"""For a split, its sources by name, each with its rows; no source for a split that must be made from the other one."""


def rows_of_files(reader: Reader[Any, Any], data: TableSettings, skips: Skips, place: str = "data") -> Rows:
    """Return the rows of the user's own files.

    Args:
        reader: says which columns are read.
        data: names the files, and says how they are read.
        skips: counts bad rows.
        place: the group of settings in which the files are named.
    """

    def rows(split: Split) -> Iterable[tuple[str, Iterable[Row]]]:
        is_training = split == "train"
        files, setting = (data.files, "files") if is_training else (data.validation_files, "validation_files")
        for path in readers.expand(files, f"{place}.{setting}") if files else []:
            yield str(path), tables.read(path, reader.columns, data, skips, reader.endings)

    return rows


def gather(reader: Reader[Any, Any], data: TableSettings, rows: Rows, skips: Skips, *, only: Split | None = None) -> Examples:
    """Read examples.

    Args:
        reader: the reader of their task.
        data: the treatment of bad rows, and the held-out share.
        rows: the rows of each split.
        skips: counts bad rows.
        only: the only split to return; the task's settings must be complete then.

    Raises:
        DataError: for a bad row, for examples from which nothing can be learnt, or for too few rows.
    """
    splits: dict[Split, Sequence[Example[Any]]] = {}
    sources: dict[Split, dict[str, str]] = {}
    empty: list[str] = []
    wanted: tuple[Split, ...] = ("train", "validation") if only is None else (only,)
    for split in wanted:
        splits[split], sources[split] = _read(reader, data, rows, split, skips, empty)
        if split == "train":
            reader = reader.settled(splits[split])
    if "validation" in wanted and not sources["validation"]:
        whole = splits["train"] if only is None else _read(reader, data, rows, "train", skips, empty)[0]
        parts = dict(zip(("train", "validation"), divided(whole, reader, data.validation_fraction), strict=True))
        splits = {split: parts[split] for split in wanted}
    if "train" in splits:
        reader = reader.counted(splits["train"])
    reader.judge(splits)
    for split in wanted:
        if not len(splits[split]):
            raise DataError(f"there is no example for {split}", ", ".join(sources[split]) or "data.files", "give more examples")
    return Examples(reader=reader, splits=splits, sources=sources, skips=skips, empty=empty)


def gather_members(
    reader: Reader[Any, Any], members: Mapping[str, Member], skips: Skips, *, only: Split | None = None
) -> Examples:
    """Read the examples of several tasks; any number of the first held-out ones has them in about the shares of all.

    Args:
        reader: the reader of all.
        members: by name; none of them has settings to fill in.
        skips, only: as in ``gather``.

    Raises:
        DataError: as ``gather`` does.
    """
    each = {
        name: gather(one.reader, one.data, rows_of_files(one.reader, one.data, skips, one.place), skips, only=only)
        for name, one in members.items()
    }
    splits: dict[Split, Sequence[Example[Any]]] = {}
    sources: dict[Split, dict[str, str]] = {}
    for split in next(iter(each.values())).splits:
        own = [examples.splits[split] for examples in each.values()]
        splits[split] = _interleaved(own) if split == "validation" else [example for some in own for example in some]
        sources[split] = {
            f"{name}: {source}": digest for name, examples in each.items() for source, digest in examples.sources[split].items()
        }
    empty = [place for examples in each.values() for place in examples.empty]
    return Examples(reader=reader, splits=splits, sources=sources, skips=skips, empty=empty)


def _interleaved(lists: Sequence[Sequence[Example[Any]]]) -> list[Example[Any]]:
    """Return the examples of several lists in one, in which those of each list are evenly distributed."""
    placed = [((place + 0.5) / len(some), example) for some in lists for place, example in enumerate(some)]
    return [example for _, example in sorted(placed, key=lambda one: one[0])]


def _read(
    reader: Reader[Any, Any], data: TableSettings, rows: Rows, split: Split, skips: Skips, empty: list[str]
) -> tuple[list[Example[Any]], dict[str, str]]:
    """Read the examples of a split; the places of those without a text are added to ``empty``."""
    examples: list[Example[Any]] = []
    digests = {}
    for source, table in rows(split):
        first = len(examples)
        for row in table:
            safe_point()
            try:
                example = reader.example(row)
                if split == "train":
                    reader.require_learnable(example, row.where)
            except DataError as error:
                readers.bad(error, data, skips)
                continue
            examples.append(example)
            if reader.lacks_text(example):
                empty.append(row.where)
        digests[source] = _digest(examples[first:], reader)
    return examples, digests
