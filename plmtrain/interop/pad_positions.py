"""Position tables that begin where transformers' class looks for them: RoBERTa's counts from the row after the padding's id."""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
from torch import nn

from plmtrain.backbones.encoder import Encoder
from plmtrain.interop.model import Model
from plmtrain.nn.embeddings import Embeddings


def counted_from(model: Model, pad: int | None) -> Model:
    """Return a model that computes the same, with as many unused rows in its position table as transformers' class skips.

    Args:
        model: a model of any family; one whose positions do not depend on padding is returned as it is.
        pad: the padding token's id; None if the tokenizer has none.
    """
    backbone = model.backbone
    if pad is None or not isinstance(backbone, Encoder) or not backbone.settings.published.counts_from_pad:
        return model
    if backbone.settings.position_offset == pad + 1:
        return model
    moved = copy.deepcopy(backbone)
    assert isinstance(moved.embeddings, Embeddings)
    used = moved.embeddings.position.weight.detach()[moved.settings.position_offset :]
    table = torch.cat([used.new_zeros(pad + 1, used.shape[1]), used])
    moved.embeddings.position = nn.Embedding(*table.shape)
    moved.embeddings.position.weight = nn.Parameter(table)
    moved.embeddings.position_offset = pad + 1
    moved.settings = moved.settings.model_copy(update={"position_offset": pad + 1})
    return replace(model, backbone=moved)
