"""Parameter counts of the published shapes, as transformers counts them (tied matrices once), on the meta device."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from plmtrain.backbones import build
from plmtrain.nn.heads import MaskedLMHead, Pooler, vocabulary_head
from plmtrain.settings.models.encoder import EncoderSettings

BASE = {"layers": 12, "width": 768, "heads": 12, "feed_forward": 3072}
LARGE = {"layers": 24, "width": 1024, "heads": 16, "feed_forward": 4096}


def _albert(layers: int, width: int, heads: int) -> dict[str, Any]:
    shape = {"layers": layers, "width": width, "heads": heads, "feed_forward": 4 * width, "embedding_width": 128}
    return shape | {"family": "albert", "shared_layers": True, "always_project": True, "activation": "gelu_tanh"}


def _roberta(shape: dict[str, Any]) -> dict[str, Any]:
    return shape | {"family": "roberta", "position_offset": 2, "segments": 1, "norm_eps": 1e-5}


ELECTRA_SMALL = {"family": "electra", "width": 256, "heads": 4, "feed_forward": 1024, "embedding_width": 128}
DISTILBERT = BASE | {"family": "distilbert", "layers": 6, "segments": 0}

TRUNK_AND_POOLER = [
    ("BERT-base uncased", BASE, 30522, 109_482_240),
    ("BERT-base cased", BASE, 28996, 108_310_272),
    ("BERT-large uncased", LARGE, 30522, 335_141_888),
    ("BERT-large cased", LARGE, 28996, 333_579_264),
    ("mBERT cased", BASE, 119547, 177_853_440),
    ("ALBERT base", _albert(12, 768, 12), 30000, 11_683_584),
    ("ALBERT large", _albert(24, 1024, 16), 30000, 17_683_968),
    ("ALBERT xlarge", _albert(24, 2048, 16), 30000, 58_724_864),
    ("ALBERT xxlarge", _albert(12, 4096, 64), 30000, 222_595_584),
]

TRUNK = [("DistilBERT uncased", DISTILBERT, 30522, 66_362_880)]

TRUNK_AND_HEAD = [
    ("BERT-base uncased", BASE, 30522, 109_514_298),
    ("BERT-base cased", BASE, 28996, 108_340_804),
    ("BERT-large uncased", LARGE, 30522, 335_174_458),
    ("BERT-large cased", LARGE, 28996, 333_610_308),
    ("mBERT cased", BASE, 119547, 177_974_523),
    ("RoBERTa-base", _roberta(BASE), 50265, 124_697_433),
    ("RoBERTa-large", _roberta(LARGE), 50265, 355_412_057),
    ("ELECTRA small generator as released", ELECTRA_SMALL | {"layers": 12}, 30522, 13_546_682),
    (
        "ELECTRA small generator of the paper",
        ELECTRA_SMALL | {"layers": 12, "width": 64, "heads": 1, "feed_forward": 256},
        30522,
        4_620_026,
    ),
    ("ELECTRA base generator", ELECTRA_SMALL | {"layers": 12, "embedding_width": 768}, 30522, 33_740_602),
    ("ELECTRA large generator", ELECTRA_SMALL | {"layers": 24, "embedding_width": 1024}, 30522, 51_295_290),
    ("DistilBERT uncased", DISTILBERT, 30522, 66_985_530),
    ("DistilBERT cased", DISTILBERT, 28996, 65_812_036),
]


def _count(shape: dict[str, Any], vocabulary: int, part: str) -> int:
    settings = EncoderSettings(name="counted", **shape)
    with torch.device("meta"):
        modules: list[torch.nn.Module] = [build(settings, vocabulary)]
        if part == "pooler":
            modules.append(Pooler(settings.width))
        if part == "head":
            embedded = settings.embedding_width or settings.width
            modules.append(MaskedLMHead(settings.width, embedded, vocabulary, settings.activation, settings.norm_eps))
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


@pytest.mark.parametrize(
    ("name", "shape", "vocabulary", "expected", "part"),
    [
        pytest.param(*row, part, id=f"{row[0]} with {part}".replace(" ", "-"))
        for part, rows in (("pooler", TRUNK_AND_POOLER), ("nothing", TRUNK), ("head", TRUNK_AND_HEAD))
        for row in rows
    ],
)
def test_count(name: str, shape: dict[str, Any], vocabulary: int, expected: int, part: str) -> None:
    assert _count(shape, vocabulary, part) == expected


@pytest.mark.parametrize(
    ("name", "languages", "vocabulary", "parameters"),
    [("15 languages", 15, 95_000, 249_071_384), ("English and German", 2, 64_699, 142_422_203)],
)
def test_xlm(name: str, languages: int, vocabulary: int, parameters: int) -> None:
    """The language-model head has a bias alone, and each language an embedding."""
    shape: dict[str, Any] = {"layers": 12 if languages > 2 else 6, "width": 1024, "heads": 8, "feed_forward": 4096}
    names = tuple(f"language{number}" for number in range(languages))
    settings = EncoderSettings(name="xlm", family="xlm", segments=0, languages=names, head_layer=False, **shape)
    with torch.device("meta"):
        modules = build(settings, vocabulary), vocabulary_head(settings, vocabulary)
    assert sum(parameter.numel() for module in modules for parameter in module.parameters()) == parameters
