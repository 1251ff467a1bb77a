"""One text or two as each family's model reads them: the special tokens around and between, the segments, the padding.

The formats are those of the published tokenizers (``plmtrain.text.families``); rows are padded to the longest of the batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plmtrain.data.rows.rows import Rows
from plmtrain.text.families import FAMILIES
from plmtrain.text.vocabulary import Vocabulary

FORMATS = {
    "bert": "bert",
    "electra": "bert",
    "distilbert": "bert",
    "albert": "albert",
    "roberta": "roberta",
    "bart": "roberta",
    "xlnet": "xlnet",
    "xlm": "xlm",
}
"""For a family of models, the family of tokenizers whose row format it has."""

MULTIPLE = 8
"""Rows are as long as a multiple of this: few shapes, and those that fast kernels like."""

_PADDING_SEGMENT = {"xlnet": 3}


@dataclass(frozen=True)
class RowFormat:
    """How a family lays out one text (``[CLS] A [SEP]``) or two (``[CLS] A [SEP] B [SEP]``).

    Args:
        parts: what stands where, in order: the role of a special token, or the number of a text; each with its segment.
        pads_left: whether padding stands before a row, as in XLNet.
        padding_segment: of padding.
    """

    parts: tuple[tuple[str | int, int], ...]
    pads_left: bool
    padding_segment: int = 0

    @classmethod
    def of(cls, family: str, texts: int) -> RowFormat:
        """The format of a family of models.

        Args:
            family: ``ModelSettings.family``.
            texts: how many there are in a row, 1 or 2.
        """
        tokens = FAMILIES[FORMATS[family]]
        # A token may have several roles; cls and sep are those that every tokenizer has, whichever family's it is.
        role = {token: role for role, token in tokens.roles.items()} | {tokens.roles[role]: role for role in ("cls", "sep")}
        names = {"$A": 0, "$B": 1}
        template = (part.rpartition(":") for part in (tokens.single if texts == 1 else tokens.pair).split())
        parts = tuple((names[name] if name in names else role[name], int(segment)) for name, _, segment in template)
        return cls(parts, tokens.padding_side == "left", _PADDING_SEGMENT.get(family, 0))

    @property
    def framing(self) -> int:
        """Special tokens in a row."""
        return sum(isinstance(part, str) for part, _ in self.parts)


@dataclass(frozen=True, kw_only=True)
class FormattedRows:
    """Rows as a model reads them.

    Args:
        ids: [rows, length] token ids.
        segments: [rows, length] segment ids.
        real: [rows, length] which tokens are not padding.
    """

    ids: NDArray[np.int64]
    segments: NDArray[np.int64]
    real: NDArray[np.bool_]


def formatted(rows: Rows, layout: RowFormat, vocabulary: Vocabulary, limit: int) -> FormattedRows:
    """Lay out texts or pairs.

    Args:
        rows: the texts; ``others`` of them are the second texts.
        layout: the format.
        vocabulary: for the special tokens.
        limit: how long a row may become by padding.
    """
    texts = [rows] if rows.others is None else [rows, rows.others]
    lengths = np.sum([text.lengths for text in texts], axis=0) + layout.framing
    longest = int(lengths.max(initial=1))
    length = max(longest, min(limit, -(-longest // MULTIPLE) * MULTIPLE))
    real = np.arange(length) < lengths[:, None]
    if layout.pads_left:
        real = real[:, ::-1]
    ids = np.full((len(rows), length), vocabulary["pad"], np.int64)
    segments = np.full(ids.shape, layout.padding_segment, np.int64)
    # Real places are filled row by row, so that what stands side by side in a row is joined row by row, too.
    ids[real] = np.concatenate([np.concatenate(_row(texts, row, layout, vocabulary)) for row in range(len(rows))] or [ids[:0, 0]])
    sizes = [texts[part].lengths if isinstance(part, int) else np.ones(len(rows), np.int64) for part, _ in layout.parts]
    kinds = np.tile([segment for _, segment in layout.parts], len(rows))
    segments[real] = np.repeat(kinds, np.stack(sizes, axis=1).reshape(-1))
    return FormattedRows(ids=ids, segments=segments, real=np.ascontiguousarray(real))


def _row(texts: list[Rows], row: int, layout: RowFormat, vocabulary: Vocabulary) -> list[NDArray[np.int64]]:
    return [
        texts[part].tokens[row, : texts[part].lengths[row]] if isinstance(part, int) else np.array([vocabulary[part]], np.int64)
        for part, _ in layout.parts
    ]
