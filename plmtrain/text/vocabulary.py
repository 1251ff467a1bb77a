"""The part of a tokenizer that everything else needs: its size, which tokens are special, and the text of tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from plmtrain.errors import SettingsError


def _numbers(ids: Sequence[int]) -> str:
    return " ".join(map(str, ids))


@dataclass(frozen=True)
class Vocabulary:
    """Token ids by role.

    Args:
        size: the number of tokens; the embedding has as many rows.
        roles: the id of each special token by its role: ``pad``, ``unk``, ``cls`` (opens a row), ``sep`` (closes a row and
            stands between documents), ``mask``, ``bos``, ``eos``. One token may have several roles.
        special_ids: every special id, those without a role among them, ascending.
        gaps: the ids below ``size`` that no token has, ascending.
        sentinels: the ids of the sentinels, in the order in which they are used; the first has the role ``sentinel``.
        text_of: returns the text of some ids, without special tokens; without a tokenizer, the ids themselves.
    """

    size: int
    roles: Mapping[str, int]
    special_ids: tuple[int, ...]
    gaps: tuple[int, ...] = ()
    sentinels: tuple[int, ...] = ()
    text_of: Callable[[Sequence[int]], str] = field(default=_numbers, compare=False, repr=False)

    def __getitem__(self, role: str) -> int:
        """Return the id of the token with a role.

        Raises:
            SettingsError: if the tokenizer has no token for that role.
        """
        try:
            return self.roles[role]
        except KeyError:
            raise SettingsError(
                f"the tokenizer has no {role} token",
                f"its special tokens: {', '.join(self.roles) or 'none'}",
                "use a tokenizer trained for this model family (tokenizer.path=, or train one with plmtrain tokenizer)",
            ) from None

    @cached_property
    def padding(self) -> int:
        """The id that fills rows: of ``pad``, or, where there is no such token, of one that ends or begins text, or 0.

        Padding is never seen by a model nor predicted, so that any id will do; a special one is never hidden either.
        """
        return next((self.roles[role] for role in ("pad", "eos", "sep", "bos", "cls") if role in self.roles), 0)

    @property
    def ends_documents(self) -> bool:
        """Whether a token can stand after every document."""
        return "sep" in self.roles or "eos" in self.roles

    @property
    def document_end(self) -> int:
        """The id of the token after every document: ``sep``, or ``eos`` if there is no such token.

        Raises:
            SettingsError: if there is neither.
        """
        return self["sep" if "sep" in self.roles or "eos" not in self.roles else "eos"]

    @cached_property
    def is_special(self) -> NDArray[np.bool_]:
        """Whether each id is special.  # [size]"""
        flags = np.zeros(self.size, np.bool_)
        flags[list(self.special_ids)] = True
        return flags

    @cached_property
    def ids(self) -> NDArray[np.int64]:
        """The ids of all tokens, ascending."""
        return np.setdiff1d(np.arange(self.size, dtype=np.int64), np.array(self.gaps, np.int64))

    @cached_property
    def ordinary_ids(self) -> NDArray[np.int64]:
        """The ids of the tokens that are not special, ascending."""
        return self.ids[~self.is_special[self.ids]]

    def absent(self, rows: int) -> NDArray[np.int64]:
        """Return the rows of an embedding that no token has.

        Args:
            rows: the number of rows, at least ``size``.
        """
        return np.concatenate([np.array(self.gaps, np.int64), np.arange(self.size, rows, dtype=np.int64)])
