"""The windows in which a text is read that is longer than a row."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


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
