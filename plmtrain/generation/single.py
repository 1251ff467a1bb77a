"""One text for each row: the most likely token each time, or one drawn at random."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from plmtrain.generation.rules import NOTHING, Specials, allowed
from plmtrain.generation.stop_texts import StopTexts
from plmtrain.generation.writer import Writer
from plmtrain.keyed_random import Keys, uniform
from plmtrain.nn.sampling import draw_classes, scaled
from plmtrain.settings.generation import GenerationSettings
from plmtrain.stopping import safe_point


def draw_or_follow(
    writer: Writer,
    begun: Tensor,
    specials: Specials,
    settings: GenerationSettings,
    limit: int,
    samples: NDArray[np.int64] | None,
    stop: StopTexts | None,
) -> list[list[int]]:
    """Generate one text for each row; arguments and result as in ``generation.generate``."""
    written = torch.stack(list(steps(writer, begun, specials, settings, limit, samples, stop)), dim=1)
    return [ended_text(text) for text in written.tolist()]


@torch.inference_mode()
def steps(
    writer: Writer,
    begun: Tensor,
    specials: Specials,
    settings: GenerationSettings,
    limit: int,
    samples: NDArray[np.int64] | None = None,
    stop: StopTexts | None = None,
) -> Iterator[Tensor]:
    """Yield the next token of each text, [rows], until all have ended; ``NOTHING`` for a text that has.

    Args:
        writer, begun, specials, settings, limit, samples, stop: as in ``generation.generate``.
    """
    rows, first = begun.shape
    texts = new = begun
    ended = torch.zeros(rows, dtype=torch.bool, device=writer.device)
    numbers = np.arange(rows) if samples is None else samples
    draws = uniform("generation", Keys(settings.seed, np.zeros(rows, np.int64), numbers), limit)
    for turn in range(limit):
        safe_point()
        scores = allowed(writer.advance(new).float(), texts, turn, specials, settings, limit)
        if settings.sample:
            uniforms = torch.from_numpy(draws[:, turn]).to(writer.device)
            token = draw_classes(likely(scaled(scores, settings.temperature), settings.top_k, settings.top_p), uniforms)
        else:
            token = scores.argmax(-1)
        token = torch.where(ended, NOTHING, token)
        yield token
        texts = torch.cat((texts, token[:, None]), dim=1)
        ended |= token == specials.end
        if stop is not None:
            ended |= stop.reached(texts[:, first:])
        if ended.all():
            return
        new = token[:, None].clamp(min=0)


def likely(scores: Tensor, top_k: int | None, top_p: float) -> Tensor:
    """Return the scores with minus infinity at tokens that are too unlikely to be drawn.

    Args:
        scores: [rows, vocabulary].
        top_k: only this many of the most likely tokens stay (Fan et al. 2018).
        top_p: only the smallest set of most likely tokens with this total probability stays (Holtzman et al. 2020, section 3.1).
    """
    if top_k is not None and top_k < scores.shape[1]:
        scores = scores.masked_fill(scores < scores.topk(top_k, dim=-1).values[:, -1:], -math.inf)
    if top_p < 1:
        ascending, order = scores.sort(dim=-1)
        unlikely = ascending.softmax(-1).cumsum(-1) <= 1 - top_p
        unlikely[:, -1] = False
        scores = scores.masked_fill(torch.zeros_like(unlikely).scatter(1, order, unlikely), -math.inf)
    return scores


def ended_text(tokens: list[int]) -> list[int]:
    """Return the tokens of a text up to its end."""
    return tokens[: tokens.index(NOTHING)] if NOTHING in tokens else tokens
