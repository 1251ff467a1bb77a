"""Text generation, token by token, for every model that generates text."""

from __future__ import annotations

from pydantic import Field, model_validator

from plmtrain.settings.base import MOST_PLACES, Settings, Texts

_OF_SAMPLING = {"temperature", "top_k", "top_p", "seed"}
_OF_BEAMS = {"length_penalty", "early_stopping"}
"""Options that would have no effect without sampling, and without beams."""

MOST_BEAMS = 1024


class GenerationSettings(Settings):
    """Greedy search, beam search or sampling, with the same meaning of each option as in transformers' ``generate``."""

    beams: int = Field(1, gt=0, le=MOST_BEAMS)
    """Texts that beam search keeps in parallel; 1 takes the most likely token each time."""
    sample: bool = False
    """Whether tokens are drawn at random instead."""
    temperature: float = Field(1.0, gt=0)
    """When sampling: below 1 the distribution is sharper, above 1 flatter."""
    top_k: int | None = Field(None, gt=0)
    """When sampling: only this many of the most likely tokens may be drawn."""
    top_p: float = Field(1.0, gt=0, le=1)
    """When sampling: only the smallest set of most likely tokens with this total probability may be drawn."""
    max_new_tokens: int | None = Field(None, gt=0, le=MOST_PLACES)
    """The most tokens that are generated, special ones included; chosen by the program if omitted."""
    min_new_tokens: int = Field(0, ge=0, le=MOST_PLACES)
    """Tokens that are generated before the text may end."""
    stop: Texts = ()
    """Texts with which generation ends; a continuation ends before the first of them."""
    length_penalty: float = 1.0
    """With beams: scores are divided by the length to this power; above 0 favours longer texts."""
    no_repeat_ngram: int = Field(0, ge=0)
    """No sequence of this many tokens occurs twice; 0 for no such rule."""
    early_stopping: bool = False
    """With beams: whether to stop as soon as enough texts have ended, rather than when none could improve."""
    seed: int = Field(0, ge=0, lt=2**63)
    """When sampling: another seed draws other tokens."""

    @model_validator(mode="after")
    def _consistent(self) -> GenerationSettings:
        if self.sample and self.beams > 1:
            raise ValueError("sample draws one text, beams search for the most likely one: give one of them")
        if self.max_new_tokens is not None and self.min_new_tokens > self.max_new_tokens:
            raise ValueError(f"min_new_tokens ({self.min_new_tokens}) is more than max_new_tokens ({self.max_new_tokens})")
        chosen = {name for name, field in type(self).model_fields.items() if getattr(self, name) != field.default}
        if not self.sample and (idle := chosen & _OF_SAMPLING):
            raise ValueError(f"{min(idle)} acts on samples: give sample, too")
        if self.beams == 1 and (idle := chosen & _OF_BEAMS):
            raise ValueError(f"{min(idle)} acts on beams: give beams of 2 or more, too")
        if "" in self.stop:
            raise ValueError("stop has an empty text in it: name texts that end what is written")
        return self
