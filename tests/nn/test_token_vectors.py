"""Token vectors against dense algebra, and on a language whose classes of words are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from plmtrain.data.corpus.cooccurrence import Information
from plmtrain.nn.token_vectors import token_vectors


def sparse(dense: NDArray[np.float64]) -> Information:
    """A matrix as its entries."""
    rows, columns = dense.nonzero()
    return Information(rows, columns, dense[rows, columns], dense.shape)


def drawn(seed: int, tokens: int = 14, contexts: int = 36) -> NDArray[np.float64]:
    """Information about tokens; three of them have no neighbours."""
    generator = np.random.default_rng(seed)
    dense = generator.exponential(1.0, (tokens, contexts)) * (generator.random((tokens, contexts)) < 0.4)
    dense[[0, 5, 9]] = 0.0
    return dense


def similarities(vectors: NDArray[np.float64], known: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Of all tokens with each other, which do not depend on the axes."""
    apart = np.where(known[:, None], vectors - vectors[known].mean(axis=0), 0.0)
    unit = apart / np.maximum(np.linalg.norm(apart, axis=1, keepdims=True), 1e-12)
    return unit @ unit.T


@pytest.mark.parametrize("seed", range(5))
def test_vectors_are_damped_singular_vectors(seed: int) -> None:
    dense = drawn(seed)
    vectors = token_vectors(sparse(dense), 20, seed=1)
    left, values, _ = np.linalg.svd(dense, full_matrices=False)
    known = dense.any(axis=1)
    assert (vectors @ vectors.T / 20).numpy() == pytest.approx(similarities(left * np.sqrt(values), known), abs=1e-3)
    assert vectors.square().mean(dim=1).tolist() == pytest.approx(known.astype(float).tolist(), abs=1e-5)


def test_the_largest_singular_vectors_are_kept() -> None:
    generator = np.random.default_rng(3)
    left, right = (np.linalg.qr(generator.standard_normal((rows, 40)))[0] for rows in (60, 90))
    values = 0.8 ** np.arange(40)
    vectors = token_vectors(sparse(left * values @ right.T), 5, seed=1)
    expected = similarities(left[:, :5] * np.sqrt(values[:5]), np.ones(60, np.bool_))
    assert (vectors @ vectors.T / 5).numpy() == pytest.approx(expected, abs=1e-3)


def test_tokens_of_one_class_are_alike() -> None:
    """Tokens of a class have the same contexts, of each of them half."""
    generator = np.random.default_rng(1)
    classes = np.repeat([0, 1, 2], 20)
    dense = (classes[:, None] == np.repeat([0, 1, 2], 200)) * (generator.random((60, 600)) < 0.5) * 2.0
    vectors = token_vectors(sparse(dense), 3, seed=1)
    alike = (vectors @ vectors.T / 3).numpy()
    same = classes[:, None] == classes
    assert alike[same].min() > alike[~same].max()
    assert alike[same].mean() > 0.5
    assert alike[~same].mean() < 0


def test_the_same_seed_gives_the_same_vectors_and_another_one_other_axes() -> None:
    information = sparse(drawn(2, tokens=30))
    before = torch.random.get_rng_state()
    first, again, other = (token_vectors(information, 6, seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert (first - other).abs().max() > 0.1
    assert (first @ first.T - other @ other.T).abs().max() < 0.1
    assert torch.equal(before, torch.random.get_rng_state()), "the global generator draws a run's weights"


@pytest.mark.parametrize("dense", [np.zeros((4, 0)), np.zeros((4, 3)), np.eye(4)[:, :1]])
def test_texts_that_say_nothing_are_no_error(dense: NDArray[np.float64]) -> None:
    vectors = token_vectors(sparse(dense), 6, seed=1)
    assert vectors.shape == (4, 6)
    assert torch.isfinite(vectors).all()
