"""transformers' GPT-2 in a tiny shape with every parameter drawn, and ours read from the folder that it saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from plmtrain.backbones.decoder import Decoder
from plmtrain.interop import hugging_face

VOCABULARY, POSITIONS, END = 97, 48, 96


def twins(folder: Path, **changes: Any) -> tuple[nn.Module, Decoder]:
    """transformers' ``GPT2LMHeadModel`` and our backbone, both in eval mode.

    Args:
        folder: where the first is saved, and the second read from.
        changes: keys of the config.json.
    """
    import transformers

    shape = {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": POSITIONS, "vocab_size": VOCABULARY}
    special = {"bos_token_id": END, "eos_token_id": END, "pad_token_id": END}
    config = transformers.GPT2Config(**{**shape, **special, **changes}, attn_implementation="eager")
    theirs = transformers.GPT2LMHeadModel(config).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for index, parameter in enumerate(theirs.parameters()):
            spread = 0.05 + 0.2 * (index % 6) / 5
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * spread)
        # Random weights repeat one token for ever, unless a state depends on its position.
        theirs.transformer.wpe.weight *= 8
    theirs.save_pretrained(folder)
    ours = hugging_face.read(folder).backbone.eval()
    assert isinstance(ours, Decoder)
    return theirs, ours
