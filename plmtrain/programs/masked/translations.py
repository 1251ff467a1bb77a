"""Filling masks in a text and its translation, with the language of each: how they are written, and how answers are read."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from plmtrain.batch import Batch, Inputs, Layout
from plmtrain.data.rows.rows import Rows, side_by_side
from plmtrain.data.rows.side_framing import FramedSides, framed_sides
from plmtrain.data.rows.translations import LanguageRows
from plmtrain.errors import DataError
from plmtrain.programs.answering import Answer
from plmtrain.programs.masked.filling import MaskFilling, read_filled

if TYPE_CHECKING:
    from plmtrain.programs.masked.program import MaskedLearner
    from plmtrain.text.tokenizer import Tokenizer
    from plmtrain.text.vocabulary import Vocabulary


def side_inputs(rows: FramedSides, languages: Sequence[str]) -> Inputs:
    """Return framed sides as the backbone reads them: with positions of their own, and languages where the model has them."""
    return Inputs(
        ids=torch.from_numpy(rows.ids),
        layout=Layout.of(rows.real),
        segments=torch.from_numpy(rows.languages) if languages else None,
        positions=torch.from_numpy(rows.positions),
    )


class SideFilling(MaskFilling):
    """Fill the masks of a text and its translation.

    Args:
        vocabulary: the tokens that rows are made of.
        longest: the most tokens of text on a side.
        languages: of the model, by their numbers; empty where it has none.
    """

    def __init__(self, vocabulary: Vocabulary, longest: int, languages: Sequence[str]) -> None:
        super().__init__(vocabulary, longest)
        self.languages = languages

    def questions(self, texts: Sequence[str], tokenizer: Tokenizer) -> Rows:
        """Encode texts with masks to fill, each after its language as ``de: Ein Text``; its translation may follow a tab."""
        return asked_sides(texts, tokenizer, self.languages, self.longest)

    def collate(self, rows: Rows) -> Batch:
        original = framed_sides(rows, self.vocabulary)
        known = isinstance(rows, LanguageRows)  # else the language is unknown, and no embedding of one is added
        return Batch(
            inputs=side_inputs(original, self.languages if known else ()),
            targets={"first": torch.from_numpy(original.first)},
            samples=torch.arange(len(rows)),
            normalisers={},
        )

    @torch.no_grad()
    def predict(self, learner: MaskedLearner, batch: Batch) -> list[dict[str, Any]]:
        """Fill every mask; each has the ``side`` that it is in, and its position there."""
        answers = super().predict(learner, batch)
        for answer, first in zip(answers, batch.targets["first"].tolist(), strict=True):
            for mask in answer["masks"]:
                mask["side"] = int(mask["position"] >= first - 1)
                mask["position"] -= first if mask["side"] else 0
        return answers

    def read_out(self, text: str, ids: NDArray[np.int64], answer: Mapping[str, Any], tokenizer: Tokenizer) -> Answer:
        return read_sides(text, self.questions([text], tokenizer), answer, tokenizer)


def asked_sides(texts: Sequence[str], tokenizer: Tokenizer, languages: Sequence[str], most: int) -> Rows:
    """Encode texts in which masks are written by their name.

    Args:
        texts: each as ``LANGUAGE: TEXT``, or two of these with a tab between them.
        tokenizer: turns them into tokens.
        languages: by their numbers; where there are none, none are named.
        most: tokens of a side.

    Raises:
        DataError: if a text has no mask, names no language, or is too long.
    """
    vocabulary = tokenizer.vocabulary
    sides: list[list[Any]] = [[], []]
    spoken: list[list[int]] = [[], []]
    name = tokenizer.pieces([vocabulary["mask"]])[0]
    for text in texts:
        parts = text.split("\t")
        if len(parts) > 2:
            raise DataError("this text has more than one tab", _shown(text), "put one tab between a text and its translation")
        if name not in text:
            raise DataError("there is no mask to fill", _shown(text), f"write {name} where a word is missing")
        for place in range(2):
            encoded = np.empty(0, np.int64), np.empty(0, np.bool_)
            number = 0
            if place < len(parts):
                number, content = _language(parts[place], languages)
                encoded = tokenizer.encode_with_specials(content)
                if len(encoded[0]) > most:
                    remedy = "give it in shorter parts"
                    raise DataError(f"a text has {len(encoded[0])} tokens, but the model takes {most}", _shown(text), remedy)
            sides[place].append(encoded)
            spoken[place].append(number)
    rows = [side_by_side(side, vocabulary["pad"]) for side in sides]
    made = [
        LanguageRows(tokens=row.tokens, lengths=row.lengths, word_starts=row.word_starts, languages=np.array(numbers, np.int64))
        for row, numbers in zip(rows, spoken, strict=True)
    ]
    first, second = made
    return LanguageRows(
        tokens=first.tokens, lengths=first.lengths, word_starts=first.word_starts, languages=first.languages, others=second
    )


def _language(text: str, languages: Sequence[str]) -> tuple[int, str]:
    """Return the number of a text's language, and the text without its prefix."""
    if not languages:
        return 0, text
    prefix = re.match(r"\s*([A-Za-z0-9_.-]+):\s*", text)
    if prefix is None or prefix[1] not in languages:
        remedy = f"begin it with its language, one of {', '.join(languages)}: '{languages[0]}: {text.strip()[:30]}'"
        raise DataError("the text does not say which language it is in", _shown(text), remedy)
    return languages.index(prefix[1]), text[prefix.end() :]


def _shown(text: str) -> str:
    return f"'{text[:60]}'"


def read_sides(text: str, rows: Rows, answer: Mapping[str, Any], tokenizer: Tokenizer) -> Answer:
    """Put an answer into words: each side with the likeliest tokens, and the candidates for each mask.

    Args:
        text: what was asked.
        rows: the one row of it.
        answer: for each mask its ``side`` and its ``position`` there.
        tokenizer: what turned it into tokens.
    """
    written: list[str] = []
    masks: list[Any] = []
    lines: list[str] = []
    for side, part in enumerate((rows, rows.others)):
        if part is None or not part.lengths[0]:
            continue
        own = [mask for mask in answer["masks"] if mask["side"] == side]
        filled = read_filled(text, part.tokens[0, : part.lengths[0]], {"masks": own}, tokenizer)
        written.append(filled.values["filled"])
        masks += filled.values["masks"]
        lines += filled.lines
    return Answer({"text": text, "filled": "\t".join(written), "masks": masks}, lines)
