"""Masked language modelling with sentence order prediction: ALBERT (Lan et al. 2020, sections 3.1 and 4.1).

Both segments come from one document; in half of the pairs they are swapped, which has the label 1. If a chunk has a single
sentence, the authors' code takes the second segment from another document, as BERT's does, and labels that as swapped, too. Here
such a chunk takes the next sentence as well, and a single sentence that remains at a document's end is omitted.
"""

from __future__ import annotations

from plmtrain.corruption.ngrams import NgramMasker
from plmtrain.programs.masked.pairs import PairedMaskedLM
from plmtrain.settings.objectives.sop import SentenceOrderSettings


class SentenceOrder(PairedMaskedLM[SentenceOrderSettings]):
    """Predict masked spans of words, and whether the two segments are in order or swapped."""

    terms = ("mlm", "sop")
    as_it_was = "in_order"
    changed = "swapped"

    def masker(self) -> NgramMasker:
        return NgramMasker(self.settings, self.vocabulary, self.settings.max_ngram)
