"""The number of occurrences of each word, which is all that training a tokenizer needs of a text.

Counting words first, instead of passing whole texts to the tokenizers library, makes training independent of the order of the
texts, bounds memory by the number of distinct words, and is faster. Text is first cut at white space by a regular expression;
only the distinct pieces go through the tokenizer's own normalisation and pre-tokenisation. Scripts without spaces have longer
words, so that there the number of distinct words, and with it memory, does grow with the text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from plmtrain.stopping import safe_point

# Only these four characters are white space to every tokenizer. Byte-level ones keep it; a space belongs to the word after it.
_WITHOUT_SPACE = re.compile(r"[^ \t\r\n]+")
_WITH_SPACE = re.compile(r" ?[^ \t\r\n]+|[ \t\r\n]+(?![^ \t\r\n])|[ \t\r\n]+")
_STRETCHES_HELD = 2_000_000
_LONGEST_WORD = 256  # characters; longer ones are data, not language, and take time quadratic in their length
_WORDS_FED = 2**25
_FED_AT_ONCE = 2**20  # characters


def count_words(texts: Iterable[str], normalizer: Any, pre_tokenizer: Any, *, keeps_space: bool) -> Counter[str]:
    """Count the words of some texts, as the first two stages of a tokenizer cut them.

    Args:
        texts: in any order; each is in memory only while it is counted.
        normalizer: a normaliser of the tokenizers library, or None.
        pre_tokenizer: a pre-tokeniser of the tokenizers library.
        keeps_space: whether white space is part of its words.

    Returns:
        The number of occurrences of each word.
    """
    words: Counter[str] = Counter()
    stretches: Counter[str] = Counter()
    stretch = _WITH_SPACE if keeps_space else _WITHOUT_SPACE
    for text in texts:
        safe_point()
        stretches.update(stretch.findall(text))
        if len(stretches) > _STRETCHES_HELD:
            _cut(stretches, words, normalizer, pre_tokenizer)
            stretches.clear()
    _cut(stretches, words, normalizer, pre_tokenizer)
    return words


def _cut(stretches: Mapping[str, int], words: Counter[str], normalizer: Any, pre_tokenizer: Any) -> None:
    """Add the words of the pieces to the counts."""
    for stretch, count in stretches.items():
        if len(stretch) > _LONGEST_WORD:
            continue
        normal = stretch if normalizer is None else normalizer.normalize_str(stretch)
        for word, _ in pre_tokenizer.pre_tokenize_str(normal):
            words[word] += count


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
