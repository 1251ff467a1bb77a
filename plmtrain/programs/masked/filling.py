"""Filling masks: how a text with masks is asked about, and how the candidates for each mask are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from plmtrain import keyed_random
from plmtrain.batch import Batch, Inputs, Layout
from plmtrain.data.rows.framing import framed
from plmtrain.data.rows.rows import Rows, side_by_side
from plmtrain.errors import DataError
from plmtrain.programs.answering import Answer, Answering, Demonstration

if TYPE_CHECKING:
    from plmtrain.programs.masked.program import MaskedLearner
    from plmtrain.text.tokenizer import Tokenizer
    from plmtrain.text.vocabulary import Vocabulary

CANDIDATES = 5
"""How many tokens are proposed for each mask."""


class MaskFilling(Answering["MaskedLearner"]):
    """Fill the masks of a text.

    Args:
        vocabulary: the tokens that rows are made of.
        longest: the most tokens of text that a question may have.
    """

    def __init__(self, vocabulary: Vocabulary, longest: int) -> None:
        self.vocabulary = vocabulary
        self.longest = longest

    def questions(self, texts: Sequence[str], tokenizer: Tokenizer) -> Rows:
        """Encode texts in which masks are written by their name."""
        return mask_questions(texts, tokenizer)

    def collate(self, rows: Rows) -> Batch:
        return framed_batch(rows, self.vocabulary)

    @torch.no_grad()
    def predict(self, learner: MaskedLearner, batch: Batch) -> list[dict[str, Any]]:
        """Fill every mask; the answers are those of ``best_at_masks``."""
        return self.fill(learner, batch, learner.backbone.encode(batch.inputs))

    def fill(self, learner: MaskedLearner, batch: Batch, hidden: Tensor) -> list[dict[str, Any]]:
        """Fill every mask by the hidden states of its row.  # hidden: [rows, length, width]"""
        masks = (batch.inputs.ids == self.vocabulary["mask"]).nonzero()  # [masks, 2]
        logits = learner.scores(hidden[masks[:, 0], masks[:, 1]])  # [masks, vocabulary]
        return best_at_masks(masks, logits, batch.samples, opening=1)

    def read_out(self, text: str, ids: NDArray[np.int64], answer: Mapping[str, Any], tokenizer: Tokenizer) -> Answer:
        return read_filled(text, ids, answer, tokenizer)

    def demonstrate(self, learner: MaskedLearner, rows: Rows, tokenizer: Tokenizer) -> Demonstration:
        """Hide one word in each sentence, and show what the model puts there."""
        hidden, places = hide_a_word(rows, self.vocabulary["mask"])
        return filled_masks(rows, places, self.predict(learner, self.collate(hidden)), tokenizer)


def framed_batch(rows: Rows, vocabulary: Vocabulary) -> Batch:
    """Make texts ready to be read, each between cls and sep, as most models read one text."""
    original = framed(rows, vocabulary)
    return Batch(
        inputs=Inputs(ids=torch.from_numpy(original.ids), layout=Layout.of(original.real, original.documents)),
        targets={},
        samples=torch.arange(len(rows)),
        normalisers={},
    )


def mask_questions(texts: Sequence[str], tokenizer: Tokenizer) -> Rows:
    """Encode texts in which masks are written by their name.

    Raises:
        DataError: if a text has none.
    """
    vocabulary = tokenizer.vocabulary
    encoded = [tokenizer.encode_with_specials(text) for text in texts]
    for text, (ids, _) in zip(texts, encoded, strict=True):
        if vocabulary["mask"] not in ids:
            name = tokenizer.pieces([vocabulary["mask"]])[0]
            raise DataError("there is no mask to fill", f"'{text[:60]}'", f"write {name} where a word is missing")
    return side_by_side(encoded, vocabulary["pad"])


def best_at_masks(masks: Tensor, logits: Tensor, samples: Tensor, opening: int) -> list[dict[str, Any]]:
    """Return the likeliest tokens at each mask.

    Args:
        masks: [masks, 2] the row and the column of each mask.
        logits: [masks, vocabulary] its scores.
        samples: [rows] the index of each row.
        opening: special tokens before a row's own.

    Returns:
        For each row its ``sample`` and its ``masks``: for each the ``position`` among the row's own tokens, the ``best`` id,
        and as ``candidates`` the best ids with their probabilities.
    """
    best = logits.float().softmax(-1).topk(min(CANDIDATES, logits.shape[1]), dim=-1)
    answers: list[dict[str, Any]] = [{"sample": sample, "masks": []} for sample in samples.tolist()]
    for (row, column), likely, candidates in zip(masks.tolist(), best.values.tolist(), best.indices.tolist(), strict=True):
        pairs = [[token, probability] for token, probability in zip(candidates, likely, strict=True)]
        answers[row]["masks"].append({"position": column - opening, "best": candidates[0], "candidates": pairs})
    return answers


def read_filled(text: str, ids: NDArray[np.int64], answer: Mapping[str, Any], tokenizer: Tokenizer) -> Answer:
    """Put an answer of ``best_at_masks`` into words: the text with the likeliest tokens, and the candidates for each mask."""
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
    """Hide one token in each row, the same every time: a whole word where a word is one token.

    Args:
        rows: sentences of three tokens or more.
        mask: the id of the mask.

    Returns:
        The rows, and the place that is hidden in each.  # [rows]
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
    """Return a token as text to be read by itself."""
    return tokenizer.decode([token]).strip() or tokenizer.pieces([token])[0]


def with_gap(tokenizer: Tokenizer, ids: NDArray[np.int64], place: int, gap: str) -> str:
    """Return a sentence with something written in the place of one token."""
    return f"{tokenizer.decode(ids[:place]).strip()} {gap} {tokenizer.decode(ids[place + 1 :]).strip()}".strip()


def filled_masks(
    rows: Rows, places: NDArray[np.int64], answers: Sequence[Mapping[str, Any]], tokenizer: Tokenizer
) -> Demonstration:
    """Make a table of the words that ``hide_a_word`` hid, and of what a model put there.

    Args:
        rows: the sentences as they were.
        places: [rows] the hidden place of each.
        answers: of ``best_at_masks``, for the rows with hidden words.
        tokenizer: what turned them into tokens.
    """
    shown = []
    for row, (place, answer) in enumerate(zip(places.tolist(), answers, strict=True)):
        ids = rows.tokens[row, : rows.lengths[row]]
        guesses = [f"{word(tokenizer, token)} {probability:.0%}" for token, probability in answer["masks"][0]["candidates"][:3]]
        shown.append((with_gap(tokenizer, ids, place, "____"), word(tokenizer, int(ids[place])), ", ".join(guesses)))
    return Demonstration("filled masks (held-out text)", ("sentence", "hidden", "the model's guesses"), shown)
