"""Extract prose from documentation that also holds code, sessions, tables, signatures and markup.

Only plain English sentences that a reader would take for prose are kept. When in doubt a sentence is dropped: the text is there
to learn a language from, not to be complete.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from plmtrain.text.sentences import split_sentences

_BLOCK_END = re.compile(r"\n[ \t]*\n")
_BULLET = re.compile(r"^[ \t]*(?:[*+•-]|\(?(?:\d{1,2}|[a-z])[.)])[ \t]+")
_NOT_PROSE = re.compile(
    r"^[ \t]*+(?:>>>|\.\.\.(?:\s|$)|\.\.\s|:\w|[|$%#@+=~^!/\\<>{}\[]|--|-?-\w[\w-]*(?:[ ,=]|$)|([^\w\s])\1{2,}[ \t]*$)|^ {3,}$"
)
_MARKUP: tuple[tuple[str, re.Pattern[str], str], ...] = tuple(
    (sign, re.compile(pattern), replacement)
    for sign, pattern, replacement in (  # a text without the sign is not searched
        ("`", r":[\w:+-]{1,64}:`(?:~[\w.]*\.)?[~!]?([^`<]+?)(?:\s*<[^>]*>)?`", r"\1"),  # :class:`~module.Class`
        ("`", r"`([^`<]+?)\s*<[^>]*>`__?", r"\1"),  # `text <address>`_
        ("`", r"``([^`]+)``", r"\1"),
        ("`", r"`([^`']+)['`]_{0,2}", r"\1"),
        ("[", r"\s?\[(?:\d+|#\w*)\]_?", ""),  # footnotes
        ("*", r"(?<![\w*])\*\*?([^\s*](?:[^*]*[^\s*])?)\*\*?(?![\w*])", r"\1"),  # *emphasis*
        ("()", r"(\w)\(\)", r"\1"),  # a function's name
    )
)
_DASH = re.compile(r"(?<!\s)\s+(?:--|–|—)\s+")
_QUOTES = str.maketrans("“”‘’", "\"\"''")
# Signs that only occur in code, tables, addresses and markup; and words that are names in a program.
_CODE = re.compile(
    r"[<>{}\[\]|\\@#$%^*~+=`&§©«»…]|::|--|\.\.|,,|!\w|;$|0x|\d:\d"  # signs
    r"|://|\w\.[^\W\d_]{2}|(?<!\w)[/.:]\w"  # addresses, paths, attributes
    r"|\w\(|\( | \)|\b[a-z]+[A-Z]|_(?![a-z])|(?<![a-z])_"  # calls and names
)
_SENTENCE = re.compile(r"""["'(]?[A-Z][\w-]*[ ,'].*[^\W_][)"']*[.!?][)"']*""", re.DOTALL)
_WORD = re.compile(r"[^\W\d_]+(?:['-][^\W\d_]+)*")
_FUNCTION_WORDS = """
    a about after all also an and any are as at be because been before being between both but by can could did do does
    each either even every for from had has have he her his how i if in into is it its just like may might more most must
    no not of on one only or other our out over same she should since so some such than that the their them then there
    these they this those through to too under until up upon us use used using very was we were what when where whether
    which while who whose why will with within without would yet you your
"""
_GLUE = frozenset(_FUNCTION_WORDS.split())
_FEWEST_WORDS = 5
_LONGEST = 800  # characters


def paragraphs(text: str) -> Iterator[str]:
    """Yield the prose in a piece of documentation, without markup.

    Args:
        text: a docstring or a page in reStructuredText.

    Yields:
        Paragraphs: sentences joined by a space, those of each paragraph that are prose.
    """
    for block in _BLOCK_END.split(text.expandtabs()):
        for item in _items(block):
            sentences = [sentence for sentence in split_sentences(_plain(item)) if is_prose(sentence)]
            if sentences:
                yield " ".join(sentences)


def _items(block: str) -> Iterator[str]:
    """Yield a block's paragraph, or the items of its list; nothing for code and titles."""
    lines = block.strip("\n").split("\n")
    held: list[str] = []
    for line in lines:
        if _NOT_PROSE.match(line):
            # Lines next to a line of code are mostly code or its caption.
            return
        if _BULLET.match(line) and held:
            yield " ".join(held)
            held = []
        held.append(_BULLET.sub("", line).strip())
    yield " ".join(held)


def _plain(text: str) -> str:
    """Return the text without inline markup, on one line."""
    for sign, pattern, replacement in _MARKUP:
        if sign in text:
            text = pattern.sub(replacement, text)
    return " ".join(_DASH.sub(", ", text.translate(_QUOTES)).split())


def is_prose(sentence: str) -> bool:
    """Return whether a sentence is plain English: complete, made of words, with enough of the function words of English."""
    if len(sentence) > _LONGEST or not _SENTENCE.fullmatch(sentence) or _CODE.search(sentence):
        return False
    if sentence.count('"') % 2 or sentence.count("(") != sentence.count(")"):
        return False
    words = _WORD.findall(sentence)
    if len(words) < _FEWEST_WORDS:
        return False
    letters = sum(map(len, words))
    functional = sum(word.lower() in _GLUE for word in words)
    names = sentence.count("_") + sum(not word[1:].islower() for word in words if len(word) > 1)
    return functional >= 0.25 * len(words) and names <= 0.15 * len(words) and letters >= 0.7 * len(sentence)
