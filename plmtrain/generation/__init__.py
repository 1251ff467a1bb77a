"""Text generation token by token: greedy search, sampling and beam search over anything that scores the next token.

The same options give the same text as transformers' ``generate`` (version 5), which defines their meaning; tests compare the two.
"""

from __future__ import annotations

from plmtrain.generation.beams import search
from plmtrain.generation.rules import Specials
from plmtrain.generation.single import draw_or_follow
from plmtrain.generation.writer import EncoderDecoderWriter, Writer
from plmtrain.settings.generation import GenerationSettings

__all__ = ["EncoderDecoderWriter", "Specials", "Writer", "generate"]


def generate(writer: Writer, rows: int, specials: Specials, settings: GenerationSettings, limit: int) -> list[list[int]]:
    """Generate one text for each row.

    Args:
        writer: scores the next token of ``rows * settings.beams`` texts.
        rows: the number of texts to generate.
        specials: the tokens that begin and end texts.
        settings: how to generate.
        limit: the most tokens to generate, special ones included.

    Returns:
        The generated tokens of each row's text, without the start token and without anything after the end token.
    """
    if settings.beams > 1:
        return search(writer, rows, specials, settings, limit)
    return draw_or_follow(writer, rows, specials, settings, limit)
