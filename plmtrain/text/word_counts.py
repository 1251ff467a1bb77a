"""The number of occurrences of each word, which is all that training a tokenizer needs of a text.

Counting words first, instead of passing whole texts to the tokenizers library, makes training independent of the order of the
texts, bounds memory by the number of distinct words, and is faster. Text is first cut at white space by a regular expression;
only the distinct pieces go through the tokenizer's own normalisation and pre-tokenisation. Scripts without spaces have longer
words, so that there the number of distinct words, and with it memory, does grow with the text.

Training takes time that is quadratic in the length of a word. A longer word of a script without spaces is cut after punctuation;
any other one, such as encoded data, is left out and counted.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from plmtrain.stopping import safe_point

# Only these four characters are white space to every tokenizer. Byte-level ones keep it; a space belongs to the word after it.
_WITHOUT_SPACE = re.compile(r"[^ \t\r\n]+")
_WITH_SPACE = re.compile(r" ?[^ \t\r\n]+|[ \t\r\n]+(?![^ \t\r\n])|[ \t\r\n]+")
_FRAGMENT = re.compile(r"\w+\W*|\W+")
_STRETCHES_HELD = 2_000_000
LONGEST_WORD = 256  # characters
_WORDS_FED = 2**25
_FED_AT_ONCE = 2**20  # characters


@dataclass
class WordCounts:
    """The words of some texts.

    Args:
        words: the number of occurrences of each word.
        characters: the number of characters of all words, those that were left out included.
        left_out: the number of characters of words that were left out because they are too long.
    """

    words: Counter[str] = field(default_factory=Counter)
    characters: int = 0
    left_out: int = 0


def count_words(texts: Iterable[str], normalizer: Any, pre_tokenizer: Any, *, keeps_space: bool) -> WordCounts:
    """Count the words of some texts, as the first two stages of a tokenizer cut them.

    Args:
        texts: in any order; each is in memory only while it is counted.
        normalizer: a normaliser of the tokenizers library, or None.
        pre_tokenizer: a pre-tokeniser of the tokenizers library.
        keeps_space: whether white space is part of its words.
    """
    counts = WordCounts()
    stretches: Counter[str] = Counter()
    stretch = _WITH_SPACE if keeps_space else _WITHOUT_SPACE
    for text in texts:
        safe_point()
        parts = stretch.findall(text)
        stretches.update(part for part in parts if len(part) <= LONGEST_WORD)
        # Long ones hardly ever repeat, and would fill the memory.
        _cut(Counter(part for part in parts if len(part) > LONGEST_WORD), counts, normalizer, pre_tokenizer)
        if len(stretches) > _STRETCHES_HELD:
            _cut(stretches, counts, normalizer, pre_tokenizer)
            stretches.clear()
    _cut(stretches, counts, normalizer, pre_tokenizer)
    return counts


def _cut(stretches: Mapping[str, int], counts: WordCounts, normalizer: Any, pre_tokenizer: Any) -> None:
    """Add the words of the pieces to the counts."""
    for stretch, count in stretches.items():
        normal = stretch if normalizer is None else normalizer.normalize_str(stretch)
        for word, _ in pre_tokenizer.pre_tokenize_str(normal):
            counts.characters += len(word) * count
            for part in (word,) if len(word) <= LONGEST_WORD else _fragments(word):
                if len(part) <= LONGEST_WORD:
                    counts.words[part] += count
                else:
                    counts.left_out += len(part) * count


def _fragments(word: str) -> list[str]:
    """Cut a word of a script without spaces after punctuation, into parts as long as they may be; a word of ASCII stays whole."""
    if 2 * len(word.encode("ascii", "ignore")) > len(word):
        return [word]
    parts = [""]
    for fragment in _FRAGMENT.findall(word):
        if parts[-1] and len(parts[-1]) + len(fragment) > LONGEST_WORD:
            parts.append("")
        parts[-1] += fragment
    return parts


def as_texts(words: Mapping[str, int]) -> Iterator[str]:
    """Yield texts in which each word occurs as often as counted, for a trainer that counts again.

    Beyond some thirty million occurrences all counts are scaled down together: the frequencies that training uses stay the same,
    and its time no longer grows with the text.

    Args:
        words: the number of occurrences of each word; no word contains white space.
    """
    total = sum(words.values())
    held: list[str] = []
    length = 0
    for word in sorted(words):
        count = words[word] if total <= _WORDS_FED else words[word] * _WORDS_FED // total
        size = len(word) + 1
        while count:
            part = min(count, max(1, _FED_AT_ONCE // size))
            count -= part
            held.append((word + " ") * part)
            length += part * size
            if length >= _FED_AT_ONCE:
                safe_point()
                yield "".join(held)
                held, length = [], 0
    if held:
        yield "".join(held)
