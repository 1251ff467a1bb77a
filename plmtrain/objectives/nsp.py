"""Masked language modelling with next sentence prediction: BERT (Devlin et al. 2019, section 3.1, Tasks 1 and 2).

Half of the second segments come from another document. As in the authors' code, the label of a pair is 1 if its second segment
is random and 0 if it follows the first. The pairs are cut when the text is prepared, in ``pair_copies`` copies, and each pair
has one static mask.
"""

from __future__ import annotations

from plmtrain.corruption.masked_rows import Masker
from plmtrain.programs.masked.pairs import PairedMaskedLM
from plmtrain.settings.objectives.nsp import NextSentenceSettings


class NextSentence(PairedMaskedLM[NextSentenceSettings]):
    """Predict masked tokens, and whether the second segment is the next one or a random one."""

    terms = ("mlm", "nsp")
    as_it_was = "next"
    changed = "random"

    def masker(self) -> Masker:
        return Masker(self.settings, self.vocabulary)
