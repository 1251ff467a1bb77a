"""Readers of text files and JSON, a document at a time; errors name the file and the line.

Every verb reads the lines of its input here, whether they come from a file or from standard input: gzip, a byte order mark, line
ends and bytes that are not text are treated alike.
"""

from __future__ import annotations

import glob
import gzip
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from io import BufferedReader
from pathlib import Path
from typing import IO, NamedTuple, cast

from plmtrain.errors import DataError, escaped, nearest
from plmtrain.files import open_regular, require_regular
from plmtrain.settings.data import DataSettings, TableSettings
from plmtrain.stopping import safe_point
from plmtrain.text.json_objects import Lines, json_objects, kind

_LONGEST_LINE = 2**28  # bytes; a longer line is not text, and would soon exhaust memory
_LONGEST_DOCUMENT = 2**24  # characters; longer files are cut at a line end, so that memory stays bounded
GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
"""The bytes that compressed files begin with."""
_PACKED = (".gz", ".zst")
JSON_ENDINGS = (".jsonl", ".ndjson", ".json")
_KINDS = {
    **dict.fromkeys(JSON_ENDINGS, ("jsonl", "JSON lines")),
    **dict.fromkeys((".csv", ".tsv", ".tab"), ("csv", "a table of text")),
    ".parquet": ("parquet", "a table in parquet's format"),
    ".arrow": (None, "a table in Arrow's format"),
}
"""By the ending of a file, the ``data=`` that reads it, and what it contains."""
SKIP = "correct or remove it, or omit such lines with data.on_bad=skip"
SKIP_FILE = "remove it from data.files, or skip it with data.on_bad=skip"


class Document(NamedTuple):
    """A document: paragraphs separated by line ends.

    Args:
        text: never empty.
        source: the file that it is from.
        line: the line that it begins at, or its row in a table, counted from 1.
    """

    text: str
    source: str
    line: int


@dataclass
class Skips:
    """Lines that were skipped because they could not be read.

    Args:
        count: lines (or files without text).
        first: the first few errors, each on one line.
    """

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, error: DataError) -> None:
        """Count one line."""
        self.count += 1
        if len(self.first) < 5:
            self.first.append(f"{error.where}: {error.what}")


def expand(patterns: Sequence[str], setting: str = "data.files") -> list[Path]:
    """Expand patterns to files.

    Args:
        patterns: files, globs (``**`` for any depth), and folders, which stand for all files in them that are not hidden.
        setting: the setting that holds the patterns, for messages.

    Returns:
        Each file once; those of a pattern are sorted by name.

    Raises:
        DataError: if a pattern matches no file, with the nearest existing one; if a file is not regular (a named pipe, a device,
            a broken link); if its name is not UTF-8.
    """
    files: dict[Path, None] = {}
    for pattern in patterns:
        path = Path(pattern).expanduser()
        if path.exists():
            matches = [path]
        elif glob.has_magic(pattern):
            # pathlib's own glob would need the pattern split into its fixed part and the rest.
            names = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207
            # A link that leads nowhere, or in a circle, is no file: passed over, as in folders.
            matches = [match for match in map(Path, names) if match.exists()]
        else:
            raise DataError("this file does not exist", f"{setting}: {pattern}", _remedy(path))
        inside = [file for match in matches for file in (_files_below(match) if match.is_dir() else [match])]
        if not inside:
            what = "there is no file in this folder" if path.is_dir() else "no file matches this pattern"
            raise DataError(
                what, f"{setting}: {pattern}", "name files, folders with files in them, or patterns such as 'text/*.txt'"
            )
        files.update(dict.fromkeys(inside))
    for file in files:
        _require_readable(file, setting)
    return list(files)


def _require_readable(file: Path, setting: str) -> None:
    where = f"{setting}: {escaped(str(file))}"
    if escaped(str(file)) != str(file):
        raise DataError("the name of this file is not UTF-8", where, "rename it")
    try:
        require_regular(file)
    except OSError as error:
        remedy = "name regular files: a run reads them again when it is resumed"
        raise DataError(f"this file cannot be read: {error.strerror}", where, remedy) from None


def _files_below(folder: Path) -> list[Path]:
    below = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path for path in below if not any(part.startswith(".") for part in path.relative_to(folder).parts))


def _remedy(path: Path) -> str:
    """Return the remedy for a missing file."""
    folder = path.parent
    while not folder.is_dir():
        path, folder = folder, folder.parent
    names = [entry.name for entry in folder.iterdir() if not entry.name.startswith(".") and entry.exists()]
    if not names:
        return f"{folder} is empty"
    hint = nearest(path.name, names)
    return (
        f"in {folder}: {hint}"
        if hint.startswith("did you mean") or len(names) <= 10
        else f"no name there is similar to it: {folder}"
    )


def unpacked(path: Path) -> str:
    """Return a file's name without the ending of gzip or zstd."""
    return path.name[: -len(path.suffix)] if path.suffix.lower() in _PACKED else path.name


def ending(path: Path) -> str:
    """Return the ending of a file's name in lower case, without that of gzip or zstd."""
    return Path(unpacked(path).lower()).suffix


def kind_of(path: Path) -> str:
    """Return the ``data=`` that reads a file, by its ending: ``text`` where that says nothing else."""
    fits, _ = _KINDS.get(ending(path), ("text", ""))
    return fits or "text"


def require_kind(path: Path, type: str) -> None:
    """Refuse a file whose name says that it contains something else than what is read from it.

    Args:
        path: the file.
        type: how it would be read, a ``type`` of ``DataSettings``; parallel text comes in files of many kinds.

    Raises:
        DataError: naming the right ``data=``.
    """
    fits, content = _KINDS.get(ending(path), (type, ""))
    if type in (fits, "parallel"):
        return
    remedy = "write it again as parquet, for data=parquet"
    if fits is not None:
        remedy = f"write data={fits}, or name the other files alone, with a pattern such as 'corpus/*.txt'"
    raise DataError(f"a '{ending(path)}' file contains {content}, which data={type} does not read", str(path), remedy)


def read(path: Path, data: DataSettings, skips: Skips | None = None) -> Iterator[Document]:
    """Yield the documents of a file of text or JSON lines, compressed or not; at most one document is in memory at a time.

    Args:
        path: the file.
        data: how it is read: ``type``, ``text_column``, ``document_per``, ``on_bad``.
        skips: counts the lines that ``on_bad=skip`` omits.

    Raises:
        DataError: with file and line, for bytes that are not UTF-8 text, for lines that are not a JSON object with the text
            column, for a file without text, and for a file of another kind or a truncated gzip file (these even with
            ``on_bad=skip``).
    """
    require_kind(path, data.type)
    skips = Skips() if skips is None else skips
    stream = lines(path, data, skips)
    documents = _json_documents(path, stream, data, skips) if data.type == "jsonl" else _text_documents(path, stream, data)
    skipped_before = skips.count
    empty = True
    for document in documents:
        empty = False
        yield document
    if empty and skips.count == skipped_before:
        bad(DataError("there is no text in this file", str(path), SKIP_FILE), data, skips)


def bad(error: DataError, data: DataSettings | TableSettings, skips: Skips) -> None:
    """Raise an error or count it, as the settings say."""
    if data.on_bad == "stop":
        raise error
    skips.add(error)


def lines(path: Path, data: DataSettings | TableSettings, skips: Skips) -> Lines:
    """Yield the lines of a file, gzipped or not, each with its number and without its line end.

    Args:
        path: the file.
        data: whether lines that are not text stop the reading (``on_bad``).
        skips: counts the lines that are skipped.

    Raises:
        DataError: with file and line.
    """
    with open_bytes(path) as stream:
        yield from lines_of(stream, str(path), data, skips)


def lines_of(stream: IO[bytes], source: str, data: DataSettings | TableSettings, skips: Skips) -> Lines:
    """Yield the lines of an open file or of standard input; arguments and errors as for ``lines``.

    Args:
        stream: decompressed.
        source: its name in messages.
    """
    number = 0
    while True:
        safe_point()
        number += 1
        where = f"{source}:{number}"
        try:
            raw = stream.readline(_LONGEST_LINE + 1)
        except (EOFError, OSError, zlib.error) as error:
            raise damage(error, where) from None
        if not raw:
            return
        if len(raw) > _LONGEST_LINE:
            raise DataError(f"this line is longer than {_LONGEST_LINE >> 20} MB", where, "split it into lines or documents")
        if number == 1:
            raw = raw.removeprefix(b"\xef\xbb\xbf")
        raw = raw.rstrip(b"\r\n")
        if b"\0" in raw:
            what = "this line contains a NUL byte: the file is binary, or UTF-16 text"
            bad(DataError(what, where, f"UTF-8 text was expected; {SKIP}"), data, skips)
            continue
        try:
            yield number, raw.decode("utf-8")
        except UnicodeDecodeError as error:
            what = f"this is not UTF-8: byte 0x{raw[error.start]:02x} at place {error.start + 1} of the line"
            bad(DataError(what, where, f"convert it (iconv -t utf-8); {SKIP}"), data, skips)


def open_bytes(path: Path) -> IO[bytes]:
    """Open a file for reading bytes, gzipped or not.

    Raises:
        DataError: if it cannot be opened.
    """
    try:
        return decompressed(open_regular(path))
    except OSError as error:
        raise DataError(f"this file cannot be read: {error.strerror}", str(path), "check its permissions and its name") from None


def decompressed(stream: BufferedReader) -> IO[bytes]:
    """Return a stream as it is, or decompressed if it begins as gzip's or zstd's do; it need not be seekable."""
    if stream.peek(4)[:4] == ZSTD:
        import pyarrow

        return BufferedReader(pyarrow.CompressedInputStream(stream, "zstd"))
    if stream.peek(2)[:2] != GZIP:
        return stream
    unpacked = gzip.GzipFile(fileobj=stream)
    unpacked.myfileobj = stream  # type: ignore[assignment]  # which is closed with it, whatever its class
    return cast(IO[bytes], unpacked)


def damage(error: Exception, where: str) -> Exception:
    """Return the error that tells of a failure to read or to decompress: the system's own, or that of a damaged file."""
    if isinstance(error, OSError) and error.errno is not None:
        return error
    return DataError(f"this compressed file is damaged or truncated ({error})", where, "copy it again")


def _text_documents(path: Path, stream: Lines, data: DataSettings) -> Iterator[Document]:
    """Yield the documents of a plain text file."""
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


def _json_documents(path: Path, stream: Lines, data: DataSettings, skips: Skips) -> Iterator[Document]:
    """Yield the documents of a file of JSON objects."""
    source, column = str(path), data.text_column
    wanted = f'a line like {{"{column}": "..."}} was expected; {SKIP}'
    for number, where, row in json_objects(source, stream, wanted, partial(bad, data=data, skips=skips)):
        if column not in row:
            columns = ", ".join(map(str, row)) or "none"
            what = f"there is no column '{column}'; the columns here: {columns}"
            remedy = f"data.text_column: {nearest(column, row)}" if row else SKIP
            bad(DataError(what, where, remedy), data, skips)
        elif not isinstance(text := row[column], str):
            what = f"column '{column}' should be text, but is {kind(text)}"
            strings = [name for name, value in row.items() if isinstance(value, str)]
            remedy = f"columns of text: {', '.join(strings)} (data.text_column); or {SKIP}" if strings else SKIP
            bad(DataError(what, where, remedy), data, skips)
        elif problem := unusable(text):
            bad(DataError(f"column '{column}' contains {problem}", where, SKIP), data, skips)
        elif text and not text.isspace():
            yield Document(text.strip("\r\n"), source, number)


def unusable(text: str) -> str:
    """Return the reason why no tokenizer can read a text; empty if there is none."""
    if "\0" in text:
        return "a NUL character"
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return "half a surrogate pair"
    return ""
