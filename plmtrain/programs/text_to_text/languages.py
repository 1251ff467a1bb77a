"""Languages that are told by tokens: one ends each row, and the decoder starts with it (Liu et al. 2020, section 2.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from plmtrain.data.rows.row_formats import RowFormat
from plmtrain.errors import SettingsError

if TYPE_CHECKING:
    from plmtrain.settings.models.base import ModelSettings
    from plmtrain.text.vocabulary import Vocabulary


@dataclass(frozen=True)
class LanguageTokens:
    """The tokens of a model's languages.

    Args:
        ids: [languages] the id of each language's token, in the order of their numbers.
    """

    ids: NDArray[np.int64]

    @classmethod
    def of(cls, model: ModelSettings, vocabulary: Vocabulary) -> LanguageTokens | None:
        """Return the tokens of a model's languages; None if it has none, or embeddings of languages instead.

        Raises:
            SettingsError: if the vocabulary lacks such tokens.
        """
        names, tokens = getattr(model, "languages", ()), model.published.tokens
        if not names or not tokens.languages:
            return None
        # They stand together before the mask, in published vocabularies as well as in new ones.
        first = vocabulary["mask"] - len(tokens.languages)
        ids = np.array([first + tokens.languages.index(tokens.language(name)) for name in names], np.int64)
        if first < 0 or not vocabulary.is_special[ids].all():
            what = f"the tokenizer lacks tokens for the languages {', '.join(names)}"
            raise SettingsError(what, f"model.family={model.family}", f"train a tokenizer of family {model.published.tokenizer}")
        return cls(ids)

    def format(self, row_format: RowFormat) -> RowFormat:
        """Return a format with a place more at its end, which ``close`` fills."""
        return RowFormat((*row_format.pieces, (row_format.roles[-1], 0)), row_format.pads_left, row_format.padding_segment)

    def close(self, ids: NDArray[np.int64], lengths: NDArray[np.int64], languages: NDArray[np.int64] | int) -> None:
        """Put the tokens of languages at the ends of rows.

        Args:
            ids: [rows, length] token ids, padded on the right; changed in place.
            lengths: [rows] the number of tokens in each row.
            languages: [rows] the number of each row's language, or of all rows.
        """
        ids[np.arange(len(ids)), lengths - 1] = self.ids[languages]
