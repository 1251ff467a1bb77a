"""Labelled texts in memory: read from tables, their labels numbered, a part of them held out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from plmtrain.data.corpus.encoding import content_hash
from plmtrain.data.splits import Split
from plmtrain.data.tables import table_files as tables
from plmtrain.data.tables.table_files import Row
from plmtrain.errors import DataError, nearest
from plmtrain.settings.data import TableSettings
from plmtrain.settings.tasks.classification import ClassificationSettings
from plmtrain.stopping import safe_point
from plmtrain.text import readers
from plmtrain.text.readers import SKIP, Skips


@dataclass(frozen=True)
class LabelledTexts:
    """Some examples.

    Args:
        texts: of each example its text, or its two texts.
        labels: of each example its label.
    """

    texts: Sequence[tuple[str, ...]]
    labels: Sequence[str]

    def __len__(self) -> int:
        return len(self.texts)

    def digest(self) -> str:
        """A hash of texts and labels, in order."""
        whole = hashlib.blake2b(digest_size=32, person=b"plmtrain table")
        for texts, label in zip(self.texts, self.labels, strict=True):
            for text in (*texts, label):
                content = text.encode()
                whole.update(len(content).to_bytes(8, "little") + content)
        return whole.hexdigest()

    def pick(self, wanted: Iterable[int]) -> LabelledTexts:
        """Some of them, in the order given."""
        wanted = list(wanted)
        return LabelledTexts([self.texts[index] for index in wanted], [self.labels[index] for index in wanted])


@dataclass(frozen=True, kw_only=True)
class Examples:
    """The examples of a run.

    Args:
        splits: the examples by split.
        labels: all labels, in the order of their numbers.
        sources: by split, for each file or dataset a digest of what was read from it.
        skips: rows that were left out.
    """

    splits: Mapping[Split, LabelledTexts]
    labels: tuple[str, ...]
    sources: Mapping[Split, Mapping[str, str]]
    skips: Skips = field(default_factory=Skips)

    def digest(self) -> str:
        """A hash of all that training reads: examples, order, and what the labels' numbers are."""
        parts = [*(self.splits[split].digest() for split in sorted(self.splits)), *self.labels]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def numbers(self, split: Split) -> list[int]:
        """The number of each example's label."""
        number = {label: index for index, label in enumerate(self.labels)}
        return [number[label] for label in self.splits[split].labels]


Rows = Callable[[Split], Iterable[tuple[str, Iterable[Row]]]]
"""For a split, its sources by name, each with its rows; no source for a split that must be made from the other one."""


def rows_of_files(task: ClassificationSettings, data: TableSettings, skips: Skips) -> Rows:
    """The rows of the user's own files."""
    columns = {**dict.fromkeys(task.text, "task.text"), task.label: "task.label"}

    def rows(split: Split) -> Iterable[tuple[str, Iterable[Row]]]:
        files = data.files if split == "train" else data.validation_files
        for path in readers.expand(files) if files else []:
            yield str(path), tables.read(path, columns, data, skips)

    return rows


def gather(
    task: ClassificationSettings,
    data: TableSettings,
    rows: Rows,
    skips: Skips,
    names: Sequence[str] = (),
    *,
    only: Split | None = None,
) -> Examples:
    """Read examples.

    Args:
        task: which columns, and the labels where they are given.
        data: what becomes of bad rows, and which share is held out.
        rows: where they are.
        skips: where bad rows are counted.
        names: the labels in their order where the source says them and the task does not.
        only: read this split alone; the task must know its labels then.

    Raises:
        DataError: for what is wrong with a row, a label that training does not have, fewer than two labels, or too few rows.
    """
    labels = tuple(task.labels) or tuple(names)
    found: dict[Split, LabelledTexts] = {}
    sources: dict[Split, dict[str, str]] = {}
    wanted: tuple[Split, ...] = ("train", "validation") if only is None else (only,)
    for split in wanted:
        found[split], sources[split] = _read(task, data, rows(split), labels, skips)
        if split == "train" and not labels:
            labels = _ordered(set(found[split].labels))
    if only is None and not sources["validation"]:
        found["train"], found["validation"] = _divided(found["train"], data.validation_fraction)
    if len(labels) < 2:
        what = f"there is one label only, '{labels[0]}'" if labels else "there is no label"
        raise DataError(what, f"task.label={task.label}", "give examples of two labels or more")
    for split in wanted:
        if not len(found[split]):
            raise DataError(f"there is no example for {split}", ", ".join(sources[split]) or "data.files", "give more examples")
    return Examples(splits=found, labels=labels, sources=sources, skips=skips)


def _read(
    task: ClassificationSettings,
    data: TableSettings,
    rows: Iterable[tuple[str, Iterable[Row]]],
    labels: Sequence[str],
    skips: Skips,
) -> tuple[LabelledTexts, dict[str, str]]:
    names = {label: label for label in labels}
    # Files of public tasks have numbers where their datasets have words.
    names |= {str(index): label for index, label in enumerate(labels) if str(index) not in names}
    texts: list[tuple[str, ...]] = []
    found: list[str] = []
    digests = {}
    for source, table in rows:
        first = len(texts)
        for row in table:
            safe_point()
            try:
                label = row.label(task.label)
                if names and label not in names:
                    raise _unknown(label, labels, row.where)
                pair = tuple(row.text(column) for column in task.text)
            except DataError as error:
                readers.bad(error, data, skips)
                continue
            texts.append(pair)
            found.append(names.get(label, label))
        digests[source] = LabelledTexts(texts[first:], found[first:]).digest()
    return LabelledTexts(texts, found), digests


def _unknown(label: str, labels: Sequence[str], where: str) -> DataError:
    known = ", ".join(labels[:20]) + (", ..." if len(labels) > 20 else "")
    hint = nearest(label, labels)
    remedy = hint if hint.startswith("did you mean") else f"training has: {known}; {SKIP}"
    return DataError(f"the label '{label[:60]}' is none of training's", where, remedy)


def _ordered(labels: set[str]) -> tuple[str, ...]:
    """Numbers by size, words by alphabet."""
    if all(label.removeprefix("-").isdecimal() for label in labels):
        return tuple(sorted(labels, key=int))
    return tuple(sorted(labels))


def _divided(examples: LabelledTexts, share: float) -> tuple[LabelledTexts, LabelledTexts]:
    """A part for training and a part held out, by what the texts say: equal ones are on the same side."""
    hashes = [content_hash("\n".join(texts)) for texts in examples.texts]
    held_out = {number for number in hashes if number < share * 2**64} or set(sorted(hashes)[:1])
    sides: tuple[list[int], list[int]] = ([], [])
    for index, number in enumerate(hashes):
        sides[number in held_out].append(index)
    return examples.pick(sides[0]), examples.pick(sides[1])
