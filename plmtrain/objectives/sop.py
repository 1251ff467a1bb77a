"""Masked language modelling with sentence order prediction: ALBERT (Lan et al. 2020, sections 3.1 and 4.1).

Both segments are from one document, and in half of all pairs they have changed places, which is labelled 1. The authors' code
takes the second segment of a stretch of one sentence from another document, as BERT's does, and calls that swapped, too; here
such a stretch takes the next sentence as well, and a sentence that is left alone at a document's end is left out.
"""

from __future__ import annotations

from plmtrain.corruption.ngrams import NgramMasker
from plmtrain.programs.masked.pairs import PairedMaskedLM
from plmtrain.settings.objectives.sop import SentenceOrderSettings


class SentenceOrder(PairedMaskedLM[SentenceOrderSettings]):
    """Predict hidden spans of words, and whether the two segments are in order or swapped."""

    terms = ("mlm", "sop")
    as_it_was = "in_order"
    changed = "swapped"

    def masker(self) -> NgramMasker:
        return NgramMasker(self.settings, self.vocabulary, self.settings.max_ngram)
