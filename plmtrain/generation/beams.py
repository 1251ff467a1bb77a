"""Beam search: several prefixes of each text are extended in parallel, and the most likely complete text is returned.

The order of operations is that of transformers' ``_beam_search`` (version 5), including ties. Each step considers
twice as many continuations as there are beams, so that enough go on even if all the best have ended. Ended texts compete by their
log-probability divided by a power of their length. A row is done when its best prefix can no longer beat its worst ended text.
"""

from __future__ import annotations

import torch
from torch import Tensor

from plmtrain.generation.rules import NOTHING, Specials, allowed
from plmtrain.generation.single import ended_text
from plmtrain.generation.stop_texts import StopTexts
from plmtrain.generation.writer import Writer
from plmtrain.settings.generation import GenerationSettings
from plmtrain.stopping import safe_point

_OUT = -1.0e9
"""Added to the score of a continuation that may no longer be chosen."""


@torch.inference_mode()
def search(
    writer: Writer, begun: Tensor, specials: Specials, settings: GenerationSettings, limit: int, stop: StopTexts | None
) -> list[list[int]]:
    """Generate one text for each row; arguments and result as in ``generation.generate``."""
    beams, device = settings.beams, writer.device
    rows, first = begun.shape
    running = torch.full((rows, beams, first + limit), NOTHING, device=device)
    running[:, :, :first] = begun[:, None]
    new = begun.repeat_interleave(beams, dim=0)
    # At first all beams are equal: only the first one may be continued.
    running_scores = torch.zeros(rows, beams, device=device)
    running_scores[:, 1:] = _OUT
    ended = _Ended(
        running.clone(), torch.full((rows, beams), _OUT, device=device), torch.zeros(rows, beams, device=device).bool()
    )
    hopeful = torch.ones(rows, 1, dtype=torch.bool, device=device)
    first_rows = torch.arange(rows, device=device)[:, None] * beams
    among_best = torch.arange(2 * beams, device=device) < beams
    for length in range(1, limit + 1):
        safe_point()
        end = first + length - 1  # the place of the next token
        texts = running[:, :, :end].reshape(rows * beams, end)
        scores = writer.advance(new).float().log_softmax(-1)
        scores = allowed(scores, texts, length - 1, specials, settings, limit)
        vocabulary = scores.shape[1]
        scores = (scores.view(rows, beams, vocabulary) + running_scores[:, :, None]).flatten(1)
        scores, chosen = scores.topk(min(2 * beams, scores.shape[1]))
        beam, token = chosen // vocabulary, chosen % vocabulary
        continued = _take(running, beam)
        continued[:, :, end] = token
        ends = (token == specials.end) | (length == limit)
        if stop is not None:
            ends |= stop.reached(continued[:, :, first : end + 1].flatten(0, 1)).view_as(ends)

        _, best = (scores + ends.float() * _OUT).topk(beams)
        running = _take(continued, best)
        running_scores = _take(scores + ends.float() * _OUT, best)
        new = running[:, :, end].reshape(rows * beams, 1)
        ending = ends & among_best[: ends.shape[1]]
        penalised = scores / length**settings.length_penalty
        full = ended.whole.all(-1, keepdim=True) & settings.early_stopping
        for out in (full, ~hopeful, ~ending):
            penalised = penalised + out.float() * _OUT
        ended = ended.with_more(continued, penalised, ending)
        writer.select((_take(beam, best) + first_rows).flatten())

        could_be = running_scores[:, :1] / length**settings.length_penalty
        worst = torch.where(ended.whole, ended.scores.amin(1, keepdim=True), _OUT)
        hopeful = hopeful & (could_be > worst).any(-1, keepdim=True)
        if not hopeful.any() or (settings.early_stopping and ended.whole.all()) or ends.all():
            break
    return [ended_text(text) for text in ended.texts[:, 0, first:].tolist()]


class _Ended:
    """The best ended texts of each row, the best first.

    Args:
        texts: [rows, beams, begun + limit] token ids.
        scores: [rows, beams] log-probabilities, divided by the power of the length.
        whole: [rows, beams] whether there is such a text.
    """

    def __init__(self, texts: Tensor, scores: Tensor, whole: Tensor) -> None:
        self.texts, self.scores, self.whole = texts, scores, whole

    def with_more(self, texts: Tensor, scores: Tensor, whole: Tensor) -> _Ended:
        """Return the best of these and of other texts.  # texts [rows, others, begun + limit]; scores and whole [rows, others]"""
        scores = torch.cat((self.scores, scores), dim=1)
        best = scores.topk(self.scores.shape[1]).indices
        return _Ended(
            _take(torch.cat((self.texts, texts), dim=1), best),
            _take(scores, best),
            _take(torch.cat((self.whole, whole), dim=1), best),
        )


def _take(tensor: Tensor, indices: Tensor) -> Tensor:
    """Select along the second axis, by row.  # [rows, n, ...], [rows, m] -> [rows, m, ...]"""
    wide = indices.reshape(*indices.shape, *[1] * (tensor.dim() - 2)).expand(-1, -1, *tensor.shape[2:])
    return tensor.gather(1, wide)
