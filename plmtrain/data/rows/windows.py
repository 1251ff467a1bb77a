"""Windows of texts that are longer than a row."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from plmtrain.data.rows.rows import Rows


def windows_of(size: int, most: int, advance: int) -> NDArray[np.int64]:
    """Return for each window of a text its beginning and its length, and the beginning and the end of its own tokens.

    Each token is a window's own once: that of the window in which it is farthest from both ends, so that two neighbours divide
    what they have in common (the maximum context of BERT's code). The last window ends where the text does, and is as long as
    the others.

    Args:
        size: the tokens of the text.
        most: the tokens of a window.
        advance: the tokens from the beginning of a window to that of the next one, at most ``most``.

    Returns:
        [windows, 4].
    """
    if size <= most:
        return np.array([[0, size, 0, size]], np.int64)
    begins = np.append(np.arange(0, size - most, advance), size - most)
    between = (begins[1:] + begins[:-1] + most) // 2  # the middle of what two neighbours have in common
    return np.stack([begins, np.full(len(begins), most), np.append(0, between), np.append(between, size)], axis=1)


def windows(size: int, most: int, overlap: int) -> NDArray[np.int64]:
    """Return the same for windows that have some tokens in common with their neighbours.

    Args:
        size, most: as in ``windows_of``.
        overlap: the tokens that two windows have in common, at least; at most half of a window.
    """
    return windows_of(size, most, most - min(overlap, most // 2))


def in_windows(rows: Rows, most: int, overlap: int) -> tuple[Rows, NDArray[np.int64]]:
    """Return the windows of texts, those of a text together.

    Args:
        rows: whole texts.
        most, overlap: as in ``windows``.

    Returns:
        A row for each window, and the number of windows of each text.  # [rows]
    """
    spans = [windows(size, most, overlap)[:, :2] for size in rows.lengths.tolist()]
    counts = np.array([len(each) for each in spans], np.int64)
    begins, lengths = np.concatenate([np.zeros((0, 2), np.int64), *spans]).T
    owners = np.repeat(np.arange(len(rows)), counts)[:, None]
    columns = np.arange(lengths.max(initial=0))
    places = np.where(columns < lengths[:, None], begins[:, None] + columns, 0)

    def moved(values: NDArray[Any]) -> NDArray[Any]:
        return values[owners, places] if values.shape[1] else np.zeros((*places.shape, *values.shape[2:]), values.dtype)

    return Rows(
        tokens=moved(rows.tokens),
        lengths=lengths,
        word_starts=moved(rows.word_starts),
        spellings=None if rows.spellings is None else moved(rows.spellings),
    ), counts
