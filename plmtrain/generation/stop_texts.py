"""Texts that end generation as soon as they are written, and what of an unfinished text can be shown."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

_BYTES_OF_A_CHARACTER = 4
"""A byte-level token has at least one byte, so that a text has at most four times as many tokens as characters."""

_INCOMPLETE = "\N{REPLACEMENT CHARACTER}"
"""Decoded from the bytes of a character of which some are missing."""


def settled(text: str) -> str:
    """Return the beginning of an unfinished text that its next tokens cannot change.

    They may complete the bytes of a character, or add marks or letters that join the last one (Unicode's NFC).
    """
    end = len(text.rstrip(_INCOMPLETE))
    while end and unicodedata.combining(text[end - 1]):
        end -= 1
    return text[: max(0, end - 1)]


class StopTexts:
    """Texts of which none may be written.

    Args:
        texts: the texts, at least one.
        text_of: returns the text of what is written.
    """

    def __init__(self, texts: Sequence[str], text_of: Callable[[Sequence[int]], str]) -> None:
        self.texts, self._text_of = tuple(texts), text_of
        # One token more may have been written than the one that completed a text's character.
        self._tokens = _BYTES_OF_A_CHARACTER * max(map(len, texts)) + 1

    def reached(self, written: Tensor) -> Tensor:
        """Return which texts contain one of the stop texts near their end.  # [texts, tokens] -> [texts] bool"""
        tails = written[:, -self._tokens :].tolist()
        ends = [any(text in self._text_of([token for token in tail if token >= 0]) for text in self.texts) for tail in tails]
        return torch.tensor(ends, dtype=torch.bool, device=written.device)

    def cut(self, text: str) -> str:
        """Return a text up to the first of the stop texts in it."""
        return text[: min((place for stop in self.texts if (place := text.find(stop)) >= 0), default=len(text))]

    def cut_unfinished(self, text: str) -> str:
        """Return the beginning of an unfinished text in which none of the stop texts has begun."""
        text = self.cut(text)
        begun = (length for stop in self.texts for length in range(1, len(stop)) if text.endswith(stop[:length]))
        return text[: len(text) - max(begun, default=0)]
