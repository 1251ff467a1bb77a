"""The learning rate as a function of the step, so that a resume has nothing to restore.

Every rule counts t = the updates already made: 0 for the first. So do the originals: BERT's and ELECTRA's ``global_step``,
fairseq's and XLM's ``num_updates``. A linear warm-up therefore makes its first update with rate 0 (with ``start`` of the peak,
if that is set) and reaches the peak at t = w.
"""

from __future__ import annotations

import math

from plmtrain.settings.optimizer import ScheduleSettings


def learning_rate(step: float, settings: ScheduleSettings, peak: float, total_steps: int) -> float:
    """Return the learning rate of optimiser step number ``step + 1``.

    With t = step, w = steps of warm-up, T = total_steps, e = settings.end and s = settings.start, as shares of the peak:

    ==================== ============================================================================================
    warm-up, t < w       s + (1 - s) t / w; with ``flat_warmup`` (inverse_sqrt alone) 1, as in T5: 1 / sqrt(max(t, w))
    constant             1
    linear               e + (1 - e) (1 - u)
    polynomial           e + (1 - e) (1 - u) ** power: fairseq's ``polynomial_decay`` (RoBERTa, BART, SpanBERT)
    cosine               e + (1 - e) (1 + cos(pi u)) / 2: GPT-1 (e = 0), GPT-3 (e = 0.1)
    inverse_sqrt         sqrt(w / t): XLM, T5
    warmup_stable_decay  1, then linear to e over the last ``decay`` steps: d the first of them, u = (t - d) / (T - d)
    ==================== ============================================================================================

    u = (t - w) / (T - w) counts the decay from the end of warm-up; with ``decay_from: start`` it is t / T, as in the code of
    BERT and GPT-1, where the rate drops by that much at t = w. With ``multiply_warmup`` the warm-up multiplies the decay, as
    in ELECTRA's code: min(1, t / w) (1 - t / T). With ``decay_until`` the decay ends at that step instead of T, as in GPT-3.

    Args:
        step: updates already made, from 0; between two where the clock stretches the schedule (``Plan.position``).
        settings: the rule and its numbers.
        peak: the highest rate.
        total_steps: T; from there on a decaying rate stays at its end value.
    """
    warmup = settings.warmup_steps(total_steps)
    warming = step < warmup
    rise = settings.start + (1 - settings.start) * step / warmup if warming and not settings.flat_warmup else 1.0
    if warming and not settings.multiply_warmup:
        return peak * rise
    return peak * rise * _decay(step, warmup, settings, total_steps)


def _decay(step: float, warmup: int, settings: ScheduleSettings, total_steps: int) -> float:
    """Return the decay's share of the peak."""
    if settings.type == "constant":
        return 1.0
    if settings.type == "inverse_sqrt":
        return math.sqrt(max(warmup, 1) / max(step, 1))
    start = warmup if settings.decay_from == "warmup" else 0
    if settings.type == "warmup_stable_decay":
        start = total_steps - settings.decay_steps(total_steps)
    used = min(1.0, max(0, step - start) / max(1, settings.decay_end(total_steps) - start))
    if settings.type == "cosine":
        left = (1 + math.cos(math.pi * used)) / 2
    else:
        left = (1 - used) ** settings.power
    return settings.end + (1 - settings.end) * left
