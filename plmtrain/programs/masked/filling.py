"""Filling masks: encoding texts with masks, and presenting the candidates for each mask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from plmtrain import keyed_random
from plmtrain.batch import Batch
from plmtrain.data.rows.rows import Rows, side_by_side
from plmtrain.errors import DataError
from plmtrain.programs.answering import Answer, Answering, Demonstration
from plmtrain.programs.present_tokens import present_only
from plmtrain.programs.texts import framed_batch

if TYPE_CHECKING:
    from plmtrain.data.rows.row_formats import RowFormat
    from plmtrain.programs.masked.program import MaskedLearner
    from plmtrain.text.tokenizer import Tokenizer
    from plmtrain.text.vocabulary import Vocabulary

CANDIDATES = 5
"""The number of candidates for each mask."""


class MaskFilling(Answering["MaskedLearner"]):
    """Fill the masks of a text.

    Args:
        row_format: the format of a text.
        vocabulary: the vocabulary of the rows.
        longest: the maximum number of text tokens in a question.
    """

    def __init__(self, row_format: RowFormat, vocabulary: Vocabulary, longest: int) -> None:
        self.row_format = row_format
        self.vocabulary = vocabulary
        self.longest = longest

    def questions(self, texts: Sequence[str], tokenizer: Tokenizer) -> Rows:
        """Encode texts in which masks are written as the mask token."""
        return mask_questions(texts, tokenizer)

    def collate(self, rows: Rows) -> Batch:
        return framed_batch(rows, self.row_format, self.vocabulary)

    @torch.no_grad()
    def predict(self, learner: MaskedLearner, batch: Batch) -> list[dict[str, Any]]:
        """Fill every mask; the answers have the format of ``best_at_masks``."""
        return self.fill(learner, batch, learner.backbone.predicting(batch.inputs, learner.head))

    def fill(self, learner: MaskedLearner, batch: Batch, hidden: Tensor) -> list[dict[str, Any]]:
        """Fill every mask from the hidden states of its row.  # hidden: [rows, length, width]"""
        masks = (batch.inputs.ids == self.vocabulary["mask"]).nonzero()  # [masks, 2]
        logits = learner.scores(hidden[masks[:, 0], masks[:, 1]])  # [masks, vocabulary]
        return best_at_masks(masks, logits, batch.samples, self.vocabulary, opening=self.row_format.opening)

    def read_out(self, text: str, ids: NDArray[np.int64], answer: Mapping[str, Any], tokenizer: Tokenizer) -> Answer:
        return read_filled(text, ids, answer, tokenizer)

    def demonstrate(self, learner: MaskedLearner, rows: Rows, tokenizer: Tokenizer) -> Demonstration:
        """Mask one word in each sentence, and show the model's predictions."""
        hidden, places = hide_a_word(rows, self.vocabulary["mask"])
        return filled_masks(rows, places, self.predict(learner, self.collate(hidden)), tokenizer)


def mask_questions(texts: Sequence[str], tokenizer: Tokenizer) -> Rows:
    """Encode texts in which masks are written as the mask token.

    Raises:
        DataError: if a text has no mask.
    """
    vocabulary = tokenizer.vocabulary
    encoded = [tokenizer.encode_with_specials(text) for text in texts]
    for text, (ids, _) in zip(texts, encoded, strict=True):
        if vocabulary["mask"] not in ids:
            name = tokenizer.pieces([vocabulary["mask"]])[0]
            raise DataError("there is no mask to fill", f"'{text[:60]}'", f"write {name} where a word is missing")
    return side_by_side(encoded, vocabulary.padding)


def best_at_masks(masks: Tensor, logits: Tensor, samples: Tensor, vocabulary: Vocabulary, opening: int) -> list[dict[str, Any]]:
    """Return the most probable tokens at each mask.

    Args:
        masks: [masks, 2] the row and the column of each mask.
        logits: [masks, vocabulary] the logits at each mask.
        samples: [rows] the index of each row.
        vocabulary: the tokens that may be proposed.
        opening: the number of special tokens before a row's text.

    Returns:
        For each row its ``sample`` and its ``masks``: for each mask the ``position`` among the text's tokens, the ``best`` id,
        and as ``candidates`` the best ids with their probabilities.
    """
    best = present_only(logits.float(), vocabulary).softmax(-1).topk(min(CANDIDATES, len(vocabulary.ids)), dim=-1)
    answers: list[dict[str, Any]] = [{"sample": sample, "masks": []} for sample in samples.tolist()]
    for (row, column), likely, candidates in zip(masks.tolist(), best.values.tolist(), best.indices.tolist(), strict=True):
        pairs = [[token, probability] for token, probability in zip(candidates, likely, strict=True)]
        answers[row]["masks"].append({"position": column - opening, "best": candidates[0], "candidates": pairs})
    return answers


def read_filled(text: str, ids: NDArray[np.int64], answer: Mapping[str, Any], tokenizer: Tokenizer) -> Answer:
    """Convert an answer of ``best_at_masks`` to text: the text with the best tokens, and the candidates for each mask."""
    whole = ids.copy()
    whole[[mask["position"] for mask in answer["masks"]]] = [mask["best"] for mask in answer["masks"]]
    masks = [
        [{"token": tokenizer.pieces([token])[0].strip(), "probability": probability} for token, probability in mask["candidates"]]
        for mask in answer["masks"]
    ]
    guesses = ["  " + ", ".join(f"{guess['token']} {guess['probability']:.1%}" for guess in guesses) for guesses in masks]
    read = tokenizer.decode(whole).strip()
    return Answer({"text": text, "filled": read, "masks": masks}, [read, *guesses])


def hide_a_word(rows: Rows, mask: int) -> tuple[Rows, NDArray[np.int64]]:
    """Mask one token in each row, always the same one: a whole word if the row has a word of one token.

    Args:
        rows: sentences of at least three tokens.
        mask: the id of the mask token.

    Returns:
        The masked rows, and the masked position in each.  # [rows]
    """
    places = np.zeros(len(rows), np.int64)
    for row, length in enumerate(rows.lengths.tolist()):
        starts = rows.word_starts[row]
        # A word of one token: it starts a word, and so does the next token. The last token is a punctuation mark.
        words = [place for place in range(1, length - 2) if starts[place] and starts[place + 1]] or list(range(length - 1))
        places[row] = words[keyed_random.scalar("hidden word", *rows.tokens[row, :length].tolist()) % len(words)]
    tokens = rows.tokens.copy()
    tokens[np.arange(len(rows)), places] = mask
    return replace(rows, tokens=tokens), places


def word(tokenizer: Tokenizer, token: int) -> str:
    """Return a single token as text."""
    return tokenizer.decode([token]).strip() or tokenizer.pieces([token])[0]


def with_gap(tokenizer: Tokenizer, ids: NDArray[np.int64], place: int, gap: str) -> str:
    """Return a sentence in which ``gap`` replaces one token."""
    return f"{tokenizer.decode(ids[:place]).strip()} {gap} {tokenizer.decode(ids[place + 1 :]).strip()}".strip()


def filled_masks(
    rows: Rows, places: NDArray[np.int64], answers: Sequence[Mapping[str, Any]], tokenizer: Tokenizer
) -> Demonstration:
    """Make a table of the words that ``hide_a_word`` masked, and of a model's predictions for them.

    Args:
        rows: the original sentences.
        places: [rows] the masked position in each.
        answers: the answers of ``best_at_masks`` for the masked rows.
        tokenizer: the tokenizer that encoded them.
    """
    shown = []
    for row, (place, answer) in enumerate(zip(places.tolist(), answers, strict=True)):
        ids = rows.tokens[row, : rows.lengths[row]]
        guesses = [f"{word(tokenizer, token)} {probability:.0%}" for token, probability in answer["masks"][0]["candidates"][:3]]
        shown.append((with_gap(tokenizer, ids, place, "____"), word(tokenizer, int(ids[place])), ", ".join(guesses)))
    return Demonstration("filled masks (held-out text)", ("sentence", "hidden", "the model's guesses"), shown)
