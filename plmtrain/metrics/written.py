"""Metrics of written texts: BLEU and chrF by sacrebleu, ROUGE by rouge-score, and shares of right texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from plmtrain.metrics.answers import exact_match


def measure(name: str, given: Sequence[str], right: Sequence[str], bleu_tokens: str) -> float:
    """Compute a metric of texts against one right text each.

    Args:
        name: ``bleu`` or ``chrf``, of the whole corpus, 0 to 100 (Papineni et al. 2002; Popović 2015); ``rouge1``, ``rouge2`` or
            ``rougeL``, the mean F1 of texts with stemmed words, 0 to 1 (Lin 2004); ``exact_match``, the share of texts with the
            words of the right one as SQuAD compares them; ``accuracy``, the share of texts that are the right one.
        given: the texts that were written.
        right: the right ones.
        bleu_tokens: how ``bleu`` divides texts into tokens, a name of sacrebleu.

    Returns:
        The metric; ``nan`` without any text.
    """
    if not given:
        return float("nan")
    if name in ("bleu", "chrf"):
        return float(scorer(name, bleu_tokens).corpus_score(list(given), [list(right)]).score)
    if name.startswith("rouge"):
        from rouge_score.rouge_scorer import RougeScorer

        rouge = RougeScorer([name], use_stemmer=True)
        shares = [rouge.score(one, other)[name].fmeasure for other, one in zip(given, right, strict=True)]
    elif name == "exact_match":
        shares = [exact_match(one, [other]) for one, other in zip(given, right, strict=True)]
    else:
        shares = [float(one.split() == other.split()) for one, other in zip(given, right, strict=True)]
    return float(sum(shares) / len(shares))


def scorer(name: str, bleu_tokens: str) -> Any:
    """Return sacrebleu's object for ``bleu`` or ``chrf``, which knows its own signature after a score."""
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

    return BLEU(tokenize=bleu_tokens) if name == "bleu" else CHRF()


def signature(name: str, given: Sequence[str], right: Sequence[str], bleu_tokens: str) -> str:
    """Return sacrebleu's account of how it computed ``bleu`` or ``chrf``, to be stated beside the score (Post 2018)."""
    own = scorer(name, bleu_tokens)
    score = own.corpus_score(list(given), [list(right)])
    return f"{score.name}|{own.get_signature()}"
