"""transformers' T5 in a tiny shape with every parameter drawn, and ours, read from the folder that theirs was saved in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from plmtrain.interop import hugging_face
from plmtrain.interop.hugging_face import HuggingFaceModel

VOCABULARY = 97
VERSIONS: dict[str, dict[str, Any]] = {
    "1.0": {},
    "1.1": {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False, "num_decoder_layers": 1},
}
"""What tells the two versions apart; and a decoder of fewer layers than the encoder."""


def twins(folder: Path, version: str = "1.0", std: float = 0.25) -> tuple[nn.Module, HuggingFaceModel]:
    """transformers' ``T5ForConditionalGeneration`` and our model, both in eval mode. The ids of special tokens are BART's."""
    import transformers

    config = transformers.T5Config(
        vocab_size=VOCABULARY,
        d_model=32,
        d_kv=12,
        d_ff=48,
        num_layers=2,
        num_heads=4,
        relative_attention_max_distance=24,  # less than a row, so that every bucket is used
        pad_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=2,
        attn_implementation="eager",
        **VERSIONS[version],
    )
    theirs = transformers.T5ForConditionalGeneration(config)
    if version == "1.1":  # transformers 5 ties what is not told apart by a file
        theirs.lm_head.weight = nn.Parameter(torch.empty(VOCABULARY, 32))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for index, parameter in enumerate(theirs.parameters()):
            spread = 0.05 + std * (index % 6) / 5
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * spread)
    theirs.save_pretrained(folder)
    return theirs.eval(), hugging_face.read(folder)
