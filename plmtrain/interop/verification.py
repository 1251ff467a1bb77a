"""Verification of written files: they are read again into fresh modules, and the outputs of both are compared."""

from __future__ import annotations

import numpy as np
import torch

from plmtrain import keyed_random
from plmtrain.batch import Inputs, Layout
from plmtrain.errors import CheckpointError
from plmtrain.interop.model import Model, outputs
from plmtrain.keyed_random import Keys
from plmtrain.settings.models.bilstm import BiLSTMSettings
from plmtrain.text.spelling import MOST_BYTES, characters

_ROWS = 4
_LENGTH = 48
_DRAWN = "rows that verify an export"


def random_inputs(model: Model, pad: int) -> Inputs:
    """Draw rows of random tokens of different lengths, with all segments of the model; the same rows in every process.

    Args:
        model: the model that reads them.
        pad: the padding's id.
    """
    length = min(_LENGTH, model.settings.positions)
    keys = Keys(0, np.zeros(_ROWS, np.int64), np.arange(_ROWS))
    real = np.arange(length) < np.array([[length], [max(1, length // 2)], [1], [max(1, length - 1)]])  # [rows, length]
    spellings = None
    tokens = model.backbone.vocabulary_size
    if isinstance(model.settings, BiLSTMSettings):
        # Any bytes: longer words than fit, and one without a letter.
        tokens = length
        lengths = np.arange(tokens)
        letters = keyed_random.integers(f"{_DRAWN}, letters", Keys(0, lengths * 0, lengths), MOST_BYTES, 255) + 1
        words = np.where(np.arange(MOST_BYTES) < lengths[:, None], letters, 0).astype(np.uint8)
        spellings = torch.from_numpy(characters(words, model.settings.characters))
    ids = keyed_random.integers(_DRAWN, keys, length, tokens)
    # Two-stream models compare segments without a table of them.
    segments = 2 if model.settings.kind == "two_stream" else getattr(model.settings, "segment_rows", 0)
    rows = torch.from_numpy(np.where(real, ids, pad))
    return Inputs(
        ids=rows,
        layout=Layout.of(real),
        segments=torch.from_numpy(keyed_random.integers(f"{_DRAWN}, segments", keys, length, segments)) if segments > 1 else None,
        spellings=spellings,
        spelling_rows=None if spellings is None else rows,
        decoder=Inputs(ids=rows, layout=Layout(causal=True)) if model.settings.kind == "encoder_decoder" else None,
    )


@torch.no_grad()
def verify(read: Model, written: Model, original: Model, pad: int, tolerance: float, place: str) -> float:
    """Compare a model that was read back with the one that was written: all tensors, and the scores for the same rows.

    Args:
        read: the model read from the files.
        written: the model whose tensors were written; it may have further heads, which the files cannot hold.
        original: computes the same; its table of positions may begin elsewhere.
        pad: the padding's id.
        tolerance: the largest difference of a score from the original's.
        place: of the files, for messages.

    Returns:
        The largest difference of any hidden state or score.

    Raises:
        CheckpointError: if a tensor or a score differs.
    """
    for name, module in read.modules.items():
        expected = written.modules[name].state_dict()
        actual = module.state_dict()
        wrong = sorted(actual.keys() ^ expected.keys())
        wrong += [
            key for key in sorted(actual.keys() & expected.keys()) if not torch.equal(actual[key], expected[key].float().cpu())
        ]
        if wrong:
            raise CheckpointError(f"{name} changed when it was written: {', '.join(wrong[:4])}", place, "the folder was removed")
    inputs = random_inputs(original, pad)
    expected, actual = outputs(original, inputs), outputs(read, inputs)
    differences = {name: float((scores - expected[name]).abs().max()) for name, scores in actual.items()}
    for name, difference in differences.items():
        if not difference <= tolerance:  # a difference of NaN fails too
            raise CheckpointError(
                f"{name} differs when it is read back: by {difference:.1e}, {tolerance:.0e} allowed",
                place,
                "the folder was removed",
            )
    return max(differences.values())
