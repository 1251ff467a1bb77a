"""The weights that a run starts from: the backbone of another run, or of a Hugging Face folder."""

from __future__ import annotations

import hashlib
from pathlib import Path

from plmtrain.backbones import Backbone
from plmtrain.errors import SettingsError
from plmtrain.files import sha256
from plmtrain.settings.models.base import ModelSettings
from plmtrain.training.restore import is_run, load_run
from plmtrain.training.run_folder import RunFolder


def model_settings(folder: Path) -> ModelSettings:
    """The shape of the model in a Hugging Face folder.

    Raises:
        SettingsError: if it holds no model that we have.
        CheckpointError: if its weights cannot be used.
    """
    from plmtrain.interop import hugging_face

    return hugging_face.read(folder).settings


def weights_digest(folder: Path) -> str:
    """The digest of the weights in a run's or a Hugging Face folder.

    Raises:
        SettingsError: if there are none.
    """
    if is_run(folder):
        checkpoint = RunFolder(folder).checkpoints().newest()
        if checkpoint is None:
            raise SettingsError("the run has no checkpoint to start from", str(folder), "train it first")
        return checkpoint.manifest.files["model.safetensors"][1]
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise SettingsError("there are no weights to start from", f"init={folder}", "name a run or a Hugging Face folder")
    return hashlib.sha256("".join(sha256(file) for file in files).encode()).hexdigest()


def load_backbone(folder: Path, backbone: Backbone) -> None:
    """Give a backbone the weights of another one of the same shape.

    Raises:
        SettingsError: if the shapes differ; it names the tensors.
        CheckpointError: if the weights cannot be used.
    """
    if is_run(folder):
        trained = load_run(folder)
        source = trained.program.backbone_of(trained.learner)
    else:
        from plmtrain.interop import hugging_face

        source = hugging_face.read(folder).backbone
    ours, theirs = backbone.state_dict(), source.state_dict()
    wrong = [
        f"{name} is {list(theirs[name].shape) if name in theirs else 'missing'}, not {list(tensor.shape)}"
        for name, tensor in ours.items()
        if name not in theirs or theirs[name].shape != tensor.shape
    ]
    wrong += [f"{name} has no place" for name in theirs.keys() - ours.keys()]
    if wrong:
        raise SettingsError(
            "the weights to start from are of another shape",
            f"init={folder}: {'; '.join(sorted(wrong)[:4])}",
            "choose the same model, size and tokenizer",
        )
    backbone.load_state_dict(theirs)
