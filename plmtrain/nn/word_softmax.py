"""An output layer over a large vocabulary of words, and the loss that compares a word with a sample of the others.

Sampled softmax (Jean et al. 2015, section 3; Jozefowicz et al. 2016, section 3.1) as TensorFlow computes it for ELMo: words are
drawn without repetition from a log-uniform distribution over their ranks, and each score is lowered by the logarithm of how often
its word is expected in the sample.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from plmtrain.keyed_random import Bits, as_uniform, spread
from plmtrain.nn.loss import tied_cross_entropy


class WordSoftmax(nn.Module):
    """Scores of words: a vector and a bias for each.

    Args:
        width: the size of a hidden state.
        words: the number of words.
    """

    def __init__(self, width: int, words: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(words, width))
        self.bias = nn.Parameter(torch.zeros(words))
        nn.init.normal_(self.weight, std=width**-0.5)  # as in ELMo's code

    def forward(self, hidden: Tensor) -> Tensor:
        """Compute the scores.  # [..., width] -> [..., words]"""
        return functional.linear(hidden, self.weight, self.bias)

    def loss(self, hidden: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sum of the negative log-probabilities of words among all words, and each of them (``tied_cross_entropy``).

        Args:
            hidden: [n, width].
            labels: [n] word ids.
        """
        return tied_cross_entropy(hidden, self.weight, labels, self.bias)

    def sampled_loss(self, hidden: Tensor, labels: Tensor, expected: Tensor, sample: Tensor, sample_expected: Tensor) -> Tensor:
        """Return the sum of the negative log-probabilities of words among themselves and a sample.

        Args:
            hidden: [n, width].
            labels: [n] word ids.
            expected: [n] the logarithm of how often each label is expected in a sample.
            sample: [k] the ids of other words, all different; where one is the label itself, it is left out.
            sample_expected: [k] as ``expected``, of the words of the sample.
        """
        right = (hidden * self.weight[labels]).sum(dim=1).float() + self.bias[labels] - expected  # [n]
        wrong = functional.linear(hidden, self.weight[sample]).float() + (self.bias[sample] - sample_expected)  # [n, k]
        wrong = wrong.masked_fill(labels[:, None] == sample, -math.inf)
        return (torch.logsumexp(torch.cat([right[:, None], wrong], dim=1), dim=1) - right).sum()


def log_uniform_sample(random: Bits, words: int, count: int) -> tuple[NDArray[np.int64], int]:
    """Draw different words, the more frequent the likelier, until there are enough of them.

    Args:
        random: [1] from ``row_bits``.
        words: the number of words, whose ids are their ranks by frequency.
        count: the number of different words to draw; below ``words``.

    Returns:
        [count] the words in the order in which they were drawn first, and the number of draws.
    """
    assert count < words
    draws = 2 * count
    while True:
        uniform = as_uniform(spread(random, draws)[0])
        drawn = np.minimum(np.exp(uniform * math.log(words + 1)).astype(np.int64) - 1, words - 1)
        different, first = np.unique(drawn, return_index=True)
        if len(different) >= count:
            order = np.sort(first)[:count]
            return drawn[order], int(order[-1]) + 1
        draws *= 2  # the first draws stay the same


def log_expected(ids: NDArray[np.int64], words: int, draws: int) -> NDArray[np.float32]:
    """Return the logarithm of the probability that each word is among a number of draws.

    Args:
        ids: [...] word ids.
        words, draws: of ``log_uniform_sample``.
    """
    share = np.log1p(1.0 / (ids + 1.0)) / math.log(words + 1)
    present: NDArray[np.float32] = np.log(-np.expm1(draws * np.log1p(-share))).astype(np.float32)
    return present
