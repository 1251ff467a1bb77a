"""The characters that tokens stand for, without white space around them, and with those that a tokenizer drops.

Tokenizers tell the characters of a token, with three exceptions: byte-level ones count the space before a word, all omit accents
and other signs that they drop, and a piece of a character stands for the whole of it. What is found in a text by its tokens shall
be whole characters of the text, with their accents.
"""

from __future__ import annotations

import unicodedata

import numpy as np
from numpy.typing import NDArray


def whole_characters(text: str, places: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the characters of each token without white space at both ends, and with the dropped characters next to them.

    A dropped character belongs to the token before it in the same word, such as an accent to its letter, or else to the token
    after it; invisible ones belong to none.

    Args:
        text: the text.
        places: [tokens, 2] the place of each token's first character, and that after its last one, from ``Tokenizer.places``.

    Returns:
        [tokens, 2]; a token of white space alone has an end that is not behind its beginning.
    """
    space = np.fromiter((letter.isspace() for letter in text), np.bool_, len(text))
    begins, ends = _with_dropped(text, places, space).T
    solid = np.flatnonzero(~space)
    after, before = np.append(solid, len(text)), np.append(0, solid + 1)
    return np.stack([after[np.searchsorted(solid, begins)], before[np.searchsorted(solid, ends)]], axis=1)


def _with_dropped(text: str, places: NDArray[np.int64], space: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Give the characters that no token stands for to their neighbours."""
    changes = np.zeros(len(text) + 1, np.int64)
    np.add.at(changes, places[:, 0], 1)
    np.add.at(changes, places[:, 1], -1)
    dropped = (np.cumsum(changes)[:-1] == 0) & ~space
    for place in np.flatnonzero(dropped).tolist():
        dropped[place] = not unicodedata.category(text[place]).startswith("C")
    if not dropped.any():
        return places
    places = places.copy()
    edges = np.flatnonzero(np.diff(np.concatenate([[False], dropped, [False]]))).reshape(-1, 2)
    for begin, end in edges.tolist():
        if (left := (places[:, 1] == begin) & (places[:, 0] < begin)).any():
            places[left, 1] = end
        else:
            places[places[:, 0] == end, 0] = begin
    return places
