"""Texts that end generation as soon as they are written."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

_BYTES_OF_A_CHARACTER = 4
"""A byte-level token has at least one byte, so that a text has at most four times as many tokens as characters."""


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
