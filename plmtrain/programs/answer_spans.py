"""The learner that scores the tokens of a context as the ends of an answer, the search for the best answers, and their choice.

The candidates of a question are its ``answers``, the best first, each with its characters in the context (``start``, ``end``),
its ``score`` and its ``probability``; and, where there may be no answer, the score and the probability of that. They are the
same for a context that is read in several windows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from plmtrain.metrics.answers import words_of
from plmtrain.programs.features import FeatureLearner, read_again
from plmtrain.text.sentences import boundaries

if TYPE_CHECKING:
    from plmtrain.backbones import Backbone
    from plmtrain.batch import Inputs
    from plmtrain.nn.scalar_mix import ScalarMix
    from plmtrain.nn.task_heads import SpanHead

Candidates = Mapping[str, Any]

NONE = "(no answer)"


class SpanLearner(FeatureLearner):
    """A backbone and a head that scores each token as the first one of an answer, and as the last one.

    Args:
        backbone: reads the row.
        head: scores its states.
        mix: as in ``FeatureLearner``.
        closing: the id of the token in front of what a decoder reads; None for a model without a decoder.
    """

    def __init__(self, backbone: Backbone, head: SpanHead, mix: ScalarMix | None, closing: int | None) -> None:
        super().__init__(backbone, mix)
        self.head = head
        self._closing = closing

    def hidden(self, inputs: Inputs) -> Tensor:
        """Return the states of the rows that the head reads.  # [rows, length, width]"""
        return super().hidden(inputs if self._closing is None else replace(inputs, decoder=read_again(inputs, self._closing)))

    def scores(self, inputs: Inputs) -> Tensor:
        """Return the outputs of the head, in fp32: those of padding are the lowest number.  # [rows, length, 2]"""
        scores: Tensor = self.head(self.hidden(inputs)).float()
        real = inputs.layout.tokens
        return scores if real is None else scores.masked_fill(~real[..., None], torch.finfo(scores.dtype).min)


def best_spans(begins: Tensor, ends: Tensor, longest: int, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the spans with the highest sums of the scores of their first and last tokens.

    Args:
        begins, ends: [rows, length] the scores of each token as either; minus infinity where it cannot be one.
        longest: the most tokens of a span.
        count: the number of spans of a row.

    Returns:
        [rows, spans] the scores in descending order, and the first and the last token of each span; the score is minus infinity
        where a row has fewer.
    """
    length = begins.shape[1]
    longest = min(longest, length)
    after = functional.pad(ends, (0, longest - 1), value=-math.inf).unfold(1, longest, 1)  # [rows, length, longest]
    sums = (begins[..., None] + after).flatten(1)
    best, places = sums.topk(min(count, sums.shape[1]), dim=1)
    first = places // longest
    return best, first, (first + places % longest).clamp(max=length - 1)


def candidates_of(windows: Sequence[Mapping[str, Any]], count: int, *, unanswerable: bool) -> dict[str, Any]:
    """Return the best answers in all windows of a context, with their probabilities among each other.

    The score of no answer is the lowest one of all windows: it is high in every window that lacks the answer.

    Args:
        windows: the ``answers`` and the ``no_answer_score`` of each.
        count: the most answers.
        unanswerable: whether there may be no answer.
    """
    every = sorted((answer for window in windows for answer in window["answers"]), key=_best_first)
    seen: dict[tuple[int, int], Mapping[str, Any]] = {}
    for answer in every:  # several tokens may be of the same characters
        seen.setdefault((answer["start"], answer["end"]), answer)
    kept = list(seen.values())[:count]
    silent = min(window["no_answer_score"] for window in windows)
    scores = [answer["score"] for answer in kept] + ([silent] if unanswerable else [])
    weights = [math.exp(score - max(scores)) for score in scores]
    shares = [weight / sum(weights) for weight in weights]
    answers = [{**answer, "probability": share} for answer, share in zip(kept, shares, strict=False)]
    if not unanswerable:
        return {"answers": answers}
    return {"answers": answers, "no_answer_score": silent, "no_answer_probability": shares[-1]}


def _best_first(answer: Mapping[str, Any]) -> tuple[float, int, int]:
    return -answer["score"], answer["start"], answer["end"]


def difference(candidates: Candidates) -> float:
    """Return the score of no answer, minus that of the best one."""
    return float(candidates["no_answer_score"] - candidates["answers"][0]["score"])


def chosen(candidates: Candidates, threshold: float | None) -> Mapping[str, Any]:
    """Return the answer to a question: the best candidate, or none, which has no characters.

    Args:
        candidates: from ``candidates_of``.
        threshold: the ``difference`` above which there is no answer; None if every question has one.
    """
    if candidates["answers"] and (threshold is None or difference(candidates) <= threshold):
        best: Mapping[str, Any] = candidates["answers"][0]
        return best
    score, share = candidates.get("no_answer_score"), candidates.get("no_answer_probability", 1.0)
    return {"start": None, "end": None, "score": score, "probability": share}


def text_of(context: str, answer: Mapping[str, Any]) -> str:
    """Return the text of an answer; nothing if there is none."""
    return "" if answer["start"] is None else context[answer["start"] : answer["end"]]


def listed(context: str, candidates: Candidates, count: int) -> list[dict[str, Any]]:
    """Return the best candidates with their texts, as ``answer``."""
    return [{"answer": text_of(context, one), **one} for one in candidates["answers"][:count]]


def cells(answer: Mapping[str, Any]) -> list[str]:
    """Return the cells of an answer with its text in the line that ``plmtrain predict`` prints."""
    place = "" if answer["start"] is None else f"{answer['start']}-{answer['end']}"
    return [answer["answer"] or NONE, f"{answer['probability']:.1%}", place]


def likely_sentence(question: str, context: str) -> str:
    """Return the first sentence of a context that has most of the question's words."""
    sentences = [context[begin:end].strip() for begin, end in pairwise([*boundaries(context), len(context)])]
    words = set(words_of(question))
    return max(sentences, key=lambda sentence: len(words & set(words_of(sentence))), default="")
