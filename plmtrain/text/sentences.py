"""Split text into sentences, in any language, by rules alone.

A sentence ends at a full stop, question or exclamation mark (with the quotation marks and brackets that close after it) that is
followed by white space; at an ideographic mark anywhere; and at the end of a line, which is a paragraph unless the next line
continues with a lower-case letter. A full stop after an abbreviation, an initial or a list number, or before a lower-case letter,
ends no sentence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

# A search begins at the start of a run of marks or of white space only: from each character of it, its time would be quadratic.
_MARKS = ".!?…‽؟।॥።։۔"
_IDEOGRAPHIC_MARKS = "。！？｡．"
_CLOSERS = "\"'”’»›)\\]}）」』】〉》］｣"
_END = re.compile(
    rf"""
    (?: (?<![{_MARKS}]) (?P<mark> [{_MARKS}]+ ) [{_CLOSERS}]* (?=\s)  # marks that white space follows
      | [{_IDEOGRAPHIC_MARKS}]+ (?: [{_CLOSERS}]+ (?![ぁ-ゖ]) | (?![{_CLOSERS}]) )  # ideographic ones; 「…。」と continues
      | (?<![^\S\n]) (?=[^\S\n]*\n)                         # the end of a paragraph
    ) \s*
    """,
    re.VERBOSE,
)
_CANDIDATE = re.compile(rf"[{_MARKS}{_IDEOGRAPHIC_MARKS}\n]")
_WINDOW = 24  # characters: no abbreviation is longer
_LAST_WORD = re.compile(rf"(?:[^\W\d_]{{1,{_WINDOW}}}\.){{0,{_WINDOW}}}[^\W_]{{1,{_WINDOW}}}$")
_WORD = re.compile(r"[^\W\d_]+")

# English first; then those of other languages before capitals or figures. "no", "sun" and the like end sentences too often.
_ABBREVIATED = """
    mr mrs ms dr prof rev hon st sr jr messrs mme mlle gen col maj capt cmdr lt sgt gov sen rep pres supt fr hr frl
    vs cf al ca approx fig figs eq eqs sec ch vol vols nos pp ed eds chap art par op cit viz ibid resp incl nr bzw ggf vgl
    e.g i.e eg ie u.s u.k z.b d.h u.a a.m p.m jan feb mar apr jun jul aug sep sept oct nov dec
    co corp inc ltd dept univ ave blvd
"""
_ABBREVIATIONS = frozenset(_ABBREVIATED.split())
# These may also end a sentence, if the next word is one that opens sentences rather than continuing a name.
_ENDING = frozenset(["u.s", "u.k", "a.m", "p.m", "co", "corp", "inc", "ltd", "jr", "sr"])
_OPENING = "The A An In On At It He She We They This That These Those But And If When While After As For There"
_OPENERS = frozenset(_OPENING.split())


def boundaries(text: str) -> list[int]:
    """Return the offsets at which sentences begin.

    Args:
        text: any text.

    Returns:
        The offset of each sentence, ascending, from 0; empty for text that is all white space. White space belongs to the
        sentence after it, as in byte-level tokenizers, except at the end of the text.
    """
    if not text or text.isspace():
        return []
    starts = [0]
    # No sentence may consist of white space alone.
    filled = len(text) - len(text.lstrip())
    last = len(text.rstrip())
    for match in _matches(text):
        end = match.end()
        if end >= last or match.start() < filled:
            continue
        gap = match.group()
        if "\n" in gap:
            # A line that continues with a lower-case letter was broken to fit a page, or is verse.
            if text[end].islower() and gap.count("\n") == 1:
                continue
        elif match["mark"] and not _ends(text, match, end):
            continue
        start = match.start() + len(gap.rstrip())
        if start > starts[-1]:
            starts.append(start)
    return starts


def _matches(text: str) -> Iterator[re.Match[str]]:
    """Yield what ``_END.finditer`` does, in a fraction of the time: it is tried only where one of its characters stands."""
    place = 0
    while (candidate := _CANDIDATE.search(text, place)) is not None:
        start = candidate.start()
        if text[start] == "\n":  # the end of a paragraph begins with the white space before it
            while start > place and text[start - 1].isspace():
                start -= 1
        match = _END.match(text, start)
        if match is not None:
            yield match
        place = candidate.end() if match is None else match.end()


def split_sentences(text: str) -> list[str]:
    """Return the sentences of a text, without the white space around them."""
    starts = boundaries(text)
    return [text[start:end].strip() for start, end in zip(starts, [*starts[1:], None], strict=False)]


def _ends(text: str, match: re.Match[str], after: int) -> bool:
    """Return whether the mark ends a sentence.

    Args:
        text: the whole text.
        match: the mark with the closing characters and the white space after it.
        after: the offset of the next word.
    """
    following = text[after]
    if following.islower():
        return False
    if match["mark"] != ".":
        return True
    name = _word_before(text, match.start())
    if not name:
        return True
    if name.lower() in _ABBREVIATIONS:
        return name.lower() in _ENDING and _opens(text, after)
    if len(name) == 1 and name.isalpha() and name.isascii() and name != "I":
        return not name.isupper()
    # "1. First": a number that opens its line is not a sentence.
    begin = match.start() - len(name)
    return not (name.isdecimal() and (begin == 0 or text[begin - 1] == "\n"))


def _word_before(text: str, place: int) -> str:
    """Return the word that ends at an offset, with the points within it; empty if none does."""
    before = text[max(0, place - _WINDOW) : place].rsplit(maxsplit=1)
    if not before or text[place - 1].isspace():
        return ""
    if before[-1].isalpha():  # nearly all are, and no search is needed for them
        return before[-1]
    word = _LAST_WORD.search(before[-1])
    return "" if word is None else word.group()


def _opens(text: str, after: int) -> bool:
    """Return whether the word at an offset is one that opens sentences rather than continuing names."""
    word = _WORD.match(text, after)
    return word is not None and word.group() in _OPENERS
