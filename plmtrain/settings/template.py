"""Rows of one text that name their task and its columns: ``sst2 sentence: a gorgeous film`` (Raffel et al. 2020, appendix D)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import Formatter
from typing import NamedTuple


class Piece(NamedTuple):
    """A text, and the column whose cell comes after it; None at the end of a template."""

    before: str
    column: str | None


class Template:
    """The text of a row, with places for the cells of columns.

    Args:
        pieces: the texts and columns in order.
    """

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self.pieces = tuple(pieces)

    @classmethod
    def of(cls, text: str, columns: Sequence[str]) -> Template:
        """Return a template in which the names of columns stand in braces.

        Args:
            text: the template; a brace of its own is written twice.
            columns: the columns, all of which it must name.

        Raises:
            ValueError: if it names another column, or lacks one.
        """
        template = cls.parsed(text)
        some = " ".join(f"{{{column}}}" for column in columns)
        if other := [column for column in template.columns if column not in columns]:
            raise ValueError(f"template names {{{other[0]}}}, which is no column of text: write {some}")
        if missing := [column for column in columns if column not in template.columns]:
            raise ValueError(f"template lacks {{{missing[0]}}}, a column of text: write {some}")
        return template

    @classmethod
    def parsed(cls, text: str, setting: str = "template") -> Template:
        """Return a template in which the names of any columns stand in braces.

        Args:
            text: the template; a brace of its own is written twice.
            setting: where it is given.

        Raises:
            ValueError: if it has a single brace.
        """
        try:
            parsed = list(Formatter().parse(text))
        except ValueError as error:
            raise ValueError(f"{setting} has a single brace ({error}): write a brace of the text twice") from None
        pieces = [
            Piece(before, None if column is None else column + (f"!{way}" if way else "") + (f":{form}" if form else ""))
            for before, column, form, way in parsed
        ]
        return cls(pieces)

    @classmethod
    def usual(cls, name: str, columns: Sequence[str]) -> Template:
        """Return the name of a task, then each column's name and its text; columns are in the order of their names, as in the
        authors' code.

        Args:
            name: of the task.
            columns: the columns.
        """
        first, *others = sorted(columns)
        return cls([Piece(f"{name} {first}: ", first), *(Piece(f" {column}: ", column) for column in others)])

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns in the order of their places."""
        return tuple(piece.column for piece in self.pieces if piece.column is not None)

    def filled(self, cells: Mapping[str, str]) -> str:
        """Return the text of a row.

        Args:
            cells: the text of each column.
        """
        return "".join(before + ("" if column is None else cells[column]) for before, column in self.pieces)
