"""The letters of a text that a tokenizer changes before it cuts text into tokens.

The three kinds that plmtrain trains differ here. Lower-casing WordPiece strips accents and leaves Hangul taken apart into its
letters, as BERT's code does, so that a token can end within a syllable; lower-casing Unigram and byte-level BPE strip accents and
put syllables together again. Without lower-casing, WordPiece and byte-level BPE change no letter, and Unigram replaces
compatibility characters (NFKC), such as full-width letters.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from plmtrain.text.tokenizer import Tokenizer
from plmtrain.text.word_starts import SPACE


@dataclass(frozen=True)
class Alteration:
    """The letters that a tokenizer changes, other than their case.

    Args:
        share: of all letters and marks of the text.
        examples: the most frequent ones, each with what it becomes.
    """

    share: float
    examples: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        shown = ", ".join(f"{letter} becomes {' '.join(after) or 'nothing'}" for letter, after in self.examples)
        return f"{self.share:.1%} of the text's letters are changed before it is cut into tokens: {shown}"


def altered_letters(tokenizer: Tokenizer, texts: Iterable[str]) -> Alteration | None:
    """Measure which letters of a text a tokenizer changes; None if it changes none.

    Args:
        tokenizer: the tokenizer; only its normaliser counts here, unknown characters do not.
        texts: a sample of the text.
    """
    counts = Counter[str]()
    for text in texts:
        counts.update(unicodedata.normalize("NFC", text))
    letters = {letter: count for letter, count in counts.items() if unicodedata.category(letter)[0] in "LM"}
    changed: Counter[str] = Counter()
    after: dict[str, str] = {}
    for letter, count in letters.items():
        # White space around ideographs, and the sign for it, only separate words.
        after[letter] = "".join(tokenizer.normalise(letter).replace(SPACE, " ").split())
        if after[letter].casefold() != letter.casefold():
            changed[letter] = count
    if not changed:
        return None
    examples = tuple((letter, after[letter]) for letter, _ in changed.most_common(2))
    return Alteration(changed.total() / sum(letters.values()), examples)
