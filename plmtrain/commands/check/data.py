"""The part of a check that looks at text and examples."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plmtrain.commands.check.findings import Findings
from plmtrain.data.corpus import parallel, text_files
from plmtrain.data.corpus.named_source import told_of
from plmtrain.data.corpus.updates import OnUpdate
from plmtrain.data.tables import labelled
from plmtrain.data.tables.reader import Member
from plmtrain.data.tables.readers import reader_of
from plmtrain.errors import DataError
from plmtrain.files import size_in_words
from plmtrain.interop.hub_text import located
from plmtrain.runs.labelled_examples import LabelledExamples
from plmtrain.runs.material import Material
from plmtrain.runs.materials import material_of
from plmtrain.runs.prepared_text import PreparedText
from plmtrain.runs.streamed_text import StreamedText
from plmtrain.settings.data import DataSettings, TableSettings
from plmtrain.settings.run import RunSettings
from plmtrain.settings.tasks.base import TaskSettings
from plmtrain.stopping import safe_point
from plmtrain.text import readers
from plmtrain.text.readers import Skips

_TOLD = 10
"""Bad lines that are told in full."""
_UNKNOWN = 0.01
"""The share of unknown tokens that is worth a warning."""
_REPEATED = 0.05
"""The share of repeated documents that is worth a warning: thousands of equal lines have kept runs from learning."""
_LOOKED_AT = 2**24
"""Tokens of the training text in which unknown ones are counted."""


class _Bad(Skips):
    """Keeps the first bad lines as the errors that they are."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: list[DataError] = []

    def add(self, error: DataError) -> None:
        super().add(error)
        if len(self.errors) < _TOLD:
            self.errors.append(error)


def ready_material(settings: RunSettings, on_update: OnUpdate, findings: Findings) -> Material | None:
    """The run's data, made ready as the run would make them; None if they cannot be, and everything wrong with them is told."""
    try:
        return material_of(settings, on_update)
    except DataError as error:
        findings.wrong([error])
        examine_sources(settings.__dict__, findings)
        return None


def examine_sources(sections: Mapping[str, Any], findings: Findings) -> None:
    """Read all files, and tell every file and the first lines that cannot be used.

    Args:
        sections: the groups of settings that are sound; what they do not say is not looked at.
        findings: hears of it.
    """
    data, task, bad = sections.get("data"), sections.get("task"), _Bad()
    if isinstance(data, DataSettings):
        findings.wrong(_wrong_in_text(data, bad))
    elif isinstance(data, TableSettings) and isinstance(task, TaskSettings) and (data.files or task.names_files):
        findings.wrong(_wrong_in_tables(task, data, bad))
    findings.wrong(bad.errors)
    if (more := bad.count - len(bad.errors)) > 0:
        findings.wrong([DataError(f"{more:,} more lines cannot be used", "data.files", "or leave them out: data.on_bad=skip")])


def _wrong_in_text(data: DataSettings, bad: Skips) -> Iterator[DataError]:
    for name, text in data.texts.items():
        yield from (told_of(error, name) for error in _wrong_in_one(text, bad))


def _wrong_in_one(data: DataSettings, bad: Skips) -> Iterator[DataError]:
    try:
        data = located(data)
    except DataError as error:
        yield error
        return
    reading = data.model_copy(update={"on_bad": "skip"})
    for setting, patterns in (("data.files", data.files), ("data.validation_files", data.validation_files)):
        files: list[Path] = []
        for pattern in patterns:
            try:
                files += readers.expand([pattern], setting)
            except DataError as error:
                yield error
        try:
            sources = list(_sources(files, reading, bad))
        except DataError as error:
            yield error
            continue
        for documents in sources:
            try:
                for _ in documents:
                    safe_point()
            except DataError as error:
                yield error


def _sources(files: Sequence[Path], reading: DataSettings, bad: Skips) -> Iterator[Iterator[object]]:
    """Yield what is read from each file, or from the files that belong together."""
    if reading.type == "parallel":
        yield from (parallel.read(unit, reading, bad) for unit in parallel.units(files, reading))
    else:
        yield from (text_files.read(path, reading, bad) for path in files)


def _wrong_in_tables(task: TaskSettings, data: TableSettings, bad: Skips) -> Iterator[DataError]:
    reading = data.model_copy(update={"on_bad": "skip"})
    reader = reader_of(task)
    for member in reader.members(reading).values() or [Member(reader, reading, "data")]:
        yield from _wrong_in_table(member, bad)


def _wrong_in_table(member: Member, bad: Skips) -> Iterator[DataError]:
    reader, reading = member.reader, member.data
    rows = labelled.rows_of_files(reader, reading, bad, member.place)
    try:
        labelled.gather(reader, reading, rows, bad)
    except DataError as error:
        yield error
    for split in ("train", "validation"):  # what comes behind a file that cannot be read at all
        try:
            for _, table in rows(split):
                deque(table, maxlen=0)
        except DataError as error:
            yield error


def tell_data(material: Material, findings: Findings) -> None:
    """Report the amount of training data, and what in it may surprise the user."""
    settings, tokenizer = material.settings, material.tokenizer
    findings.fact("data", material.opening() + (f"\nin {_places(material)}" if isinstance(material, PreparedText) else ""))
    counts: dict[str, Any] = {"vocabulary": tokenizer.vocabulary.size, "repetitions": material.repetitions()}
    asked, made = settings.tokenizer.vocab_size, tokenizer.vocabulary.size
    if settings.tokenizer.path is None and settings.init is None and made < asked:
        findings.warn(
            f"the text gives a vocabulary of {made:,} tokens, not of {asked:,}",
            findings.origin("tokenizer.vocab_size"),
            f"that may be as it should; else give more text, or tokenizer.vocab_size={made}",
        )
    for finding in material.tokenizer_findings():
        findings.warn(finding.what, finding.where, finding.remedy)
    if isinstance(material, StreamedText):
        counts |= _of_stream(material, findings)
    elif isinstance(material, PreparedText):
        counts |= _of_text(material, findings)
    elif isinstance(material, LabelledExamples):
        counts |= {f"{split}_examples": len(some) for split, some in material.examples.splits.items()}
        for finding in material.findings():
            findings.warn(finding.what, finding.where, finding.remedy)
    findings.values |= counts


def _places(material: PreparedText) -> str:
    """The folders of the prepared text."""
    return ", ".join(map(str, material.corpus.folders.values()))


def _of_stream(material: StreamedText, findings: Findings) -> dict[str, Any]:
    """Report what is known of files before they are prepared."""
    manifest, files = material.corpus.manifest, material.files
    sizes = sorted(files.text_bytes(number) for number in range(len(files)))
    if material.limit < sum(sizes[-2:]):
        what = f"the cache may not hold the two largest files, which take about {size_in_words(sum(sizes[-2:]))} when prepared"
        remedy = f"raise it above {sum(sizes[-2:]) / 1e9:.3g}, or divide the files: a step may read the end of one and the next"
        findings.warn(what, findings.origin("data.cache_gb"), remedy)
    return {
        "files": len(files),
        "bytes": sum(files.sizes),
        "cache_bytes": material.limit,
        "train_tokens": None,
        "validation_tokens": manifest.splits["validation"].tokens,
        "unigram_entropy": manifest.unigram_entropy,
        "unknown_share": _tell_vocabulary(material, findings),
        "prepared": _places(material),
    }


def _of_text(material: PreparedText, findings: Findings) -> dict[str, Any]:
    manifest, place = material.corpus.manifest, _places(material)
    train, held_out = manifest.splits["train"], manifest.splits["validation"]
    unknown = _tell_vocabulary(material, findings)
    if train.duplicates > _REPEATED * train.documents:
        what = f"{train.duplicates:,} of {train.documents:,} training documents repeat another one"
        findings.warn(what, place, "leave them out with data.deduplicate=true: a model learns them by heart")
    if manifest.overlap:
        what = f"{manifest.overlap:,} of {held_out.documents:,} held-out documents are in the training text, too"
        findings.warn(what, place, "the held-out loss flatters: remove them from either")
    if manifest.skipped:
        findings.warn(f"{manifest.skipped:,} lines are skipped", manifest.first_skipped[0], "mend them, if they matter")
    return {
        "train_tokens": train.tokens,
        "validation_tokens": held_out.tokens,
        "train_documents": train.documents,
        "validation_documents": held_out.documents,
        "duplicates": train.duplicates,
        "overlap": manifest.overlap,
        "dropped": manifest.dropped,
        "skipped": manifest.skipped,
        "unigram_entropy": manifest.unigram_entropy,
        "unknown_share": unknown,
        "prepared": place,
        "shares": {name: share for name, share in material.corpus.shares.items() if name is not None},
    }


def _tell_vocabulary(material: PreparedText, findings: Findings) -> float | None:
    """Report how the tokenizer fits the text; return the share of unknown tokens, if there can be any."""
    unknown, place = _unknown_share(material), _places(material)
    used = _used_share(material)
    told = f"{material.tokenizer.vocabulary.size:,} tokens, {used:.1%} of them occur in the training text"
    findings.fact("vocabulary", told + ("" if unknown is None else f"; {unknown:.2%} of the text is unknown"))
    if unknown is not None and unknown > _UNKNOWN:
        remedy = "train the tokenizer on this text (omit tokenizer.path=), or take one for its language"
        if material.settings.tokenizer_from is not None:
            remedy = "start from a model for this language, or add words of this text by plmtrain tokenizer extend"
        findings.warn(f"{unknown:.1%} of the training tokens are unknown to the tokenizer", place, remedy)
    return unknown


def _unknown_share(material: PreparedText) -> float | None:
    """The share of unknown tokens in the training text; None where the tokenizer knows everything."""
    unknown = material.tokenizer.vocabulary.roles.get("unk")
    if unknown is None:
        return None
    shares = {name: np.count_nonzero(tokens == unknown) / max(1, len(tokens)) for name, tokens in _looked_at(material)}
    return float(sum(material.corpus.shares[name] * share for name, share in shares.items()))


def _used_share(material: PreparedText) -> float:
    """The share of the vocabulary that occurs in the training text."""
    size = material.tokenizer.vocabulary.size
    used = sum(np.bincount(tokens, minlength=size) for _, tokens in _looked_at(material))
    return float(np.count_nonzero(used) / size)


def _looked_at(material: PreparedText) -> Iterator[tuple[str | None, NDArray[np.unsignedinteger]]]:
    """Yield the first training tokens of each text."""
    for name, store in material.corpus.stores("train").items():
        yield name, store.tokens[:_LOOKED_AT]
