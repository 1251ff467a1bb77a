"""Encode many short texts at the speed of few long ones.

The tokenizers library spends on each text about as long as on its first thirty letters. So texts are joined with a mark between
them, at which the library cuts them again before it normalises them: every text is encoded as if it were alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import chain, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MARK = "\ufdd0"  # a noncharacter, which Unicode reserves for internal use (The Unicode Standard, section 23.7)
_LETTERS = 4096  # that are joined: many times what a text costs by itself, and still many pieces of work for several cores
_FEWEST = 16  # fewer texts are not worth a second engine, which is built when it is first needed


class JoinedEncoder:
    """Encodes texts of any length, joined where that is exact.

    Args:
        engine: the library's tokenizer. It must not recognise special tokens in text, and is never changed.
    """

    def __init__(self, engine: Any) -> None:
        self._engine = engine

    def encode(self, texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Encode texts.

        Returns:
            The ids of all texts [tokens], and the end of each text in them [texts].
        """
        if len(texts) >= _FEWEST and self._marking is not None:
            joined = self._joined(texts)
            if joined is not None:
                return joined
        return _concatenated(self._engine, texts)

    def _joined(self, texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
        """Encode texts together; None if one of them contains the mark."""
        letters = np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)))
        firsts = np.flatnonzero(np.diff(letters // _LETTERS, prepend=-1))
        groups = [_MARK.join([*texts[first:end], ""]) for first, end in pairwise([*firsts.tolist(), len(texts)])]
        ids, _ = _concatenated(self._marking, groups)
        marked = ids == self._marking.token_to_id(_MARK)
        places = np.flatnonzero(marked)
        if len(places) != len(texts):
            return None
        return ids[~marked], places - np.arange(len(places))

    @cached_property
    def _marking(self) -> Any:
        """The engine with the mark; None if the way that it encodes a text depends on what was before."""
        from tokenizers import AddedToken, Tokenizer

        definition = self._engine.to_str()
        if '"prepend_scheme":"first"' in definition:
            return None
        engine = Tokenizer.from_str(definition)
        engine.encode_special_tokens = self._engine.encode_special_tokens
        engine.add_tokens([AddedToken(_MARK, normalized=False, special=False)])
        return engine


def _concatenated(engine: Any, texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Encode texts one by one, in parallel on all cores."""
    parts = [encoding.ids for encoding in engine.encode_batch_fast(list(texts), add_special_tokens=False)]
    sizes = np.fromiter(map(len, parts), np.int64, len(parts))
    ids = np.fromiter(chain.from_iterable(parts), np.int64, int(sizes.sum()))
    return ids, np.cumsum(sizes)
