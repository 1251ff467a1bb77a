"""The table that closes a run: what its learner makes of sentences that it was not trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from rich.table import Table
from rich.text import Text

from plmtrain import keyed_random
from plmtrain.data.rows.rows import Rows, side_by_side
from plmtrain.data.rows.translations import LanguageRows

if TYPE_CHECKING:
    from plmtrain.data.corpus.store import Store
    from plmtrain.programs.learner import Learner
    from plmtrain.programs.parts import Part
    from plmtrain.text.tokenizer import Tokenizer

_TOKENS = range(8, 28)
"""How long a sentence of the table may be."""


def demonstration(part: Part, learner: Learner, tokenizer: Tokenizer, store: Store, count: int = 6) -> Table | None:
    """Make the table of what a program shows of its learner on some held-out sentences.

    Args:
        part: of what the run trained.
        learner: of the whole run, in eval mode.
        tokenizer: for showing tokens.
        store: held-out text.
        count: sentences at most.

    Returns:
        None for a program without answers.
    """
    answering = part.program.answering
    if answering is None:
        return None
    sentences = _sentences(store, part.program.vocabulary["pad"], count)
    if not len(sentences):
        return Table(title="no held-out sentence is short enough to be shown", title_justify="left", show_header=False)
    shown = answering.demonstrate(part.learner(learner), sentences, tokenizer)
    title = shown.title if part.name is None else f"{part.name}: {shown.title}"
    table = Table(title=title, title_justify="left")
    for column, heading in enumerate(shown.headings):
        table.add_column(heading, overflow="fold", ratio=None if column else 3)
    for cells in shown.rows:
        table.add_row(*map(Text, cells))  # text of the user's own, in which square brackets are no markup
    return table


def _sentences(store: Store, padding: int, count: int) -> Rows:
    """Held-out sentences of a readable length, the same every time."""
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
