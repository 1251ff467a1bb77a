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

    def extend(self, key: Tensor, value: Tensor) -> None:
        """Append those of further positions.  # each [batch, heads, new, head width]"""
        if self._kept is None:
            batch, heads, _, width = key.shape
            self._kept = key.new_empty(2, batch, heads, self._capacity, width)
        end = self.length + key.shape[2]
        assert end <= self._capacity, (end, self._capacity)
        self._kept[0, :, :, self.length : end] = key
        self._kept[1, :, :, self.length : end] = value
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
