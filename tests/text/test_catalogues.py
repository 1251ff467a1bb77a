"""Gettext catalogues: against Python's own reader, and against what people and machines get wrong in them."""

from __future__ import annotations

import gettext
import gzip
import io
import struct
from pathlib import Path

import pytest

from plmtrain.errors import DataError
from plmtrain.settings.data import DataSettings
from plmtrain.text.catalogues import Message, language_of, read_catalogue
from plmtrain.text.readers import Skips

HEADER = "Content-Type: text/plain; charset=UTF-8\nLanguage: de_AT\nPlural-Forms: nplurals=2; plural=(n != 1);\n"

PO = r"""# The header.
msgid ""
msgstr ""
"Project-Id-Version: x\n"
"Language: de\n"

#. A comment for translators.
#: main.c:12
msgid "Open the file \"%s\"\n"
msgstr ""
"Die Datei \"%s\" "
"öffnen\n"
msgctxt "menu"
msgid "Save"
msgstr "Speichern"
msgid "Save"
msgstr "Retten\t\303"

#, c-format
msgid "one file"
msgid_plural "%d files"
msgstr[0] "eine Datei"
msgstr[1] "%d Dateien"

#, c-format, fuzzy
msgid "not sure"
msgstr "unsicher"

msgid "not yet"
msgstr ""

#~ msgid "gone"
#~ msgstr "weg"
"""


def settings(on_bad: str = "stop") -> DataSettings:
    return DataSettings.model_validate(
        {"name": "p", "type": "parallel", "files": ["x"], "languages": ["en", "de"], "on_bad": on_bad}
    )


def read(path: Path, on_bad: str = "stop") -> tuple[str, list[Message]]:
    header, messages = read_catalogue(path, settings(on_bad), Skips())
    return header, list(messages)


def compiled(messages: dict[str, str], order: str = "<") -> bytes:
    """As msgfmt writes it, by the GNU gettext manual."""
    pairs = sorted((one.encode(), other.encode()) for one, other in messages.items())
    begin = 28 + 16 * len(pairs)
    tables: list[list[tuple[int, int]]] = [[], []]
    texts = b""
    for side in (0, 1):
        for pair in pairs:
            tables[side].append((len(pair[side]), begin + len(texts)))
            texts += pair[side] + b"\0"
    header = struct.pack(f"{order}7I", 0x950412DE, 0, len(pairs), 28, 28 + 8 * len(pairs), 0, 0)
    return header + b"".join(struct.pack(f"{order}2I", *entry) for table in tables for entry in table) + texts


MESSAGES = {"": HEADER, "menu\4Save": "Speichern", "Open": "Öffnen", "one file\0%d files": "eine Datei\0%d Dateien", "empty": ""}


def test_a_po_file(tmp_path: Path) -> None:
    for name, content in (("de.po", PO.encode()), ("de.po.gz", gzip.compress(PO.encode()))):
        (tmp_path / name).write_bytes(content)
        header, messages = read(tmp_path / name)
        assert language_of(header) == "de"
        assert messages == [
            ('Open the file "%s"\n', 'Die Datei "%s" öffnen\n', 9),
            ("Save", "Speichern", 13),
            ("Save", "Retten\t\303", 16),
            ("one file", "eine Datei", 20),
            ("%d files", "%d Dateien", 20),
        ]


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_mo_file_as_python_reads_it(tmp_path: Path, order: str) -> None:
    content = compiled(MESSAGES, order)
    (tmp_path / "de.mo").write_bytes(content)
    header, messages = read(tmp_path / "de.mo")
    theirs = gettext.GNUTranslations(io.BytesIO(content))
    assert language_of(header) == theirs.info()["language"] == "de_AT"
    assert {(one, other) for one, other, _ in messages} == {
        ("Save", theirs.pgettext("menu", "Save")),
        ("Open", theirs.gettext("Open")),
        ("one file", theirs.ngettext("one file", "%d files", 1)),
        ("%d files", theirs.ngettext("one file", "%d files", 7)),
    }


def test_a_mo_file_runs_nothing(tmp_path: Path) -> None:
    """Python's reader compiles the rule for plurals; ours never looks at it."""
    evil = HEADER.replace("(n != 1)", "__import__('os').abort()")
    (tmp_path / "de.mo").write_bytes(compiled({**MESSAGES, "": evil}))
    header, messages = read(tmp_path / "de.mo")
    assert "abort" in header
    assert len(messages) == 4


@pytest.mark.parametrize("length", range(0, 230, 7))
def test_a_mo_file_that_breaks_off(tmp_path: Path, length: int) -> None:
    content = compiled(MESSAGES)
    assert length < len(content) - 5
    (tmp_path / "de.mo").write_bytes(content[:length])
    with pytest.raises(DataError, match=r"breaks off|no compiled catalogue"):
        read(tmp_path / "de.mo")


def test_a_mo_file_that_lies(tmp_path: Path) -> None:
    content = bytearray(compiled(MESSAGES))
    content[8:12] = struct.pack("<I", 2**31)
    (tmp_path / "de.mo").write_bytes(content)
    with pytest.raises(DataError, match="breaks off"):
        read(tmp_path / "de.mo")


@pytest.mark.timeout(20)
def test_a_mo_file_whose_texts_overlap(tmp_path: Path) -> None:
    """Each of 100,000 messages is a megabyte long, all of them the same one: three megabytes hold a hundred gigabytes."""
    count, text = 100_000, b"a" * 2**20
    entry = struct.pack("<2I", len(text), 28 + 16 * count)
    content = struct.pack("<7I", 0x950412DE, 0, count, 28, 28 + 8 * count, 0, 0) + entry * (2 * count) + text
    (tmp_path / "de.mo").write_bytes(content)
    with pytest.raises(DataError, match="overlap"):
        read(tmp_path / "de.mo")


@pytest.mark.timeout(60)
def test_a_text_of_very_many_lines(tmp_path: Path) -> None:
    """The time is linear in them; appending each to the text before it would take minutes."""
    count, line = 150_000, "x" * 70
    (tmp_path / "de.po").write_text('msgid "a"\nmsgstr ""\n' + f'"{line}"\n' * count)
    assert read(tmp_path / "de.po") == ("", [("a", line * count, 1)])


@pytest.mark.timeout(20)
@pytest.mark.parametrize("comment", ['# "Content-Type: ' * 60_000, "#" * 10**6, "#, " + "fuzz," * 200_000])
def test_a_line_of_very_many_characters(tmp_path: Path, comment: str) -> None:
    backslashes = "\\" * 500_000
    (tmp_path / "de.po").write_text(f'{comment}\nmsgid "a"\nmsgstr "{backslashes}"\n')
    assert read(tmp_path / "de.po") == ("", [("a", backslashes[::2], 2)])
    (tmp_path / "de.po").write_text("msgid" * 200_000 + '"\n')
    with pytest.raises(DataError, match="no line of a catalogue"):
        read(tmp_path / "de.po")


def test_only_the_first_message_is_a_header(tmp_path: Path) -> None:
    second = compiled({"": HEADER, "a": "b"}).replace(struct.pack("<2I", 1, 28 + 32 + 1), struct.pack("<2I", 0, 28 + 32 + 1))
    (tmp_path / "de.mo").write_bytes(second)
    assert read(tmp_path / "de.mo") == (HEADER, [])


def test_comments_need_no_space(tmp_path: Path) -> None:
    (tmp_path / "de.po").write_bytes(
        b'\xef\xbb\xbf#,fuzzy\nmsgid "a"\nmsgstr "b"\n\n#by me\n#:main.c:1\nmsgid"c"\nmsgstr"d"\n\n#~msgid "e"\n#~msgstr "f"\n'
    )
    assert read(tmp_path / "de.po") == ("", [("c", "d", 7)])


@pytest.mark.parametrize("charset", ["punycode", "idna", "rot13", "no-such-charset", "utf-16"])
def test_the_charset_of_a_header_is_not_obeyed(tmp_path: Path, charset: str) -> None:
    header = HEADER.replace("UTF-8", charset)
    (tmp_path / "de.mo").write_bytes(compiled({**MESSAGES, "": header}))
    assert ("Open", "Öffnen") in {message[:2] for message in read(tmp_path / "de.mo")[1]}
    (tmp_path / "de.po").write_text(
        f'msgid ""\nmsgstr "Content-Type: text/plain; charset={charset}\\n"\n\nmsgid "a"\nmsgstr "ö"\n'
    )
    assert read(tmp_path / "de.po")[1] == [("a", "ö", 4)]


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ('msgid "a"\nmsgstr "b\n', 2, "not quoted"),
        ('msgid "a"\nmsgstr "b" c"\n', 2, "not quoted"),
        ('msgid "a"\nmsgstr "b"\nnonsense\n', 3, "no line of a catalogue"),
        ('msgid "a"\nmsgstr "b"\nmsgstr "c"\n', 3, "two of msgstr"),
        ('\nmsgid "a"\n', 2, "no msgstr"),
        ('msgstr "a"\n', 1, "no msgid"),
    ],
)
def test_what_is_wrong_in_a_po_file(tmp_path: Path, text: str, line: int, what: str) -> None:
    (tmp_path / "de.po").write_text(text)
    with pytest.raises(DataError) as raised:
        read(tmp_path / "de.po")
    assert what in raised.value.what
    assert raised.value.where == f"{tmp_path / 'de.po'}:{line}"


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "de.po").write_bytes(b'msgid "a"\nmsgstr "\xff"\n')
    with pytest.raises(DataError, match="not UTF-8"):
        read(tmp_path / "de.po")
    (tmp_path / "de.mo").write_bytes(compiled({"a": "b"}).replace(b"b\0", b"\xff\0"))
    with pytest.raises(DataError, match="not UTF-8"):
        read(tmp_path / "de.mo")
    (tmp_path / "cut.mo.gz").write_bytes(gzip.compress(compiled(MESSAGES))[:-20])
    with pytest.raises(DataError, match="damaged or truncated"):
        read(tmp_path / "cut.mo.gz")
