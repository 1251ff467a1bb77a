"""Rows with their special tokens, as a model reads them: what every corruption takes. They are made in ``plmtrain.data.rows``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class FramedRows:
    """Rows in the form that a model reads, special tokens included.

    Args:
        ids: [rows, length] token ids.
        word_starts: [rows, length] whether a token begins a word; special tokens do.
        lengths: [rows] tokens that are not padding.
        real: [rows, length] which tokens are not padding; None without padding.
        documents: [rows, length] the document of each token; None where rows are not divided.
        sentence_starts: [rows, length] whether a token begins a sentence; None where that is unknown.
    """

    ids: NDArray[np.int64]
    word_starts: NDArray[np.bool_]
    lengths: NDArray[np.int64]
    real: NDArray[np.bool_] | None = None
    documents: NDArray[np.int64] | None = None
    sentence_starts: NDArray[np.bool_] | None = None
