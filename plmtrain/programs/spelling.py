"""Words as the inputs of a model that reads characters: each different word of a batch is spelt once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from plmtrain.batch import Inputs
from plmtrain.settings.models.base import ModelSettings
from plmtrain.settings.models.bilstm import BiLSTMSettings
from plmtrain.text.spelling import BEGIN_SENTENCE, END_SENTENCE, Bytes, characters, sentence_mark, without_idle_padding
from plmtrain.text.vocabulary import Vocabulary


def spelt(
    ids: NDArray[np.int64], spellings: Bytes | None, vocabulary: Vocabulary, places: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Spell the words of some rows.

    The words at the beginning and the end of sentences are spelt by their marks, an unknown word by its own bytes.

    Args:
        ids: [rows, length] word ids.
        spellings: [rows, length, bytes] as in ``Rows``; None if no word is unknown but those that the unknown token stands for.
        vocabulary: the words by id.
        places: the characters of a word.

    Returns:
        [rows, length] for each word its row of the table, and the table, [words, places].
    """
    assert vocabulary.words, "the settings refuse a tokenizer without whole words"
    own = np.zeros(ids.shape, np.bool_) if spellings is None else spellings.any(axis=-1)
    known, of_known = np.unique(ids[~own], return_inverse=True)
    table = characters(vocabulary.spellings[known], places)
    for role, mark in (("bos", BEGIN_SENTENCE), ("eos", END_SENTENCE)):
        if role in vocabulary.roles:
            table[known == vocabulary[role]] = sentence_mark(mark, places)
    rows = np.empty(ids.shape, np.int64)
    rows[~own] = of_known
    if spellings is not None and own.any():
        unknown, of_unknown = np.unique(spellings[own], axis=0, return_inverse=True)
        rows[own] = len(known) + of_unknown.reshape(-1)
        table = np.concatenate([table, characters(unknown, places)])
    return rows, table


def with_spellings(inputs: Inputs, model: ModelSettings, vocabulary: Vocabulary, spellings: Bytes | None = None) -> Inputs:
    """Return inputs of token ids as the model reads them: spelt, if it reads characters.

    Args:
        inputs: the ids are word ids.
        model: the settings of the model.
        vocabulary: the words by id.
        spellings: [rows, length, bytes] as in ``Rows``; None if no word is spelt but those of the vocabulary.
    """
    if not isinstance(model, BiLSTMSettings):
        return inputs
    rows, table = spelt(inputs.ids.cpu().numpy(), spellings, vocabulary, model.characters)
    table = without_idle_padding(table, model.widest_filter)
    device = inputs.ids.device
    return replace(inputs, spelling_rows=torch.from_numpy(rows).to(device), spellings=torch.from_numpy(table).to(device))
