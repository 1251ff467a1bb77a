"""Masked language modelling with next sentence prediction: BERT (Devlin et al. 2019, section 3.1, Tasks 1 and 2).

Half of all second segments are from another document. As in the authors' code, a pair is labelled 1 if its second segment is
random and 0 if it follows; the pairs are cut when the text is prepared, in as many copies as asked, and each pair has one mask.
"""

from __future__ import annotations

from plmtrain.corruption.masked_rows import Masker
from plmtrain.programs.masked.pairs import PairedMaskedLM
from plmtrain.settings.objectives.nsp import NextSentenceSettings


class NextSentence(PairedMaskedLM[NextSentenceSettings]):
    """Predict hidden tokens, and whether the second segment is the next one or a random one."""

    terms = ("mlm", "nsp")
    as_it_was = "next"
    changed = "random"

    def masker(self) -> Masker:
        return Masker(self.settings, self.vocabulary)
