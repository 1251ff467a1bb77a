"""Hidden states of sentences that are given as lists of words, for a model that reads characters and carries its state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from plmtrain.backbones.bilstm import BiLSTM, BiState
from plmtrain.batch import Inputs, Layout
from plmtrain.errors import DataError, SettingsError
from plmtrain.settings.models.bilstm import BiLSTMSettings
from plmtrain.text.spelling import BEGIN_SENTENCE, END_SENTENCE, characters, sentence_mark, without_idle_padding, word_bytes


class WordStates:
    """Reads sentences, and goes on where it ended before.

    Args:
        backbone: computes the states.
    """

    def __init__(self, backbone: BiLSTM) -> None:
        self._backbone = backbone
        self._state: BiState | None = None

    def reset(self) -> None:
        """Forget what was read."""
        self._state = None

    def read(self, sentences: Any, given: Mapping[str, Tensor]) -> list[Tensor]:
        """Return the states of each layer for the words of some sentences, [sentences, longest, width] each, zeros after shorter
        ones.

        Args:
            sentences: lists of words, as many as in the call before.
            given: further arguments, which this kind of model does not have.

        Raises:
            SettingsError: for such an argument.
            DataError: if they are no lists of words, or another number than before.
        """
        if given:
            what = f"a model that reads the characters of words does not read {min(given)}"
            raise SettingsError(what, "hidden_states", "give it a list of words for each sentence, and nothing else")
        _require_words(sentences)
        if self._state is not None and len(self._state.outputs) != len(sentences):
            what = f"{len(sentences)} sentences cannot continue the {len(self._state.outputs)} of the call before"
            raise DataError(what, "hidden_states", "give as many as before, or call reset() first")
        device = next(self._backbone.parameters()).device
        inputs, lengths = _inputs(sentences, self._backbone.settings)
        layers, self._state = self._backbone.read(inputs.map(lambda tensor: tensor.to(device)), self._state)
        real = (torch.arange(int(lengths.max())) < lengths[:, None]).to(device)  # [sentences, longest]
        return [layer[:, 1:-1].masked_fill(~real[..., None], 0.0) for layer in layers]


def _require_words(sentences: Any) -> None:
    lists = isinstance(sentences, Sequence) and not isinstance(sentences, str) and len(sentences) > 0
    if not lists or not all(
        isinstance(words, Sequence) and not isinstance(words, str) and len(words) and all(isinstance(word, str) for word in words)
        for words in sentences
    ):
        remedy = 'write hidden_states([["A", "sentence", "."], ["Another", "one"]])'
        raise DataError("sentences must be lists of words, with at least one word each", "hidden_states", remedy)


def _inputs(sentences: Sequence[Sequence[str]], settings: BiLSTMSettings) -> tuple[Inputs, Tensor]:
    """Return the inputs of sentences between their marks, and the number of words of each."""
    places = settings.characters
    words = sorted({word for sentence in sentences for word in sentence})
    row_of = {word: row for row, word in enumerate(words, start=2)}
    marks = np.stack([sentence_mark(mark, places) for mark in (BEGIN_SENTENCE, END_SENTENCE)])
    table = without_idle_padding(np.concatenate([marks, characters(word_bytes(words), places)]), settings.widest_filter)
    lengths = np.array([len(sentence) for sentence in sentences])
    ids = np.zeros((len(sentences), int(lengths.max()) + 2), np.int64)
    for row, sentence in enumerate(sentences):
        ids[row, 1 : len(sentence) + 1] = [row_of[word] for word in sentence]
        ids[row, len(sentence) + 1] = 1
    layout = Layout.of(np.arange(ids.shape[1]) < lengths[:, None] + 2)
    rows = torch.from_numpy(ids)
    return Inputs(ids=rows, spellings=torch.from_numpy(table), spelling_rows=rows, layout=layout), torch.from_numpy(lengths)
