"""Files with a word a line, its tags beside it, and a blank line after each sentence; a row is a sentence, its cells are lists.

CoNLL-2003 has a line between documents, which is no sentence; CoNLL-U has comments, tokens of several words, and empty nodes,
which are no words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from plmtrain.errors import DataError
from plmtrain.text.json_objects import Lines
from plmtrain.text.readers import SKIP

_CONLLU = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
"""The columns of CoNLL-U (universaldependencies.org)."""
_BETWEEN_DOCUMENTS = "-DOCSTART-"
"""The first word of the line between two documents of CoNLL-2003."""
_BLANKS = re.compile("[ \t]+")
"""The white space between the cells of CoNLL's files: a word may have other in it, such as the no-break space of 10 000."""

Refuse = Callable[[DataError], None]
"""A function that raises the error of a bad row, or counts it."""

Cells = tuple[str, Mapping[str, list[str]]]
"""A sentence: its file and line, and its cells by column."""


def sentences_in(source: str, stream: Lines, names: Sequence[str], separator: str | None, refuse: Refuse) -> Iterator[Cells]:
    """Yield the sentences of a file in CoNLL's layout.

    Args:
        source: the name of the file in messages.
        stream: its lines.
        names: of its columns; without any the first one is ``tokens``, and the last one ``tags``.
        separator: of cells; blanks and tabs if None.
        refuse: called with the error of a line that has more or fewer cells.
    """
    for begins, rows in _sentences(stream, separator, comments=False):
        width = len(rows[0][1])
        own = names or ("tokens", *(str(number) for number in range(2, width)), *(("tags",) if width > 1 else ()))
        yield from _sentence(f"{source}:{begins}", source, rows, own, refuse)


def words_in(source: str, stream: Lines, refuse: Refuse) -> Iterator[Cells]:
    """Yield the sentences of a file in CoNLL-U's layout; arguments as for ``sentences_in``."""
    for begins, rows in _sentences(stream, "\t", comments=True):
        words = [(number, cells) for number, cells in rows if "-" not in cells[0] and "." not in cells[0]]
        yield from _sentence(f"{source}:{begins}", source, words, _CONLLU, refuse)


def _sentences(stream: Lines, separator: str | None, *, comments: bool) -> Iterator[tuple[int, list[tuple[int, list[str]]]]]:
    """Yield the lines of each sentence, cut into cells, with the number of the first one."""
    rows: list[tuple[int, list[str]]] = []
    for number, line in stream:
        if comments and line.startswith("#"):
            continue
        cells = line.split(separator) if separator else _BLANKS.split(line.strip(" \t"))
        if line and not line.isspace() and cells[0] != _BETWEEN_DOCUMENTS:
            rows.append((number, cells))
        elif rows:
            yield rows[0][0], rows
            rows = []
    if rows:
        yield rows[0][0], rows


def _sentence(
    where: str, source: str, rows: Sequence[tuple[int, list[str]]], names: Sequence[str], refuse: Refuse
) -> Iterator[Cells]:
    """Yield a sentence, unless it is refused."""
    for number, cells in rows:
        if len(cells) != len(names):
            what = f"this line has {len(cells)} cells, and {len(names)} were expected: {', '.join(names)}"
            remedy = f"if lines with # are comments, remove them; else {SKIP}" if rows[0][1][0].startswith("#") else SKIP
            refuse(DataError(what, f"{source}:{number}", remedy))
            return
    values = [list(column) for column in zip(*(cells for _, cells in rows), strict=True)] or [[] for _ in names]
    yield where, dict(zip(names, values, strict=True))
