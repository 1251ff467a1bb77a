"""Vectors of words from their characters: padding that no maximum needs is not read."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from plmtrain.nn.characters import CharacterEncoder
from plmtrain.text.spelling import CHARACTERS, PADDING, characters, without_idle_padding, word_bytes

FILTERS = ((1, 3), (2, 4), (5, 6), (7, 5))
LONG = "x" * 40


@pytest.mark.parametrize(("longest", "places"), [("a", 10), ("riverside", 18), (LONG, 49), (LONG + "abcdef", 50), ("x" * 60, 50)])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_words_have_the_same_vectors_without_idle_padding(longest: str, places: int, activation: str) -> None:
    words = ["the", "I", "Zürich", longest] if longest != "a" else ["a", "I"]
    spelt = characters(word_bytes(words), 50)
    read = without_idle_padding(spelt, 7)
    assert read.shape == (len(words), places)
    torch.manual_seed(1)
    encoder = CharacterEncoder(CHARACTERS, 6, FILTERS, activation, 1, 8).double()
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.normal_(std=0.7)

    def vectors_and_gradients(table: np.ndarray) -> list[Tensor]:
        encoder.zero_grad()
        vectors = encoder(torch.from_numpy(table))
        (vectors * torch.linspace(-1, 1, vectors.numel()).view_as(vectors)).sum().backward()
        gradients = [parameter.grad for parameter in encoder.parameters()]
        return [vectors.detach(), *(gradient for gradient in gradients if gradient is not None)]

    for whole, short in zip(vectors_and_gradients(spelt), vectors_and_gradients(read), strict=True):
        torch.testing.assert_close(short, whole, rtol=1e-12, atol=1e-12)


def test_no_less_padding_would_do() -> None:
    spelt = characters(word_bytes(["river"]), 50)
    read = without_idle_padding(spelt, 7)
    encoder = CharacterEncoder(CHARACTERS, 6, FILTERS, "relu", 0, 8)
    with torch.no_grad():
        for convolution in encoder.convolutions:
            convolution.weight.fill_(1.0)
        encoder.embedding.weight.zero_()[PADDING] = 1.0  # the highest maximum is where a convolution sees padding alone
        whole, short, shorter = (encoder(torch.from_numpy(table)) for table in (spelt, read, read[:, :-1]))
    torch.testing.assert_close(short, whole)
    assert not torch.allclose(shorter, whole)
