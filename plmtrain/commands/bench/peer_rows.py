"""The rows of a run as transformers' Trainer reads them: the same tokens, and the collator that makes its batches of them.

Where transformers has a collator (masked, causal and permutation language models), it gets the rows as they are. For an
encoder-decoder it has none that hides tokens: it gets the two texts of each row as plmtrain made them, without that time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from plmtrain.batch import Batch
from plmtrain.data.rows.framing import framed, framed_pairs
from plmtrain.data.rows.pair_rows import PairRows
from plmtrain.data.rows.rows import Rows
from plmtrain.errors import SettingsError
from plmtrain.keyed_random import Keys
from plmtrain.objectives.bart import Bart
from plmtrain.objectives.clm import CausalLM
from plmtrain.objectives.masked_lm import MaskedLM
from plmtrain.objectives.nsp import NextSentence
from plmtrain.objectives.plm import PermutationLM
from plmtrain.objectives.sop import SentenceOrder
from plmtrain.objectives.span_mlm import SpanMLM
from plmtrain.programs.program import AnyProgram
from plmtrain.programs.text_to_text.program import TextToText

Collator = Literal["masked", "causal", "permuted", "written"]

IGNORED = -100
"""The label of a position without a prediction, in transformers."""


@dataclass(frozen=True)
class Column:
    """The content of rows under one name: some numbers for each row, or one.

    Args:
        values: [rows, length] or [rows].
        lengths: [rows] how many of its row's numbers count; None for one number a row.
    """

    values: NDArray[np.int64]
    lengths: NDArray[np.int64] | None = None


def collator_for(program: AnyProgram) -> Collator:
    """Return the collator of transformers that makes the batches of a program.

    Raises:
        SettingsError: if transformers' Trainer has nothing to compare with.
    """
    for kinds, collator, _ in _KINDS:
        if isinstance(program, kinds):
            return collator
    raise SettingsError(
        f"transformers' Trainer has nothing like objective={program.settings.name}",
        "against=transformers",
        "compare an objective of its own, such as dynamic_mlm, clm, plm, nsp, span_corruption or bart, or omit against=",
    )


def columns_for(program: AnyProgram, rows: Rows, keys: Keys) -> Mapping[str, Column]:
    """Return what transformers reads of some rows.

    Args:
        program: one that ``collator_for`` accepts.
        rows: of the run.
        keys: of their noise.
    """
    return next(make for kinds, _, make in _KINDS if isinstance(program, kinds))(program, rows, keys)


def _masked(program: Any, rows: Rows, keys: Keys) -> dict[str, Column]:
    whole = framed(rows, program.format, program.vocabulary)
    return {"input_ids": Column(whole.ids, whole.lengths)}


def _pairs(program: Any, rows: Rows, keys: Keys) -> dict[str, Column]:
    assert isinstance(rows, PairRows)
    assert rows.labels is not None
    whole = framed_pairs(rows, program.format, program.vocabulary)
    label = "sentence_order_label" if isinstance(program, SentenceOrder) else "next_sentence_label"
    return {
        "input_ids": Column(whole.ids, whole.lengths),
        "token_type_ids": Column(whole.segments, whole.lengths),
        label: Column(rows.labels),
    }


def _inputs(program: Any, rows: Rows, keys: Keys) -> dict[str, Column]:
    return {"input_ids": _read(program.collate(rows, keys))}


def _written(program: Any, rows: Rows, keys: Keys) -> dict[str, Column]:
    batch = program.collate(rows, keys)
    assert batch.inputs.decoder is not None
    labels = np.full(batch.inputs.decoder.ids.shape, IGNORED, np.int64)
    at = batch.targets["positions"].numpy() if "positions" in batch.targets else np.arange(labels.size)
    labels.reshape(-1)[at] = batch.targets["labels"].numpy()
    return {"input_ids": _read(batch), "labels": Column(labels, (labels != IGNORED).sum(axis=1))}


def _read(batch: Batch) -> Column:
    ids, real = batch.inputs.ids.numpy(), batch.layout.tokens
    return Column(ids, np.full(len(ids), ids.shape[1]) if real is None else real.numpy().sum(axis=1))


Make = Callable[[Any, Rows, Keys], Mapping[str, Column]]

_KINDS: tuple[tuple[tuple[type[AnyProgram], ...], Collator, Make], ...] = (
    ((MaskedLM, SpanMLM), "masked", _masked),
    ((NextSentence, SentenceOrder), "masked", _pairs),
    ((CausalLM,), "causal", _inputs),
    ((PermutationLM,), "permuted", _inputs),
    ((Bart, TextToText), "written", _written),
)
