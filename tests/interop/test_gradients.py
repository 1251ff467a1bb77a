"""Each class of transformers and its parts of ours: the same scores, losses and gradients from the same weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
import transformers
from support.strangers import CLASSES, stranger
from torch import Tensor, nn
from torch.nn import functional

from plmtrain.interop import hugging_face
from plmtrain.interop.inputs import inputs_of
from plmtrain.interop.model import outputs

OUTPUTS = {
    "prediction_logits": "a language-model head",
    "seq_relationship_logits": "a head for pairs of sentences",
    "sop_logits": "a head for pairs of sentences",
    "last_hidden_state": "a backbone",
    "pooler_output": "a pooler",
}


def example(name: str, vocabulary: int) -> tuple[Tensor, dict[str, Tensor]]:
    """Rows of several lengths, padded on the side that the class expects, with an end; both segments where there are two."""
    generator = torch.Generator().manual_seed(5)
    lengths = torch.tensor([15, 7, 2])
    mask = (torch.arange(15)[None] < lengths[:, None]).long()
    ids = torch.randint(5, vocabulary, mask.shape, generator=generator)
    ids[torch.arange(3), lengths - 1] = 1 if name.startswith("XLM") else 2
    pad = {"Rob": 1, "Bar": 1, "XLM": 2, "XLN": 5, "GPT": vocabulary - 1}.get(name[:3], 0)
    ids = torch.where(mask.bool(), ids, pad)
    segments = torch.randint(0, 2, mask.shape, generator=generator)
    if name.startswith("XLNet"):
        ids, mask = ids.flip(1), mask.flip(1)
    inputs = {"attention_mask": mask}
    if name == "XLMWithLMHeadModel":
        inputs["langs"] = torch.randint(0, 3, mask.shape, generator=generator)
    if name.startswith("T5"):
        inputs["decoder_input_ids"] = ids.roll(1, dims=0)
    return ids, inputs if name[:3] in ("Rob", "Bar", "Dis", "XLM", "GPT", "Ope", "T5F") else {
        **inputs,
        "token_type_ids": segments,
    }


def loss_of(scores: Tensor, real: Tensor) -> Tensor:
    """A loss that knows nothing of padding."""
    if scores.shape[:2] == real.shape:
        scores = scores[real]
    if scores.ndim == 1:
        return functional.binary_cross_entropy_with_logits(scores, (torch.arange(len(scores)) % 2).float())
    return functional.cross_entropy(scores, torch.arange(len(scores)) * 7 % scores.shape[-1])


def ours_for(key: str, found: Mapping[str, Tensor]) -> Tensor:
    """Our scores that an output of theirs is compared with: ``logits`` are those of the one head that there is."""
    if key in OUTPUTS:
        return found[OUTPUTS[key]]
    (scores,) = (scores for part, scores in found.items() if part not in ("a backbone", "a pooler"))
    return scores


@pytest.mark.parametrize("name", CLASSES)
def test_scores_losses_and_gradients(name: str, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    stranger(tmp_path, name)
    theirs: nn.Module = getattr(transformers, name).from_pretrained(tmp_path, attn_implementation="eager").eval()
    read = hugging_face.read(tmp_path)
    ids, given = example(name, theirs.config.vocab_size)
    real = given["attention_mask"].bool()
    expected = {key: value for key, value in theirs(ids, **given).items() if key == "logits" or key in OUTPUTS}
    if "ForPreTraining" in name and "Electra" not in name:
        assert len(expected) == 2
    found = outputs(read, inputs_of(read.settings, theirs.config.vocab_size, read.roles, ids, given))

    allowed = 1e-4 if name.startswith("XLNet") else 1e-5
    total, same = torch.zeros(()), torch.zeros(())
    for key, value in expected.items():
        ours = ours_for(key, found)
        assert ours.shape == value.shape
        scale = value.abs().max().clamp(min=1)
        difference = (ours - value)[real] if value.shape[:2] == real.shape else ours - value
        assert difference.abs().max() / scale < allowed, key
        total, same = total + loss_of(value, real), same + loss_of(ours, real)
    assert abs(total - same) < allowed * total

    total.backward()
    same.backward()
    prefix = read.family.prefix
    gradients: dict[str, Tensor] = {}
    heads = [(head, read.family.heads[kind].names) for kind, head in read.heads.items()]
    for module, names in ((read.backbone, read.family.backbone(read.settings)), *heads):
        for ours_named, source in names.items():
            gradient = module.get_parameter(ours_named).grad
            if gradient is not None:
                parts = source.split(gradient)
                gradients |= {one.removeprefix(prefix): part for one, part in zip(source.names, parts, strict=True)}
    for key, parameter in theirs.named_parameters():
        if parameter.grad is not None:
            scale = parameter.grad.abs().max().clamp(min=1)
            difference = gradients.pop(key.removeprefix(prefix)) - parameter.grad
            assert difference.abs().max() / scale < allowed, key
    assert not any(gradient.any() for gradient in gradients.values())
