"""Limits on a stranger's tokenizer, checked before the tokenizers library builds it.

The library trusts its files: an id may be any number, a regular expression may backtrack for ever, and a chain of normalisers may
make a terabyte of a word. All checks read the definition only, so that they take bounded time and memory.

A regular expression is accepted if it is a known one, or of a form that reads text once: alternatives of which each has at
most one unbounded repetition, of a single character or class, at its end.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from typing import Any

from plmtrain.errors import DataError
from plmtrain.settings.tokenizer import MOST_TOKENS

_MOST_STAGES = 64
"""More stages than any published tokenizer has in its normaliser, pre-tokeniser or decoder; the most have five."""
_MOST_GROWTH = 1024.0
"""The most characters that all stages together may make of one: the published chains stay below it (ALBERT: 18 * 3 * 18)."""
_LONGEST_WORD = 1024
"""The most characters of a word in WordPiece, whose search takes time with the square of it; published are 100 and 200."""

_GROWTH = {
    **{"NFKC": 18.0, "NFKD": 18.0, "NFC": 3.0, "NFD": 4.0},  # Unicode's longest expansions, in characters (UAX 15)
    **{"Lowercase": 3.0, "BertNormalizer": 3.0, "ByteLevel": 4.0},  # a space on both sides of ideographs; a letter for each byte
}
"""The most characters that a stage makes of one, where it is not 1 and not up to the file."""

PUNCTUATION = r"(?<![\p{L}\p{M}\p{N}])[\p{P}\p{S}]|[\p{P}\p{S}](?![\p{L}\p{M}\p{N}])"
"""A mark or symbol without a letter or digit on both sides: that in ``don't`` or ``3.5`` is a part of the word."""

_KNOWN = frozenset(
    {
        PUNCTUATION,
        r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",  # GPT-2
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    }
)
"""Expressions that are of no simple form, but that read each run of characters at most twice: plmtrain's own for words, GPT-2's,
GPT-4's and Llama 3's, Qwen's."""

_CLASS = r"\[\^?\]?(?:\\.|\[[^\[\]]*+\]|[^\[\]\\])++\]"
_ESCAPE = r"\\(?:[pP]\{\^?\w++\}|x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|[^0-9a-zA-Z]|[dDsSwWtnrv])"
_ATOM = rf"(?:{_ESCAPE}|{_CLASS}|[^\\\[\](){{}}|*+?^$])"
_WORDS = rf"\((?:\?:|\?i:)?{_ATOM}++(?:\|{_ATOM}++)*+\)"
_ONCE = rf"(?:{_ATOM}|{_WORDS})(?:\?|\{{\d\}})?(?![*+?{{])"
_MANY = rf"{_ATOM}(?:[*+]|\{{\d{{1,2}},\d{{0,2}}\}})"
_BRANCH = rf"\^?(?:{_ONCE})*+(?:{_MANY}|\$)?"
_SIMPLE = re.compile(rf"{_BRANCH}(?:\|{_BRANCH})*+", re.DOTALL)
_LONGEST_PATTERN = 500
_MOST_OPTIONAL = 8


def require_harmless(definition: Mapping[str, Any], place: str) -> None:
    """Refuse a tokenizer that is broken, or that could take unbounded time or memory on some text.

    Args:
        definition: the contents of ``tokenizer.json``.
        place: where it stands, for the message.

    Raises:
        DataError: for the first reason.
    """
    problem = next((problem for check in _CHECKS for problem in check(definition)), None)
    if problem is not None:
        raise DataError("this tokenizer cannot be used", f"{place}: {problem}", "save it again, or use another tokenizer")


def _ids(definition: Mapping[str, Any]) -> Iterator[str]:
    vocabulary = definition["model"]["vocab"]
    if isinstance(vocabulary, dict):
        numbers = [*vocabulary.values()]
    elif isinstance(vocabulary, list):
        numbers = [*range(len(vocabulary))]
    else:
        yield "the vocabulary is neither an object nor a list"
        return
    added = definition.get("added_tokens", [])
    wanted = (("content", str), ("id", int), ("special", bool))
    if not isinstance(added, list) or not all(
        isinstance(token, dict) and all(isinstance(token.get(key), kind) for key, kind in wanted) for token in added
    ):
        yield "added_tokens is not a list of tokens, each with content, id and special"
        return
    for number in [*numbers, *(token["id"] for token in added)]:
        if not isinstance(number, int) or not 0 <= number < MOST_TOKENS:
            yield f"{str(number)[:40]} cannot be the id of a token"


def _unknown(definition: Mapping[str, Any]) -> Iterator[str]:
    model = definition["model"]
    pieces = model["vocab"]
    if isinstance(pieces, list):
        unknown = model.get("unk_id")
        if unknown is None and not model.get("byte_fallback"):
            yield "no token stands for unknown characters (unk_id)"
        elif unknown is not None and (not isinstance(unknown, int) or not 0 <= unknown < len(pieces)):
            yield "unk_id is the number of no token"
    elif isinstance(unknown := model.get("unk_token"), str) and unknown not in pieces:
        yield f"the unknown token {unknown[:40]!r} is not in the vocabulary"


def _words(definition: Mapping[str, Any]) -> Iterator[str]:
    longest = definition["model"].get("max_input_chars_per_word", 100)
    if not isinstance(longest, int) or longest > _LONGEST_WORD:
        yield f"max_input_chars_per_word is more than {_LONGEST_WORD}"


def _stages(definition: Mapping[str, Any]) -> Iterator[str]:
    growth = 1.0
    for part in ("normalizer", "pre_tokenizer", "decoder"):
        stages = list(_flat(definition.get(part)))
        if len(stages) > _MOST_STAGES:
            yield f"{part} has {len(stages)} stages, more than {_MOST_STAGES}"
            return
        for stage in stages:
            if (problem := _of_pattern(stage)) is not None:
                yield f"{part}: {problem}"
            growth *= _growth(stage)
    if growth > _MOST_GROWTH:
        yield f"its stages can make more than {_MOST_GROWTH:,.0f} characters of one"


_CHECKS = (_ids, _unknown, _words, _stages)


def _flat(stage: Any) -> Iterator[Mapping[str, Any]]:
    """Yield a stage, or the stages of a nested sequence."""
    if not isinstance(stage, dict):
        return
    lists = [stage.get(key) for key in ("normalizers", "pretokenizers", "decoders")]
    inner = [part for each in lists if isinstance(each, list) for part in each]
    if inner:
        for part in inner:
            yield from _flat(part)
    else:
        yield stage


def _of_pattern(stage: Mapping[str, Any]) -> str | None:
    """Return what is wrong with the pattern of a stage, or None."""
    pattern = stage.get("pattern")
    if not isinstance(pattern, dict):
        return None
    if "String" in pattern:
        return None if pattern["String"] else "a pattern is empty"
    expression = pattern.get("Regex")
    if not isinstance(expression, str) or not expression:
        return "a pattern is empty"
    return None if is_linear(expression) else f"the regular expression {expression[:60]!r} may take unbounded time"


def is_linear(expression: str) -> bool:
    """Return whether a regular expression is known to read any text in time that grows with its length alone."""
    if expression in _KNOWN:
        return True
    short = len(expression) <= _LONGEST_PATTERN and expression.count("?") <= _MOST_OPTIONAL
    return short and _SIMPLE.fullmatch(expression) is not None


def _growth(stage: Mapping[str, Any]) -> float:
    """Return the most characters that a stage makes of one."""
    name = str(stage.get("type"))
    if name == "Precompiled":
        return _of_table(stage.get("precompiled_charsmap"))
    if name == "Replace":
        pattern = stage.get("pattern")
        text = pattern.get("String") if isinstance(pattern, dict) else None
        return max(1.0, len(str(stage.get("content", ""))) / max(1, len(text) if isinstance(text, str) else 1))
    if name == "Prepend":
        return max(1.0, len(str(stage.get("prepend", ""))))
    return _GROWTH.get(name, 1.0)


def _of_table(encoded: Any) -> float:
    """Return the length of the longest replacement in SentencePiece's table: a trie with its size, then texts that end in NUL."""
    try:
        table = base64.b64decode(encoded or "", validate=True)
    except (TypeError, ValueError):
        return 1.0  # the library refuses it
    texts = table[4 + int.from_bytes(table[:4], "little") :]
    return max((float(len(text.decode("utf-8", "replace"))) for text in texts.split(b"\0")), default=1.0) or 1.0
