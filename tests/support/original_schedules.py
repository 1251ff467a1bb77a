"""The learning rates of the originals' code, restated: at a step t, after w steps of warm-up, of so many steps in all."""

from __future__ import annotations

import math


def bert(t: int, w: int, peak: float, steps: int) -> float:
    """google-research/bert, optimization.py: create_optimizer."""
    return peak * t / w if t < w else peak * (1 - min(t, steps) / steps)


def electra(t: int, w: int, peak: float, steps: int) -> float:
    """google-research/electra, model/optimization.py: create_optimizer."""
    return peak * (1 - min(t, steps) / steps) * min(1.0, t / w)


def fairseq(t: int, w: int, peak: float, steps: int, end: float = 0, power: float = 1) -> float:
    """facebookresearch/fairseq, polynomial_decay_schedule.py: step_update."""
    if w > 0 and t <= w:
        return t / w * peak
    if t >= steps:
        return end
    return (peak - end) * (1 - (t - w) / (steps - w)) ** power + end


def xlm(t: int, w: int, peak: float, steps: int, start: float = 0) -> float:
    """facebookresearch/XLM, xlm/optim.py: AdamInverseSqrtWithWarmup; it has no end."""
    if t < w:
        return start + t * (peak - start) / w
    return peak * w**0.5 * t**-0.5


def gpt1(t: int, w: int, peak: float, steps: int) -> float:
    """openai/finetune-transformer-lm, opt.py: warmup_cosine."""
    return peak * t / w if t < w else peak * 0.5 * (1 + math.cos(math.pi * min(t, steps) / steps))


def t5(t: int, w: int, peak: float, steps: int) -> float:
    """Raffel et al. 2020, section 3.1.2, as learning_rate_schedules.py of mesh_tensorflow counts; the peak is 1 / sqrt(w)."""
    return 1 / math.sqrt(max(t, w))
