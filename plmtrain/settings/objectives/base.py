"""The settings that every objective has, so that an impossible combination is refused before torch is imported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from plmtrain.settings.base import Name, Settings
from plmtrain.settings.pairs import PairSettings

Reads = Literal["blocks", "streams", "two_way_streams", "segment_pairs", "translations"]
"""How an objective reads prepared text: ``blocks`` are consecutive stretches of the corpus, all of one length, in any order;
``streams`` are equal parts of the corpus, one for each row of a batch, each read from its beginning to its end;
``two_way_streams`` are such streams that are read from their end as well, a row of each at a time;
``segment_pairs`` are two segments each, cut from documents when the text is prepared (``PairSettings``);
``translations`` are sentences of parallel text with their translations, and text of one language."""


class ObjectiveSettings(Settings):
    """A pretraining objective."""

    reads: ClassVar[Reads]
    """How the objective reads prepared text, if its settings do not choose otherwise (``source``)."""
    backbones: ClassVar[frozenset[str]]
    """The kinds of backbone that it trains (``ModelSettings.kind``)."""
    roles: ClassVar[frozenset[str]] = frozenset()
    """The special tokens that it needs, by role, besides those that stand around a text of the model's family."""
    decides_parameters: ClassVar[frozenset[str]] = frozenset()
    """The settings that decide which parameters exist: no phase of a run can change them."""
    is_combined: ClassVar[bool] = False
    """Whether it consists of other objectives, which ``shares`` names; these then define what it reads and needs."""

    reads_sentences: ClassVar[bool] = False
    """Whether it needs to know where sentences start; blocks tell it in any case."""
    isolates: ClassVar[bool] = True
    """Whether documents in the same row can be kept from seeing each other."""
    needs_teacher: ClassVar[bool] = False
    """Whether its loss reads the outputs of a teacher, which ``teacher`` names."""
    sees_left: ClassVar[bool] = False
    """Whether it needs an encoder whose positions see only those to their left."""
    sees_ahead: ClassVar[bool] = False
    """Whether positions of a decoder see others to their right."""

    type: str
    """The module of ``plmtrain.objectives`` that implements it."""
    name: Name
    """The name that users know it by: that of its YAML."""

    @property
    def source(self) -> Reads:
        """How it reads prepared text with these settings."""
        return self.reads

    @property
    def tells_languages(self) -> bool:
        """Whether the model gets the language of each token."""
        return False

    @property
    def reads_frequencies(self) -> bool:
        """Whether the choice of tokens depends on how often they occur in the training text."""
        return False

    @property
    def pairs(self) -> PairSettings | None:
        """How text is cut for ``segment_pairs``; None where it reads something else."""
        return None

    @property
    def texts_in_row(self) -> int:
        """How many texts with special tokens around them a row consists of; 0 if rows are running text without such tokens."""
        return 2 if self.source == "segment_pairs" else 1

    def members(self) -> dict[str, ObjectiveSettings]:
        """Return the objectives that it consists of, each by its key below ``objective``: here itself alone."""
        return {"": self}

    def fixed_keys(self) -> set[str]:
        """Return the keys below ``objective`` that are the same in all phases of a run."""
        return {"type", "name", *self.decides_parameters}

    def idle_keys(self) -> set[str]:
        """Return the keys below ``objective`` of members that no step trains."""
        return set()

    def changed(self, changes: Mapping[str, Any]) -> Self:
        """Return the same objective with other values of some settings, as a phase of a run gives them.

        Raises:
            ValidationError: if they are invalid.
        """
        return type(self).model_validate({**self.model_dump(), **changes})
