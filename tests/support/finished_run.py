"""A run's folder as training leaves it, without the training: every parameter random, a tokenizer of a few words."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch
from torch import nn

from plmtrain import backbones
from plmtrain.settings.composing.compose import compose
from plmtrain.settings.decode import run_settings
from plmtrain.settings.kinds import FINETUNE, PRETRAIN
from plmtrain.settings.tokenizer import TokenizerSettings
from plmtrain.text.tokenizer import Tokenizer
from plmtrain.text.tokenizer_training import train
from plmtrain.training.checkpoint_manifest import Identity
from plmtrain.training.progress import Progress
from plmtrain.training.restore import program_of
from plmtrain.training.run_folder import RunFolder

SHAPE = "model.layers=2 model.width=24 model.heads=3 model.feed_forward=40 model.positions=40 trainer.sequence_length=32".split()
STEP = 7

TEXTS = (
    "The low fog lay over the lower town, and the lowest houses could not be seen from the newest road at all.",
    "She said that it was the widest river; he said nothing, and went on counting the wild geese.",
    "Reading is to the mind what walking is to the body: walking, talking and writing are never wasted.",
    "Café and Zürich have marks, don't they? 1,234.5 miles!",
)


@cache
def tokenizer_for(settings: TokenizerSettings) -> Tokenizer:
    """A tokenizer trained on the texts above."""
    return train(TEXTS, settings.model_copy(update={"vocab_size": 400}))


def randomised(model: nn.Module, seed: int = 0) -> nn.Module:
    """The model with every parameter drawn: fresh biases are 0 and norms the identity, which hides swapped tensors."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for index, parameter in enumerate(model.parameters()):
            std = 0.15 + 0.3 * (index % 6) / 5
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * std)
    return model.eval()


def finished_run(path: Path, system: Sequence[str], overrides: Sequence[str] = SHAPE) -> None:
    """Write a run's folder.

    Args:
        path: where to.
        system: the model, and the objective or the task, as overrides.
        overrides: further settings, if the system does not give them.
    """
    tuned = any(one.startswith("task=") for one in system)
    kind = FINETUNE if tuned else PRETRAIN
    source = ["data.files=[train.tsv]"] if tuned else ["data=sample"]
    settings = run_settings(compose([*overrides, *source, "trainer.steps=10", *system], None, kind.primary), kind)
    tokenizer = tokenizer_for(settings.tokenizer)
    program = program_of(settings, tokenizer.vocabulary)
    learner = randomised(program.build(lambda model: backbones.build(model, tokenizer.vocabulary.size)))
    folder = RunFolder(path).create()
    folder.write_config({**settings.model_dump(mode="json"), "resolved": {"precision": "fp32", "device": "cpu"}})
    tokenizer.save(folder.tokenizer_path)
    with folder.metrics() as metrics:
        for step in range(1, 10):
            metrics.write({"step": step, "loss": 9.0 - step, "lr": 0.1, **({"val/loss": 8.5} if step == 5 else {})})
    folder.checkpoints(1, Identity("finished")).save(STEP, {"model": learner.state_dict()}, Progress(step=STEP))
