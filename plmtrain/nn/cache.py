"""The keys and values of an attention layer while a text grows, token by token."""

from __future__ import annotations

from torch import Tensor


class Cache:
    """The keys and values that one attention layer has computed so far, so that a growing sequence only computes new positions.

    Args:
        capacity: the most positions there will be.
        window: the number of last positions that are read; None for all.
    """

    def __init__(self, capacity: int, window: int | None = None) -> None:
        self._capacity = capacity
        self._window = window
        self._kept: Tensor | None = None  # [2, batch, heads, capacity, head width]
        self.length = 0

    def extend(self, further: Tensor) -> None:
        """Append keys and values of further positions.  # [2, batch, heads, new, head width]"""
        if self._kept is None:
            _, batch, heads, _, width = further.shape
            self._kept = further.new_empty(2, batch, heads, self._capacity, width)
        end = self.length + further.shape[3]
        assert end <= self._capacity, (end, self._capacity)
        self._kept[:, :, :, self.length : end] = further
        self.length = end

    def read(self) -> tuple[Tensor, Tensor]:
        """Return all keys and values, or the last ones if there is a window.  # each [batch, heads, length, head width]"""
        assert self._kept is not None
        first = 0 if self._window is None else max(0, self.length - self._window)
        key, value = self._kept[:, :, :, first : self.length]
        return key, value

    def select(self, rows: Tensor) -> None:
        """Continue with some rows of the batch, in that order; a row may be taken more than once.  # [rows] indices"""
        if self._kept is not None:
            self._kept = self._kept.index_select(1, rows)
