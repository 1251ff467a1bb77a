"""Filling masks in a text and its translation, with the language of each: encoding them, and presenting the answers."""

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
    from plmtrain.data.rows.row_formats import RowFormat
    from plmtrain.programs.masked.program import MaskedLearner
    from plmtrain.text.tokenizer import Tokenizer
    from plmtrain.text.vocabulary import Vocabulary


def side_inputs(rows: FramedSides, languages: Sequence[str]) -> Inputs:
    """Return the backbone's inputs for framed sides, with positions for each side, and languages if the model has them."""
    return Inputs(
        ids=torch.from_numpy(rows.ids),
        layout=Layout.of(rows.real),
        segments=torch.from_numpy(rows.languages) if languages else None,
        positions=torch.from_numpy(rows.positions),
    )


class SideFilling(MaskFilling):
    """Fill the masks of a text and its translation.

    Args:
        row_format: the format of a side.
        vocabulary: the vocabulary of the rows.
        longest: the maximum number of text tokens on a side.
        languages: the model's languages, in the order of their ids; empty if it has none.
    """

    def __init__(self, row_format: RowFormat, vocabulary: Vocabulary, longest: int, languages: Sequence[str]) -> None:
        super().__init__(row_format, vocabulary, longest)
        self.languages = languages

    def questions(self, texts: Sequence[str], tokenizer: Tokenizer) -> Rows:
        """Encode texts with masks, written as ``de: Ein Text``; a translation in the same format may follow a tab."""
        return asked_sides(texts, tokenizer, self.languages, self.longest)

    def collate(self, rows: Rows) -> Batch:
        original = framed_sides(rows, self.vocabulary)
        known = isinstance(rows, LanguageRows)  # else the language is unknown, and no language embedding is added
        return Batch(
            inputs=side_inputs(original, self.languages if known else ()),
            targets={"first": torch.from_numpy(original.first)},
            samples=torch.arange(len(rows)),
            normalisers={},
        )

    @torch.no_grad()
    def predict(self, learner: MaskedLearner, batch: Batch) -> list[dict[str, Any]]:
        """Fill every mask; each has its ``side``, and its position within the side."""
        answers = super().predict(learner, batch)
        for answer, first in zip(answers, batch.targets["first"].tolist(), strict=True):
            for mask in answer["masks"]:
                mask["side"] = int(mask["position"] >= first - 1)
                mask["position"] -= first if mask["side"] else 0
        return answers

    def read_out(self, text: str, ids: NDArray[np.int64], answer: Mapping[str, Any], tokenizer: Tokenizer) -> Answer:
        return read_sides(text, self.questions([text], tokenizer), answer, tokenizer)


def asked_sides(texts: Sequence[str], tokenizer: Tokenizer, languages: Sequence[str], most: int) -> Rows:
    """Encode texts in which masks are written as the mask token.

    Args:
        texts: each is ``LANGUAGE: TEXT``, or two of these with a tab between them.
        tokenizer: the tokenizer that encodes them.
        languages: in the order of their ids; if empty, texts have no language prefix.
        most: the maximum number of tokens on a side.

    Raises:
        DataError: if a text has no mask, names no language, or is too long.
    """
    vocabulary = tokenizer.vocabulary
    sides: list[list[Any]] = [[], []]
    side_languages: list[list[int]] = [[], []]
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
                number, content = language_of(parts[place], languages)
                encoded = tokenizer.encode_with_specials(content)
                if len(encoded[0]) > most:
                    remedy = "split it into shorter texts"
                    raise DataError(f"a text has {len(encoded[0])} tokens, but the model takes {most}", _shown(text), remedy)
            sides[place].append(encoded)
            side_languages[place].append(number)
    rows = [side_by_side(side, vocabulary.padding) for side in sides]
    made = [
        LanguageRows(tokens=row.tokens, lengths=row.lengths, word_starts=row.word_starts, languages=np.array(numbers, np.int64))
        for row, numbers in zip(rows, side_languages, strict=True)
    ]
    first, second = made
    return LanguageRows(
        tokens=first.tokens, lengths=first.lengths, word_starts=first.word_starts, languages=first.languages, others=second
    )


def language_of(text: str, languages: Sequence[str]) -> tuple[int, str]:
    """Return the id of a text's language, and the text without its prefix."""
    if not languages:
        return 0, text
    prefix = re.match(r"\s*([A-Za-z0-9_.-]+):\s*", text)
    if prefix is None or prefix[1] not in languages:
        remedy = f"begin it with its language, one of {', '.join(languages)}: '{languages[0]}: {text.strip()[:30]}'"
        raise DataError("the text has no language prefix", _shown(text), remedy)
    return languages.index(prefix[1]), text[prefix.end() :]


def _shown(text: str) -> str:
    return f"'{text[:60]}'"


def read_sides(text: str, rows: Rows, answer: Mapping[str, Any], tokenizer: Tokenizer) -> Answer:
    """Convert an answer to text: each side with the best tokens, and the candidates for each mask.

    Args:
        text: the text of the question.
        rows: the single row of the question.
        answer: each mask has its ``side`` and its ``position`` within the side.
        tokenizer: the tokenizer that encoded it.
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
