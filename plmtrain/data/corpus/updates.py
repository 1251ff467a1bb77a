"""PreparationUpdate of a preparation, for displaying it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Stage = Literal["wait", "hash", "tokenizer", "encode", "write", "pairs"]


@dataclass(frozen=True, kw_only=True)
class PreparationUpdate:
    """A state of a preparation.

    Args:
        stage: ``wait`` for another process that prepares the same, ``hash`` the sources, train the ``tokenizer``, ``encode`` the
            text, ``write`` the splits, or cut them into ``pairs`` of segments.
        bytes: of the sources that are done; an estimate where they are compressed.
        total_bytes: of the sources.
        documents: that are done.
        tokens: that are done.
    """

    stage: Stage
    bytes: int = 0
    total_bytes: int = 0
    documents: int = 0
    tokens: int = 0


OnUpdate = Callable[[PreparationUpdate], None]
