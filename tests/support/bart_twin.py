"""transformers' BART in a tiny shape with every parameter drawn, and ours with the same weights, copied by name."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from plmtrain.backbones.encoder_decoder import EncoderDecoder
from plmtrain.interop.families.bart import FAMILY
from plmtrain.interop.placing import named_tensors
from plmtrain.settings.models.encoder_decoder import EncoderDecoderSettings

VOCABULARY, POSITIONS = 97, 40


def twins(layers: int = 2, std: float = 0.25, decoder_layers: int | None = None) -> tuple[nn.Module, EncoderDecoder]:
    """transformers' ``BartForConditionalGeneration`` and our backbone, both in eval mode."""
    import transformers

    config = transformers.BartConfig(
        vocab_size=VOCABULARY,
        d_model=32,
        encoder_layers=layers,
        decoder_layers=decoder_layers or layers,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        max_position_embeddings=POSITIONS,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=2,
        attn_implementation="eager",
    )
    theirs = transformers.BartForConditionalGeneration(config).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for index, parameter in enumerate(theirs.parameters()):
            spread = 0.05 + std * (index % 6) / 5
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * spread)
    shape = {"layers": layers, "decoder_layers": decoder_layers, "width": 32, "heads": 4, "feed_forward": 48}
    settings = EncoderDecoderSettings(name="twin", positions=POSITIONS, **shape)
    ours = EncoderDecoder(settings, VOCABULARY).eval()
    ours.load_state_dict(renamed(theirs.state_dict(), ours))
    return theirs, ours


def twin_of(ours: EncoderDecoder, roles: Mapping[str, int]) -> nn.Module:
    """transformers' model in eval mode with the weights of ours, for a vocabulary with these special tokens."""
    import transformers

    shape = FAMILY.config(ours.settings) | {"vocab_size": ours.vocabulary_size, "decoder_start_token_id": roles["sep"]}
    special = {"pad_token_id": roles["pad"], "bos_token_id": roles["cls"], "eos_token_id": roles["sep"]}
    theirs = transformers.BartForConditionalGeneration(transformers.BartConfig(**shape, **special)).eval()
    names = named_tensors(ours, FAMILY.backbone(ours.settings))
    theirs.load_state_dict({f"model.{name}": tensor for name, tensor in names.items()}, strict=False)
    return theirs


def renamed(theirs: dict[str, torch.Tensor], ours: EncoderDecoder) -> dict[str, torch.Tensor]:
    """Their tensors, weights or gradients, under our names."""
    return {name: torch.cat([theirs[f"model.{part}"] for part in parts(name)]) for name in ours.state_dict()}


def parts(name: str) -> list[str]:
    """The tensors of theirs that one of ours consists of."""
    if name == "token.weight":
        return ["shared.weight"]
    side, rest = name.split(".", 1)
    kind = name.rpartition(".")[2]
    if rest.startswith("embeddings."):
        place = {"position": "embed_positions", "norm": "layernorm_embedding"}[rest.split(".")[1]]
        return [f"{side}.{place}.{kind}"]
    _, layer, *within = rest.split(".")
    table = {
        "attention.query_key_value": ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
        "attention.output": ["self_attn.out_proj"],
        "attention_norm": ["self_attn_layer_norm"],
        "cross_attention.query": ["encoder_attn.q_proj"],
        "cross_attention.key_value": ["encoder_attn.k_proj", "encoder_attn.v_proj"],
        "cross_attention.output": ["encoder_attn.out_proj"],
        "cross_attention_norm": ["encoder_attn_layer_norm"],
        "feed_forward_in": ["fc1"],
        "feed_forward_out": ["fc2"],
        "feed_forward_norm": ["final_layer_norm"],
    }
    return [f"{side}.layers.{layer}.{part}.{kind}" for part in table[".".join(within[:-1])]]


def example(rows: int = 4, length: int = 17, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Framed ids of several lengths, and their attention mask."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.tensor([length, 9, 3, 13])[:rows]
    mask = torch.arange(length)[None] < lengths[:, None]
    ids = torch.randint(4, VOCABULARY, mask.shape, generator=generator)
    ids[:, 0] = 0
    ids[torch.arange(rows), lengths - 1] = 2
    return torch.where(mask, ids, 1), mask.long()
