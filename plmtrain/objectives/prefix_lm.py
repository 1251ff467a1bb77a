"""Prefix language modelling: continue a text whose prefix is read in both directions (Raffel et al. 2020, sections 3.2.1, 3.3.1).

The length of the prefix is uniform, and at least one token is predicted. In a decoder the positions of the prefix see each other,
and those after it all before them; the loss is of the tokens after the prefix. With an encoder-decoder the encoder reads the
prefix.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from plmtrain.batch import Batch, Inputs, Layout
from plmtrain.corruption.noise_spans import suffixes
from plmtrain.corruption.sentinels import cut_out, kept
from plmtrain.errors import SettingsError
from plmtrain.keyed_random import row_bits
from plmtrain.programs.causal import CausalProgram
from plmtrain.programs.inspection import Inspection, Shown
from plmtrain.programs.program import RowShape
from plmtrain.programs.text_to_text.program import TextToText
from plmtrain.programs.text_to_text.texts import FlatRows, TextPair
from plmtrain.programs.text_to_text.writing import Completing
from plmtrain.settings.objectives.prefix_lm import PrefixLMSettings

if TYPE_CHECKING:
    from plmtrain.data.rows.rows import Rows
    from plmtrain.keyed_random import Keys

_DRAWN = "prefix"
"""The purpose of the random numbers from which the lengths of prefixes follow."""


class DecoderPrefixLM(CausalProgram[PrefixLMSettings]):
    """Continue a prefix whose tokens see each other."""

    kinds = frozenset({"decoder"})
    terms = ("prefix_lm",)
    has_perplexity = True
    sees_prompt = True

    def collate(self, rows: Rows, keys: Keys) -> Batch:
        count, length = len(rows), rows.tokens.shape[1] - 1
        predicted = suffixes(np.full(count, length + 1), row_bits(_DRAWN, keys)).reshape(count, length + 1)
        at = np.flatnonzero(predicted[:, 1:])  # a token is predicted at the position before it
        return Batch(
            inputs=Inputs(
                ids=torch.from_numpy(np.ascontiguousarray(rows.tokens[:, :-1])),
                layout=Layout(
                    documents=None if rows.documents is None else torch.from_numpy(rows.documents[:, 1:]),
                    causal=True,
                    prefixes=torch.from_numpy(np.sum(~predicted, axis=1)),
                ),
            ),
            targets={"labels": torch.from_numpy(rows.tokens[:, 1:].reshape(-1)[at]), "positions": torch.from_numpy(at)},
            samples=torch.from_numpy(keys.samples),
            normalisers={"prefix_lm": float(len(at))},
        )

    def inspect(self, batch: Batch) -> Inspection:
        assert batch.layout.prefixes is not None
        ids, prefixes = batch.inputs.ids.numpy(), batch.layout.prefixes.tolist()
        labels = np.split(batch.targets["labels"].numpy(), np.cumsum(ids.shape[1] + 1 - np.array(prefixes))[:-1])
        rows = [
            Shown({"prefix": self.marked(read[:prefix], "plain"), "target": self.marked(predicted, "target")})
            for read, prefix, predicted in zip(ids, prefixes, labels, strict=True)
        ]
        whole = ids.shape[0] * (ids.shape[1] + 1)
        return Inspection(
            rows=rows,
            rates={"predicted": (whole - sum(prefixes), whole)},
            notes=["The positions of the prefix see each other; the last of them predicts the first target."],
        )


class EncoderDecoderPrefixLM(TextToText[PrefixLMSettings]):
    """Continue a prefix that the encoder reads."""

    kinds = frozenset({"encoder_decoder"})
    terms = ("prefix_lm",)
    continues = True

    def row_shape(self, sequence_length: int) -> RowShape:
        """Return the shape of the text that is divided.

        Raises:
            SettingsError: if a row is too short to be divided.
        """
        shape = super().row_shape(sequence_length)
        if shape.length < 2:
            what = f"a row of {sequence_length} tokens is too short for a prefix and its continuation"
            remedy = f"trainer.sequence_length must be at least {2 + self.format.framing}"
            raise SettingsError(what, f"objective={self.settings.name}", remedy)
        return shape

    def texts(self, rows: FlatRows, keys: Keys) -> TextPair:
        predicted = suffixes(rows.lengths, row_bits(_DRAWN, keys))
        written = cut_out(rows.ids, rows.lengths, predicted, None)
        read = kept(rows.ids, rows.lengths, predicted, None)
        return TextPair(read=read, written=written, unseen=np.ones(len(written.ids), np.bool_))

    @cached_property
    def answering(self) -> Completing:
        return Completing(self)
