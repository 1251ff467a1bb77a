"""``trainer.start=counted``: what the training text tells by counting alone is not left to the first steps.

Token embeddings begin with vectors from which tokens stand beside each other, the output layer's biases with the logarithms of
the tokens' frequencies, and the heads of an encoder's first layer with a look at the neighbours. Each alone gains little: similar
vectors of similar tokens are of use once the neighbours are read, and reading them once they say something (docs/speedrun.md).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from plmtrain.backbones import Backbone
from plmtrain.nn.token_vectors import token_vectors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from plmtrain.programs.learner import Learner
    from plmtrain.runs.corpus import Corpus


@torch.no_grad()
def start_counted(learner: Learner, corpus: Corpus, seed: int) -> str:
    """Set the fresh weights of a learner to what is counted in its training text; return a description for the user.

    Args:
        learner: all its backbones get such weights. Embeddings and positions keep the scale that they have.
        corpus: the text.
        seed: of the run.
    """
    began = time.monotonic()
    counts = corpus.token_counts()
    backbones = [module for module in learner.modules() if isinstance(module, Backbone)]
    tables = {id(table): table for backbone in backbones for table in _own_tables(backbone)}
    if tables:  # a model that reads characters has none
        information = corpus.mutual_information()
        for width in sorted({table.shape[1] for table in tables.values()}):
            vectors = token_vectors(information, width, seed)
            for table in tables.values():
                if table.shape[1] == width:
                    _fill(table, vectors)
    for backbone in backbones:
        backbone.look_beside()
    for bias in _output_biases(learner, backbones):
        bias[: len(counts)] = _log_frequencies(counts)
    begun = f"embeddings of {int((counts > 0).sum()):,} tokens" if tables else "output biases"
    return f"trainer.start=counted: {begun} begin with the text, counted in {time.monotonic() - began:.0f} s"


def _output_biases(learner: Learner, backbones: Sequence[Backbone]) -> list[nn.Parameter]:
    """Return the biases with a number for each token: those of heads, outside of backbones, in modules of the heads' own."""
    inner = {id(part) for backbone in backbones for part in backbone.modules()}
    rows = {backbone.vocabulary_size for backbone in backbones}
    outer = (part for part in learner.modules() if id(part) not in inner and not isinstance(part, nn.Linear | nn.LayerNorm))
    biases = [getattr(part, "bias", None) for part in outer]
    return [bias for bias in biases if isinstance(bias, nn.Parameter) and bias.ndim == 1 and len(bias) in rows]


def _own_tables(backbone: Backbone) -> list[Tensor]:
    """Return the tables with a row for each token that a backbone trains itself: of its embeddings, and of its output layer."""
    if backbone.settings.reads_characters:
        return []
    tables = [backbone.embedding_weight, *([backbone.output_weight] if backbone.writes else [])]
    own = {id(weight) for weight in backbone.parameters()}
    return [table for table in tables if id(table) in own]


def _fill(table: Tensor, vectors: Tensor) -> None:
    """Replace the rows of tokens that have vectors, in the table's own scale."""
    own = table[: len(vectors)]  # a family may have more rows than there are tokens
    known = vectors.abs().sum(dim=1, keepdim=True) > 0
    own.copy_(torch.where(known, vectors * table.std(), own))


def _log_frequencies(counts: NDArray[np.int64]) -> Tensor:
    """Return the logarithm of each token's share of the text; tokens that never occur get half a time."""
    shares = np.maximum(counts, 0.5) / counts.sum()
    return torch.from_numpy(np.log(shares)).float()
