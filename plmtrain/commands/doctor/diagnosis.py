"""One part of what ``doctor`` says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Diagnosis:
    """Facts about one side of the machine.

    Args:
        key: the name of the part in JSON.
        title: the words above it.
        facts: as text, by heading.
        values: the same as JSON values.
        advice: what could be better, and what to do about it, a sentence each.
    """

    key: str
    title: str
    facts: dict[str, str] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    advice: list[str] = field(default_factory=list)

    def fact(self, heading: str, said: str, **values: Any) -> None:
        """Add a fact."""
        self.facts[heading] = said
        self.values |= values
