"""Token vectors that are counted, not trained: tokens that stand beside the same tokens get similar vectors.

They are the largest singular vectors of the tokens' mutual information with their neighbours, times the square roots of the
singular values (Levy, Goldberg and Dagan 2015, "Improving distributional similarity with lessons learned from word embeddings",
section 3.3).
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import Tensor

from plmtrain import keyed_random
from plmtrain.data.corpus.cooccurrence import Information

_DAMPING = 0.5
_SPARE = 20
"""Singular vectors that are computed besides those that are kept: with them these are exact enough (Halko et al. 2011)."""


def token_vectors(information: Information, width: int, seed: int) -> Tensor:
    """Return a vector for each token.

    Args:
        information: of the tokens and their neighbours.
        width: the size of a vector.
        seed: of the directions of the axes, which mean nothing.

    Returns:
        [vocabulary, width], with a root mean square of 1 in each row; zeros for tokens that have no neighbours.
    """
    places = torch.from_numpy(np.stack([information.tokens, information.contexts]))
    values = torch.from_numpy(information.values).float()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        # Products with compressed rows take half the time.
        matrix = torch.sparse_coo_tensor(places, values, information.shape, check_invariants=False).to_sparse_csr()
    known = torch.zeros(information.shape[0], dtype=torch.bool)
    known[places[0]] = True
    return _unit_rows(_singular_vectors(matrix, width, seed), known)


def _singular_vectors(matrix: Tensor, width: int, seed: int) -> Tensor:
    """Return the left singular vectors of the largest singular values, times the damped values, along random axes.

    Without the turn the first numbers of all vectors would be large and the last ones small.
    """
    rows, columns = matrix.shape
    kept = min(width, rows, columns)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(keyed_random.scalar("token vectors", seed))
        left, values, _ = torch.svd_lowrank(matrix, q=min(kept + _SPARE, rows, columns), niter=2)
        axes, _ = torch.linalg.qr(torch.randn(width, width))
    vectors: Tensor = left[:, :kept] * values[:kept] ** _DAMPING @ axes[:kept]
    return vectors


def _unit_rows(vectors: Tensor, known: Tensor) -> Tensor:
    """Give each known vector the root mean square 1, after taking off what all have in common; make the others zero."""
    apart = vectors - vectors[known].mean(dim=0)
    root = apart.square().mean(dim=1, keepdim=True).sqrt()
    return torch.where(known[:, None], apart / root.clamp(min=1e-12), 0.0)
