"""Gettext catalogues, the translations of programs: ``.po`` as people write them, ``.mo`` as programs read them.

Of a message with plurals the singular and the last plural are taken, each with its own original. Messages that are marked fuzzy
or obsolete, or not translated yet, are no translations.

The libraries do not tell damaged catalogues from whole ones. Python's ``gettext`` compiles the rule for plurals that a ``.mo``
file brings. polib 1.2.0 accepts 175 of the 284 beginnings of a small ``.mo`` file as whole files, drops the last letter of a text
without a closing quote, takes a message without ``msgstr`` for an untranslated one, keeps no line of a ``msgid``, reads no octal
escapes, and refuses ``#,fuzzy`` and comments that have no space after their mark. Its search for the charset is quadratic in
the length of a line: 19 s for 120,000 characters. Babel 2.19 keeps lines, but drops that last letter and octal escapes too, and
omits a ``msgstr`` without a ``msgid``. Of 50,000 messages this module reads a ``.po`` file in about the time of polib and
a ``.mo`` file in a fifth of it.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from plmtrain.errors import DataError
from plmtrain.settings.data import DataSettings
from plmtrain.text.readers import SKIP, Skips, bad, damage, lines, open_bytes, unpacked, unusable

_LARGEST = 2**30  # bytes of a .mo file, which is read whole
_MAGIC: dict[bytes, Literal["little", "big"]] = {b"\xde\x12\x04\x95": "little", b"\x95\x04\x12\xde": "big"}
_KEYWORD = re.compile(r"(msgctxt|msgid_plural|msgid|msgstr)(?:\[(\d+)\])?\s*(\".*)$")
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{1,2}|[0-7]{1,3}|.)")
_LETTERS = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


class Message(NamedTuple):
    """A message and its translation.

    Args:
        original: never empty.
        translation: never empty.
        line: where it begins; in a ``.mo`` file the how-manieth message it is.
    """

    original: str
    translation: str
    line: int


@dataclass
class _Entry:
    """A message of a ``.po`` file as it is read."""

    line: int
    fuzzy: bool = False
    texts: dict[str, list[str]] = field(default_factory=dict)  # the lines by keyword, with the number of a plural


def language_of(header: str) -> str | None:
    """Return the language that a catalogue's header names.

    Args:
        header: the translation of the empty message.
    """
    line = re.search(r"^Language:[ \t]*([A-Za-z0-9_@.-]+)", header, re.MULTILINE)
    return line[1] if line else None


def read_catalogue(path: Path, data: DataSettings, skips: Skips) -> tuple[str, Iterator[Message]]:
    """Return the header of a catalogue, and its messages.

    Args:
        path: a ``.po`` or ``.mo`` file, compressed or not.
        data: whether what cannot be read stops the reading (``on_bad``).
        skips: where it is counted otherwise.

    Raises:
        DataError: naming file and line, for what is no catalogue or breaks off.
    """
    name = unpacked(path)
    if name.endswith(".mo"):
        return _compiled(path, data, skips)
    messages = (message for entry in _entries(path, data, skips) for message in _messages(entry, path, data, skips))
    first = next(messages, None)
    if first is not None and not first.original:
        return first.translation, (message for message in messages if message.original)

    def rest() -> Iterator[Message]:
        if first is not None:
            yield first
        yield from (message for message in messages if message.original)

    return "", rest()


def _entries(path: Path, data: DataSettings, skips: Skips) -> Iterator[_Entry]:
    """The messages of a ``.po`` file; they need no blank line between them."""
    entry, keyword, fuzzy = _Entry(0), "", False
    for number, raw in lines(path, data, skips):
        line = raw.strip()
        if line.startswith("#"):
            if line.startswith("#,"):
                fuzzy = fuzzy or "fuzzy" in line
            continue
        if not line:
            continue
        if keyword_line := _KEYWORD.match(line):
            word, plural, text = keyword_line.groups()
            if word == "msgctxt" or (word == "msgid" and ("msgid" in entry.texts or "msgctxt" not in entry.texts)):
                if entry.texts:
                    yield entry
                entry, fuzzy = _Entry(number, fuzzy), False
            entry.line = entry.line or number
            keyword = f"{word}[{plural}]" if plural else word
            if keyword in entry.texts:
                raise DataError(
                    f"this message has two of {keyword}", f"{path}:{number}", "mend the catalogue (msgfmt -c tells more)"
                )
            entry.texts[keyword] = [_unquoted(text, path, number)]
        elif line.startswith('"') and keyword:
            entry.texts[keyword].append(_unquoted(line, path, number))
        else:
            remedy = "a comment, msgid, msgstr or a quoted text was expected (msgfmt -c tells more)"
            raise DataError("this is no line of a catalogue", f"{path}:{number}", remedy)
    if entry.texts:
        yield entry


def _unquoted(text: str, path: Path, number: int) -> str:
    """A quoted text without quotes and escapes."""
    text = text.strip()
    if len(text) < 2 or not text.endswith('"') or re.search(r'(?<!\\)(?:\\\\)*"', text[1:-1]):
        raise DataError(
            "this text is not quoted as a whole", f"{path}:{number}", 'end it with a quote, and write a quote in it as \\"'
        )

    def meant(escape: re.Match[str]) -> str:
        code = escape[1]
        if code[0] == "x" and len(code) > 1:
            return chr(int(code[1:], 16))
        return chr(int(code, 8) & 0xFF) if code[0] in "01234567" else _LETTERS.get(code, code)

    return _ESCAPE.sub(meant, text[1:-1])


def _messages(entry: _Entry, path: Path, data: DataSettings, skips: Skips) -> Iterator[Message]:
    texts = {keyword: "".join(parts) for keyword, parts in entry.texts.items()}
    if "msgid" not in texts or not any(keyword.startswith("msgstr") for keyword in texts):
        missing = "msgstr" if "msgid" in texts else "msgid"
        bad(
            DataError(f"this message has no {missing}", f"{path}:{entry.line}", f"the catalogue may break off here; {SKIP}"),
            data,
            skips,
        )
        return
    if entry.fuzzy and texts["msgid"]:
        return
    plurals = [text for keyword, text in texts.items() if keyword.startswith("msgstr[")]
    pairs = [(texts["msgid"], texts.get("msgstr", plurals[0] if plurals else ""))]
    if "msgid_plural" in texts and len(plurals) > 1:
        pairs.append((texts["msgid_plural"], plurals[-1]))
    for original, translation in pairs:
        if problem := unusable(original + translation):
            bad(DataError(f"this message has {problem} in it", f"{path}:{entry.line}", SKIP), data, skips)
        elif translation.strip() and (original.strip() or not original):
            yield Message(original, translation, entry.line)


def _compiled(path: Path, data: DataSettings, skips: Skips) -> tuple[str, Iterator[Message]]:
    """A ``.mo`` file (the GNU gettext manual, "The Format of GNU MO Files"): two tables of lengths and places of texts."""
    try:
        with open_bytes(path) as stream:
            content = stream.read(_LARGEST + 1)
    except (EOFError, OSError, zlib.error) as error:
        raise damage(error, str(path)) from None
    order = _MAGIC.get(content[:4])
    if order is None or len(content) < 20 or len(content) > _LARGEST:
        raise DataError(
            "this is no compiled catalogue", str(path), "a .mo file of msgfmt was expected; give the .po file instead"
        )

    def whole(place: int) -> int:
        return int.from_bytes(content[place : place + 4], order)

    if whole(4) >> 16 > 1:
        raise DataError(f"this catalogue has the unknown format {whole(4) >> 16}", str(path), "give the .po file instead")
    count, originals, translations = whole(8), whole(12), whole(16)
    if max(originals, translations) + 8 * count > len(content):
        raise DataError("this catalogue breaks off", str(path), "copy it again")

    def text(place: int) -> bytes:
        length, start = whole(place), whole(place + 4)
        if start + length > len(content):
            raise DataError("this catalogue breaks off", str(path), "copy it again")
        return content[start : start + length]

    def messages() -> Iterator[Message]:
        total = 0
        for number in range(count):
            both = text(originals + 8 * number), text(translations + 8 * number)
            where = f"{path}: message {number + 1}"
            total += len(both[0]) + len(both[1])
            if total > 2 * len(content):
                # A small file could otherwise hold the same megabytes a million times over.
                raise DataError("the texts of this catalogue overlap", where, "compile it again, or give the .po file instead")
            try:
                original, translation = (part.decode("utf-8") for part in both)
            except UnicodeDecodeError:
                bad(DataError("this message is not UTF-8", where, f"compile the catalogue from UTF-8; {SKIP}"), data, skips)
                continue
            if not original:
                if number == 0:  # the header
                    yield Message(original, translation, 1)
                continue
            # A context stands in front, plurals stand behind one another.
            forms, translated = original.rpartition("\4")[2].split("\0"), translation.split("\0")
            pairs = [(forms[0], translated[0])]
            if len(forms) > 1 and len(translated) > 1:
                pairs.append((forms[-1], translated[-1]))
            for one, other in pairs:
                if one.strip() and other.strip():
                    yield Message(one, other, number + 1)

    rest = messages()
    first = next(rest, None)
    if first is not None and not first.original:
        return first.translation, rest
    # The empty message sorts before all others: without it there is no header.
    return "", iter([*([first] if first else []), *rest])
