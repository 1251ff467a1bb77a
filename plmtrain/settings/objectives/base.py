"""What every objective's settings say, so that an impossible pair is refused before torch is imported."""

from __future__ import annotations

from typing import ClassVar, Literal

from plmtrain.settings.base import Name, Settings

Reads = Literal["blocks", "streams", "segment_pairs"]
"""How an objective reads prepared text: ``blocks`` are consecutive stretches of the corpus, all of one length, in any order;
``streams`` are as many equal parts of the corpus as a batch has rows, each read from its beginning to its end;
``segment_pairs`` are two segments each, cut from documents when the text is prepared (``PairSettings`` says how)."""


class ObjectiveSettings(Settings):
    """A pretraining objective."""

    reads: ClassVar[Reads]
    """How the objective reads prepared text."""
    backbones: ClassVar[frozenset[str]]
    """The kinds of backbone that it trains (``ModelSettings.kind``)."""
    roles: ClassVar[frozenset[str]]
    """The special tokens that it needs, by role."""

    type: str
    """The module of ``plmtrain.objectives`` that it is."""
    name: Name
    """What users call it: the name of its YAML."""
