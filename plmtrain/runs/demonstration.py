"""The table at the end of a run: its learner's predictions on held-out sentences."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from rich.table import Table
from rich.text import Text

from plmtrain import keyed_random
from plmtrain.data.rows.rows import Rows, side_by_side
from plmtrain.data.rows.translations import LanguageRows

if TYPE_CHECKING:
    from plmtrain.data.corpus.store import Store
    from plmtrain.programs.answering import Demonstration
    from plmtrain.programs.learner import Learner
    from plmtrain.programs.parts import Part
    from plmtrain.text.tokenizer import Tokenizer

_TOKENS = range(8, 28)
"""The minimum and maximum number of tokens of a sentence in the table."""


def demonstration(part: Part, learner: Learner, tokenizer: Tokenizer, store: Store, count: int = 6) -> Table | str | None:
    """Make the table of a learner's predictions on some held-out sentences.

    Args:
        part: a part of the run's program.
        learner: the run's learner, in eval mode.
        tokenizer: decodes tokens.
        store: the held-out text.
        count: the maximum number of sentences.

    Returns:
        The table, or a line that says why there is none; None for a program without answers.
    """
    answering = part.program.answering
    if answering is None:
        return None
    sentences = _sentences(store, part.program.vocabulary.padding, count)
    if not len(sentences):
        return "no held-out sentence is short enough to show"
    shown = answering.demonstrate(part.learner(learner), sentences, tokenizer)
    return table_of(shown if part.name is None else replace(shown, title=f"{part.name}: {shown.title}"))


def table_of(shown: Demonstration) -> Table:
    """Draw a demonstration."""
    table = Table(title=shown.title, title_justify="left")
    for column, heading in enumerate(shown.headings):
        table.add_column(Text(heading), overflow="fold", ratio=None if column else 3)
    for cells in shown.rows:
        table.add_row(*map(Text, cells))  # the user's text, in which square brackets are not markup
    return table


def _sentences(store: Store, padding: int, count: int) -> Rows:
    """Return held-out sentences of a readable length, always the same ones."""
    lengths = np.diff(store.sentences)
    order = np.flatnonzero((lengths >= _TOKENS.start) & (lengths < _TOKENS.stop))
    order = order[keyed_random.permute(np.arange(len(order)), len(order), "fill table")] if len(order) else order
    ends = [(int(store.sentences[sentence]), int(store.sentences[sentence + 1])) for sentence in order[:count]]
    rows = side_by_side(
        [(store.tokens[first:end].astype(np.int64), np.asarray(store.word_starts[first:end])) for first, end in ends], padding
    )
    if store.languages is None:
        return rows
    document = np.searchsorted(store.documents, [first for first, _ in ends], side="right") - 1
    return LanguageRows(
        tokens=rows.tokens,
        lengths=rows.lengths,
        word_starts=rows.word_starts,
        languages=store.languages[document].astype(np.int64),
    )
