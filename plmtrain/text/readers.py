"""Text files and JSON lines, read a document at a time, with an error that names file and line for whatever is wrong in them."""

from __future__ import annotations

import glob
import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, NamedTuple, cast

from plmtrain.errors import DataError, nearest
from plmtrain.settings.data import DataSettings, TableSettings

_LONGEST_LINE = 2**28  # bytes; what is longer is no text, and would not fit into memory for long
_LONGEST_DOCUMENT = 2**24  # characters; longer files are cut at a line end, so that memory stays bounded
_GZIP = b"\x1f\x8b"
SKIP = "mend or remove it, or leave such lines out with data.on_bad=skip"


class Document(NamedTuple):
    """A document: paragraphs separated by line ends.

    Args:
        text: never empty.
        source: the file that it is from.
        line: the line that it begins at, counted from 1.
    """

    text: str
    source: str
    line: int


@dataclass
class Skips:
    """What was skipped because it could not be read.

    Args:
        count: lines (or files without text).
        first: the first few errors, each on one line.
    """

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, error: DataError) -> None:
        """Count one."""
        self.count += 1
        if len(self.first) < 5:
            self.first.append(f"{error.where}: {error.what}")


def expand(patterns: Sequence[str], setting: str = "data.files") -> list[Path]:
    """The files that some patterns mean.

    Args:
        patterns: files, globs (``**`` for any depth), and folders, which stand for all files in them that are not hidden.
        setting: what names them, for messages.

    Returns:
        Each file once, those of a pattern in the order of their names.

    Raises:
        DataError: if a pattern means no file; it names the nearest that is there.
    """
    files: dict[Path, None] = {}
    for pattern in patterns:
        path = Path(pattern).expanduser()
        if path.exists():
            found = [path]
        elif glob.has_magic(pattern):
            # pathlib's own would need the pattern cut into its fixed part and the rest.
            found = [Path(name) for name in sorted(glob.glob(str(path), recursive=True))]  # noqa: PTH207
        else:
            raise DataError("this file does not exist", f"{setting}: {pattern}", _remedy(path))
        inside = [file for one in found for file in (_files_below(one) if one.is_dir() else [one])]
        if not inside:
            what = "there is no file in this folder" if path.is_dir() else "no file matches this pattern"
            raise DataError(
                what, f"{setting}: {pattern}", "name files, folders with files in them, or patterns such as 'text/*.txt'"
            )
        files.update(dict.fromkeys(inside))
    return list(files)


def _files_below(folder: Path) -> list[Path]:
    below = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path for path in below if not any(part.startswith(".") for part in path.relative_to(folder).parts))


def _remedy(path: Path) -> str:
    """What to try instead of a file that is not there."""
    folder = path.parent
    while not folder.is_dir():
        path, folder = folder, folder.parent
    names = [entry.name for entry in folder.iterdir() if not entry.name.startswith(".")]
    if not names:
        return f"{folder} is empty"
    said = nearest(path.name, names)
    return (
        f"in {folder}: {said}"
        if said.startswith("did you mean") or len(names) <= 10
        else f"there is nothing of a name like it in {folder}"
    )


def read(path: Path, data: DataSettings, skips: Skips | None = None) -> Iterator[Document]:
    """The documents of a file, gzipped or not; never more of it is in memory than a document.

    Args:
        path: the file.
        data: how it is read: ``type``, ``text_column``, ``document_per``, ``on_bad``.
        skips: where lines that ``on_bad=skip`` leaves out are counted.

    Raises:
        DataError: naming file and line, for what is not UTF-8 text, for lines that are no JSON object with the text's column,
            for a file without text, and for a gzip file that breaks off (this even with ``on_bad=skip``).
    """
    skips = Skips() if skips is None else skips
    stream = lines(path, data, skips)
    documents = _json_documents(path, stream, data, skips) if data.type == "jsonl" else _text_documents(path, stream, data)
    skipped_before = skips.count
    empty = True
    for document in documents:
        empty = False
        yield document
    if empty and skips.count == skipped_before:
        remedy = "remove it from data.files, or pass over it with data.on_bad=skip"
        bad(DataError("there is no text in this file", str(path), remedy), data, skips)


def bad(error: DataError, data: DataSettings | TableSettings, skips: Skips) -> None:
    """Stop at an error, or count it, as the settings say."""
    if data.on_bad == "stop":
        raise error
    skips.add(error)


def lines(path: Path, data: DataSettings | TableSettings, skips: Skips) -> Iterator[tuple[int, str]]:
    """The lines of a file, gzipped or not, that are text: each with its number, without their ends.

    Args:
        path: the file.
        data: whether lines that are no text stop the reading (``on_bad``).
        skips: where those that do not are counted.

    Raises:
        DataError: naming file and line.
    """
    number = 0
    with open_bytes(path) as stream:
        while True:
            number += 1
            where = f"{path}:{number}"
            try:
                raw = stream.readline(_LONGEST_LINE + 1)
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                raise DataError(f"this gzip file is damaged or breaks off ({error})", where, "copy it again") from None
            if not raw:
                return
            if len(raw) > _LONGEST_LINE:
                raise DataError(f"this line is longer than {_LONGEST_LINE >> 20} MB", where, "break it into lines or documents")
            if number == 1:
                raw = raw.removeprefix(b"\xef\xbb\xbf")
            raw = raw.rstrip(b"\r\n")
            if b"\0" in raw:
                what = "there is a NUL byte: this is binary, or text in UTF-16"
                bad(DataError(what, where, f"UTF-8 text was expected; {SKIP}"), data, skips)
                continue
            try:
                yield number, raw.decode("utf-8")
            except UnicodeDecodeError as error:
                what = f"this is not UTF-8: byte 0x{raw[error.start]:02x} at place {error.start + 1} of the line"
                bad(DataError(what, where, f"convert it (iconv -t utf-8); {SKIP}"), data, skips)


def open_bytes(path: Path) -> IO[bytes]:
    """A file's bytes, gzipped or not.

    Raises:
        DataError: if it cannot be opened.
    """
    try:
        stream = path.open("rb")
    except OSError as error:
        raise DataError(f"this file cannot be read: {error.strerror}", str(path), "mend its permissions or its name") from None
    magic = stream.read(2)
    stream.seek(0)
    if magic != _GZIP:
        return stream
    stream.close()
    return cast(IO[bytes], gzip.open(path, "rb"))


def _text_documents(path: Path, stream: Iterator[tuple[int, str]], data: DataSettings) -> Iterator[Document]:
    """Documents of plain text."""
    source = str(path)
    held: list[str] = []
    length = first = 0
    for number, line in stream:
        blank = not line or line.isspace()
        ends = bool(held) and (
            (blank and data.document_per == "blank_line") or data.document_per == "line" or length > _LONGEST_DOCUMENT
        )
        if ends:
            yield Document("\n".join(held).rstrip(), source, first)
            held, length = [], 0
        if not held:
            if blank:
                continue
            first = number
        held.append(line)
        length += len(line) + 1
    if held:
        yield Document("\n".join(held).rstrip(), source, first)


def _json_documents(path: Path, stream: Iterator[tuple[int, str]], data: DataSettings, skips: Skips) -> Iterator[Document]:
    """Documents of JSON lines."""
    source, column = str(path), data.text_column
    for number, line in stream:
        if not line or line.isspace():
            continue
        where = f"{source}:{number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            what = f"this is no whole line of JSON: {json_problem(error)}"
            bad(DataError(what, where, f'a line like {{"{column}": "..."}} was expected; {SKIP}'), data, skips)
            continue
        if not isinstance(row, dict):
            what = f"a JSON object was expected, but this is {kind(row)}"
            bad(DataError(what, where, f'a line like {{"{column}": "..."}} was expected; {SKIP}'), data, skips)
        elif column not in row:
            columns = ", ".join(map(str, row)) or "none"
            what = f"there is no column '{column}'; the columns here: {columns}"
            remedy = f"data.text_column: {nearest(column, row)}" if row else SKIP
            bad(DataError(what, where, remedy), data, skips)
        elif not isinstance(text := row[column], str):
            what = f"column '{column}' should be text, but is {kind(text)}"
            strings = [name for name, value in row.items() if isinstance(value, str)]
            remedy = f"columns with text here: {', '.join(strings)} (data.text_column); or {SKIP}" if strings else SKIP
            bad(DataError(what, where, remedy), data, skips)
        elif problem := unusable(text):
            bad(DataError(f"column '{column}' has {problem} in it", where, SKIP), data, skips)
        elif text and not text.isspace():
            yield Document(text.strip("\r\n"), source, number)


def kind(value: object) -> str:
    """What JSON calls a value."""
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def json_problem(error: ValueError | RecursionError) -> str:
    """What the parser of a line of JSON complains about; a line has no lines, so that its own line number would mislead."""
    return f"{error.msg}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)


def unusable(text: str) -> str:
    """What in a text no tokenizer can read; empty if there is nothing."""
    if "\0" in text:
        return "a NUL character"
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return "half a surrogate pair"
    return ""
