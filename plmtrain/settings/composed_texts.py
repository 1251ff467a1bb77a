"""Texts that a task makes of several columns: a template of columns, and parts of a text between marks."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from plmtrain.settings.base import Settings
from plmtrain.settings.template import Template


class MarkSettings(Settings):
    """A part of a text that is read between marks."""

    text: str
    """The column of the text."""
    start: str
    """The column of the place where the part begins: a character, or with ``words`` a word, both counted from 0."""
    end: str | None = None
    """The column of the place where the part ends: the character after it."""
    inclusive: bool = False
    """Whether ``end`` is the last character of the part instead."""
    words: str | None = None
    """The column of the part itself; ``start`` then counts the words before it, which white space divides."""
    before: str = Field(min_length=1)
    """The mark before the part."""
    after: str = Field(min_length=1)
    """The mark after the part."""
    missing: Literal["error", "unmarked"] = "error"
    """The treatment of a text that does not have the part at its place: the row is bad, or it is read without these marks."""

    @model_validator(mode="after")
    def _one_end(self) -> Self:
        if (self.end is None) == (self.words is None):
            raise ValueError("a mark takes end, the column of a place, or words, the column of the marked words")
        if self.inclusive and self.end is None:
            raise ValueError("inclusive is of end, which is not given")
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that say where the part is."""
        return tuple(column for column in (self.start, self.end, self.words) if column is not None)


def require_used(text: tuple[str, ...], joined: dict[str, str], marks: tuple[MarkSettings, ...]) -> None:
    """Refuse templates and marks of texts that are not read, and templates without a column.

    Args:
        text: the names of the texts that are read.
        joined: templates by the names of texts.
        marks: of their columns.

    Raises:
        ValueError: naming the first one.
    """
    if idle := [name for name in joined if name not in text]:
        raise ValueError(f"joined has a template for {idle[0]}, which text does not name: {', '.join(text)}")
    if empty := [name for name in joined if not columns_of(name, joined)]:
        raise ValueError(
            f"joined has no column for {empty[0]}: name columns in braces, {{COLUMN}}, not '{joined[empty[0]][:60]}'"
        )
    columns = [column for name in text for column in columns_of(name, joined)]
    if idle := [mark.text for mark in marks if mark.text not in columns]:
        raise ValueError(f"marks names the text {idle[0]}, which is not read: {', '.join(columns)}")


def columns_of(name: str, joined: dict[str, str]) -> tuple[str, ...]:
    """Return the columns of texts that a text is made of: itself, if it has no template.

    Args:
        name: of the text.
        joined: templates by the names of texts.
    """
    return Template.parsed(joined[name], f"joined.{name}").columns if name in joined else (name,)
