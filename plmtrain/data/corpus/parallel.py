"""Parallel text: sentences and their translations, from tables, aligned files and catalogues, and text without translations.

The kind of a file is in its name: a table (``.tsv``, ``.csv``, ``.jsonl``, ``.parquet``) has a column for each of its languages,
with the names of ``data.languages``; a file that ends in a language (``news.en``, ``news.en.txt``) is aligned line by line with
those of the same name in other languages; a catalogue (``.po``, ``.mo``) contains messages in the source language and one
translation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Literal

from plmtrain.data.corpus.encoding import Passage
from plmtrain.data.tables import table_files as tables
from plmtrain.errors import DataError, nearest
from plmtrain.settings.data import DataSettings, TableSettings
from plmtrain.text import readers
from plmtrain.text.catalogues import language_of, read_catalogue
from plmtrain.text.readers import SKIP, Skips, bad, unusable

_TABLES = tuple(tables.FORMATS)
_CATALOGUES = (".po", ".mo")


@dataclass(frozen=True)
class Unit:
    """Files that are read together.

    Args:
        kind: of the files.
        paths: one file for each language of aligned files, otherwise one file.
        languages: of the paths; of a catalogue the one in its name, which its header overrides; of a table none.
    """

    kind: Literal["table", "aligned", "catalogue", "monolingual"]
    paths: tuple[Path, ...]
    languages: tuple[str, ...] = ()


def units(paths: Sequence[Path], data: DataSettings) -> list[Unit]:
    """Group files into units, in the order of the first file of each.

    Args:
        paths: the files.
        data: names the languages, and the files without translations.

    Raises:
        DataError: for a file that is none of these, or an aligned one without a file in another language.
    """
    alone = {
        path: language
        for language, names in data.monolingual.items()
        for path in readers.expand(names, f"data.monolingual.{language}")
    }
    aligned: dict[Path, dict[str, Path]] = {}
    found_units: dict[Path, Unit] = {}
    for path in paths:
        name = readers.unpacked(path)
        stem, _, language = name.removesuffix(".txt").rpartition(".")
        if path in alone:
            found_units[path] = Unit("monolingual", (path,), (alone[path],))
        elif name.endswith(_TABLES):
            found_units[path] = Unit("table", (path,))
        elif name.endswith(_CATALOGUES):
            named = {part for part in (name[:-3], name[:-3].rpartition(".")[2], *path.parts) if _known(part, data) is not None}
            found_units[path] = Unit("catalogue", (path,), tuple(sorted(named))[:1])
        elif language in data.languages:
            by_language = aligned.setdefault(path.with_name(stem), {})
            if language in by_language:
                raise DataError(
                    f"there are two files of this name in '{language}'", str(path), f"omit one: {by_language[language]}"
                )
            by_language[language] = path
            found_units.setdefault(path.with_name(stem), Unit("aligned", ()))
        else:
            raise DataError(
                "the kind of this file is not clear from its ending",
                str(path),
                f"give a table (.tsv, .csv, .jsonl), catalogue (.po, .mo) or files ending in {' and '.join(data.languages[:2])}",
            )
    for stem_path, by_language in aligned.items():
        languages = tuple(language for language in data.languages if language in by_language)
        if len(languages) < 2:
            (path,) = by_language.values()
            others = " or ".join(f"{stem_path.name}.{language}" for language in data.languages if language not in by_language)
            raise DataError("there is no translation of this file", str(path), f"name its translation too: {others}")
        found_units[stem_path] = Unit("aligned", tuple(by_language[language] for language in languages), languages)
    return list(found_units.values())


def read(unit: Unit, data: DataSettings, skips: Skips) -> Iterator[Passage]:
    """Yield the passages of a unit; each translation comes directly after its original.

    If a text exists in several languages, all pairs of them are yielded. Whether a pair is held out is decided by the text in the
    first of its languages, so that all translations of a sentence are on one side.

    Raises:
        DataError: with file and line, for an empty side, a missing column, files of unequal length, and lines that are not text.
    """
    if unit.kind == "monolingual":
        language = data.languages.index(unit.languages[0])
        is_json = readers.ending(unit.paths[0]) in readers.JSON_ENDINGS
        reading = data.model_copy(update={"type": "jsonl" if is_json else "text"})
        for document in readers.read(unit.paths[0], reading, skips):
            yield Passage(document.text, None, language)
        return
    readings = {"table": _table, "aligned": _aligned, "catalogue": _catalogue}
    empty, before = True, skips.count
    for where, texts in readings[unit.kind](unit, data, skips):
        empty = False
        if empty_language := next((language for language, text in texts.items() if not text.strip()), None):
            bad(DataError(f"the text in '{empty_language}' is empty", where, SKIP), data, skips)
            continue
        if broken := next((problem for text in texts.values() if (problem := unusable(text))), None):
            bad(DataError(f"this contains {broken}", where, SKIP), data, skips)
            continue
        numbered = sorted((data.languages.index(language), text) for language, text in texts.items())
        for (first, text), (second, translation) in combinations(numbered, 2):
            yield Passage(text, numbered[0][1], first)
            yield Passage(translation, numbered[0][1], second, translates=True)
    if empty and skips.count == before:
        raise DataError("there is no translation in this file", str(unit.paths[0]), "remove it from data.files")


Texts = Mapping[str, str]
"""The same text by language."""


def _table(unit: Unit, data: DataSettings, skips: Skips) -> Iterator[tuple[str, Texts]]:
    (path,) = unit.paths
    for row in tables.read(path, {}, TableSettings(on_bad=data.on_bad), skips):
        there = [language for language in data.languages if language in row.cells]
        if len(there) < 2:
            absent = next(language for language in data.languages if language not in there)
            raise DataError(
                f"there is no column '{absent}'; the columns here: {', '.join(row.cells) or 'none'}",
                row.where if len(row.cells) == 0 else f"{path}:1",
                f"data.languages names the columns; {nearest(absent, row.cells)}",
            )
        try:
            texts = {language: row.text(language) for language in there}
        except DataError as error:
            bad(error, data, skips)
            continue
        yield row.where, texts


def _aligned(unit: Unit, data: DataSettings, skips: Skips) -> Iterator[tuple[str, Texts]]:
    """Yield lines of the same number. A line that is skipped in one file is skipped in the others too."""
    streams = [readers.lines(path, data, skips) for path in unit.paths]
    heads = [next(stream, None) for stream in streams]
    last = [0] * len(streams)
    while all(head is not None for head in heads):
        numbers = [head[0] for head in heads if head is not None]
        last = [max(number, past) for number, past in zip(numbers, last, strict=True)]
        texts = {language: head[1] for language, head in zip(unit.languages, heads, strict=True) if head is not None}
        furthest = max(numbers)
        if min(numbers) == furthest and any(text.strip() for text in texts.values()):
            empty_place = next((place for place, text in enumerate(texts.values()) if not text.strip()), 0)
            yield f"{unit.paths[empty_place]}:{furthest}", texts
        advance = [number < furthest for number in numbers] if min(numbers) < furthest else [True] * len(numbers)
        heads = [next(stream, None) if go else head for stream, head, go in zip(streams, heads, advance, strict=True)]
    for place, (stream, head) in enumerate(zip(streams, heads, strict=True)):
        for number, _ in [*([head] if head is not None else []), *stream]:
            last[place] = max(last[place], number)
    if len(set(last)) > 1 and data.on_bad == "stop":
        counts = " and ".join(f"{path} {count}" for path, count in zip(unit.paths, last, strict=True))
        shortest = last.index(min(last))
        raise DataError(
            f"aligned files have unequal numbers of lines: {counts}",
            f"{unit.paths[shortest]}:{last[shortest]}",
            "line n of one must be the translation of line n of the other; align them again",
        )


def _catalogue(unit: Unit, data: DataSettings, skips: Skips) -> Iterator[tuple[str, Texts]]:
    (path,) = unit.paths
    header, messages = read_catalogue(path, data, skips)
    named = language_of(header) or next(iter(unit.languages), None)
    language = _known(named, data) if named else None
    source = _known(data.source_language, data)
    if source is None:
        what = f"the catalogue's source language '{data.source_language}' is not in data.languages"
        raise DataError(what, str(path), "add it, or correct data.source_language=")
    if language is None or language == source:
        what = f"the catalogue is in '{named}'" if named else "the catalogue does not say which language it is in"
        remedy = f"data.languages is {', '.join(data.languages)}; its header should contain Language: {data.languages[-1]}"
        raise DataError(what, str(path), remedy)
    for message in messages:
        yield f"{path}:{message.line}", {source: message.original, language: message.translation}


def _known(name: str, data: DataSettings) -> str | None:
    """Return the language of data.languages that a name stands for: ``de_AT`` is ``de``, unless it is in the list itself."""
    for candidate in (name, name.replace("_", "-"), name.replace("-", "_"), name.replace("-", "_").partition("_")[0]):
        if candidate in data.languages:
            return candidate
    return None
