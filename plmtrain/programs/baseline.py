"""Baselines: the loss of a model that knows only how frequent each token is, over the very tokens of a validation loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor


@dataclass(frozen=True)
class Baseline:
    """The loss of a unigram model, with which a validation loss is compared.

    Args:
        measure: the name of the validation loss.
        reference: the name of the measure that is the unigram loss of the same tokens.
        of: a description of these tokens.
    """

    measure: str
    reference: str
    of: str

    def compare(self, measured: Mapping[str, float]) -> str:
        """Describe how a validation compares with the baseline; empty if it lacks one of the two measures.

        Args:
            measured: the measures of the validation, by name.
        """
        if (difference := self.difference(measured)) is None:
            return ""
        loss, reference = measured[self.measure], measured[self.reference]
        return f"{self.of} {loss:.3f} nats each, {_side(difference)} their unigram loss {reference:.3f}"

    def brief(self, measured: Mapping[str, float]) -> str:
        """Describe the comparison in a few words."""
        difference = self.difference(measured)
        return "" if difference is None else f"{self.of} {_side(difference)} unigram"

    def difference(self, measured: Mapping[str, float]) -> float | None:
        """Return the loss minus the baseline's; None if the validation lacks one of the two."""
        if self.measure not in measured or self.reference not in measured:
            return None
        return measured[self.measure] - measured[self.reference]


def _side(difference: float) -> str:
    return f"{abs(difference):.3f} {'below' if difference < 0 else 'above'}"


def hidden_counts(losses: Tensor, labels: Tensor, hidden: Tensor, vocabulary_size: int) -> dict[str, Tensor]:
    """Count what ``hidden_measures`` needs.

    A tenth of the targets of masked language modelling stand in the row as they are, and can be copied: the loss of all targets
    flatters a model that has learnt nothing else.

    Args:
        losses: [predicted] of the targets, in nats.
        labels: [predicted] their token ids.
        hidden: [predicted] whether the mask stands in a target's place.
        vocabulary_size: the number of scored tokens.
    """
    import torch  # here, since what shows a comparison needs none

    return {
        "hidden": torch.stack([losses.masked_fill(~hidden, 0.0).sum(), hidden.sum()]),
        "hidden_tokens": torch.bincount(labels[hidden], minlength=vocabulary_size),
    }


def hidden_measures(
    term: str, counts: Mapping[str, NDArray[np.float64]], unigram: NDArray[np.float64] | None
) -> dict[str, float]:
    """Compute ``hidden_loss``, in nats a hidden token, and ``hidden_unigram_loss``, of the same tokens by frequency alone.

    Args:
        term: the term that has the counts of ``hidden_counts``.
        counts, unigram: as in ``Program.measures``.
    """
    total, hidden = counts[f"{term}/hidden"].tolist()
    if not hidden:
        return {}
    return {"hidden_loss": total / hidden, **unigram_loss("hidden_unigram_loss", counts[f"{term}/hidden_tokens"], unigram)}


def unigram_loss(name: str, tokens: NDArray[np.float64], unigram: NDArray[np.float64] | None) -> dict[str, float]:
    """Return the mean loss of a unigram model on some tokens.

    Args:
        name: the name of the measure.
        tokens: [embedded tokens] the count of each token.
        unigram: [vocabulary] as in ``Program.measures``; if None, the result is empty.
    """
    if unigram is None or not tokens.sum():
        return {}
    return {name: float(tokens[: len(unigram)] @ unigram / tokens.sum())}
