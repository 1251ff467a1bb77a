"""A table of filled masks: what a masked language model makes of sentences that it was not trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from rich.table import Table
from rich.text import Text

from plmtrain import keyed_random
from plmtrain.data.rows import Rows

if TYPE_CHECKING:
    from torch import nn

    from plmtrain.data.store import Store
    from plmtrain.program import Program
    from plmtrain.text.tokenizer import Tokenizer

_TOKENS = range(8, 28)
"""How long a sentence of the table may be."""


def fill_table(program: Program[Any], learner: nn.Module, tokenizer: Tokenizer, store: Store, count: int = 6) -> Table:
    """Hide one word in some held-out sentences, and show what the model puts there.

    Args:
        program: a masked language model's program.
        learner: its trained learner.
        tokenizer: for showing tokens.
        store: held-out text.
        count: sentences at most.
    """
    chosen = _sentences(store, count)
    table = Table(title="filled masks (held-out text)", title_justify="left")
    table.add_column("sentence", overflow="fold")
    table.add_column("hidden")
    table.add_column("the model's guesses")
    for ids, hidden in chosen:
        rows = Rows(tokens=ids[None].copy(), lengths=np.array([len(ids)]), word_starts=np.ones((1, len(ids)), np.bool_))
        rows.tokens[0, hidden] = program.vocabulary["mask"]
        (answer,) = program.predict(learner, program.collate_for_prediction(rows))
        guesses = [f"{_word(tokenizer, token)} {probability:.0%}" for token, probability in answer["masks"][0]["candidates"][:3]]
        pieces = tokenizer.decode(ids[:hidden]), tokenizer.decode(ids[hidden + 1 :])
        sentence = Text.assemble(pieces[0].strip(), " ", ("____", "bold"), " ", pieces[1].strip())
        table.add_row(sentence, _word(tokenizer, int(ids[hidden])), ", ".join(guesses))
    return table


def _word(tokenizer: Tokenizer, token: int) -> str:
    return tokenizer.decode(np.array([token])).strip() or tokenizer.pieces([token])[0]


def _sentences(store: Store, count: int) -> list[tuple[np.ndarray[Any, Any], int]]:
    """Held-out sentences of a readable length, each with the place of a whole word of one token, the same every time."""
    lengths = np.diff(store.sentences)
    order = np.flatnonzero((lengths >= _TOKENS.start) & (lengths < _TOKENS.stop))
    order = order[keyed_random.permute(np.arange(len(order)), len(order), "fill table")] if len(order) else order
    found = []
    for sentence in order:
        first, end = int(store.sentences[sentence]), int(store.sentences[sentence + 1])
        ids, starts = store.tokens[first:end].astype(np.int64), np.asarray(store.word_starts[first:end])
        # A word of one token: it starts a word, and so does what follows it. The last token is a mark.
        words = [place for place in range(1, len(ids) - 2) if starts[place] and starts[place + 1]]
        if words:
            found.append((ids, words[keyed_random.scalar("fill word", int(sentence)) % len(words)]))
        if len(found) == count:
            break
    return found
