"""One text for each row: the most likely token each time, or one drawn at random."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from plmtrain.generation.rules import Specials, allowed
from plmtrain.generation.writer import Writer
from plmtrain.keyed_random import Keys, uniform
from plmtrain.nn.sampling import draw_classes
from plmtrain.settings.generation import GenerationSettings
from plmtrain.stopping import safe_point


@torch.no_grad()
def draw_or_follow(writer: Writer, rows: int, specials: Specials, settings: GenerationSettings, limit: int) -> list[list[int]]:
    """Generate one text for each row; arguments and result as in ``generation.generate``."""
    texts = torch.full((rows, 1), specials.start, device=writer.device)
    ended = torch.zeros(rows, dtype=torch.bool, device=writer.device)
    draws = uniform("generation", Keys(settings.seed, np.zeros(rows, np.int64), np.arange(rows)), limit)
    for turn in range(limit):
        safe_point()
        scores = allowed(writer.advance(texts[:, -1]).float(), texts, specials, settings, limit)
        if settings.sample:
            numbers = torch.from_numpy(draws[:, turn]).to(writer.device)
            token = draw_classes(likely(scores / settings.temperature, settings.top_k, settings.top_p), numbers)
        else:
            token = scores.argmax(-1)
        token = torch.where(ended, specials.pad, token)
        texts = torch.cat((texts, token[:, None]), dim=1)
        ended |= token == specials.end
        if ended.all():
            break
    return [until_end(text, specials.end) for text in texts[:, 1:].tolist()]


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


def until_end(text: list[int], end: int) -> list[int]:
    """Return a text up to and including the token that ends it."""
    return text[: text.index(end) + 1] if end in text else text
