"""Writing text token by token: greedy search, sampling and beam search over anything that scores the next token.

The same options give the same text as transformers' ``generate`` (version 5): what they mean was read there, and tests compare.
"""

from __future__ import annotations

from plmtrain.generation.beams import search
from plmtrain.generation.rules import Specials
from plmtrain.generation.single import draw_or_follow
from plmtrain.generation.writer import EncoderDecoderWriter, Writer
from plmtrain.settings.generation import GenerationSettings

__all__ = ["EncoderDecoderWriter", "Specials", "Writer", "generate"]


def generate(writer: Writer, rows: int, specials: Specials, settings: GenerationSettings, limit: int) -> list[list[int]]:
    """Write one text for each row.

    Args:
        writer: scores the next token, of ``rows * settings.beams`` texts.
        rows: how many texts are wanted.
        specials: the tokens that begin and end texts.
        settings: how to write.
        limit: tokens that are written at most, special ones included.

    Returns:
        The tokens of each row's text as written, without the start token and without what stands behind the end.
    """
    if settings.beams > 1:
        return search(writer, rows, specials, settings, limit)
    return draw_or_follow(writer, rows, specials, settings, limit)
