"""Initial weights of a run: the backbone of another run, or of a Hugging Face folder."""

from __future__ import annotations

import hashlib
from pathlib import Path

from torch import nn

from plmtrain.backbones import Backbone
from plmtrain.errors import SettingsError
from plmtrain.files import sha256
from plmtrain.interop.folder import read_json
from plmtrain.settings.identity import RESOLVED
from plmtrain.training.restore import is_run, load_run, result_of
from plmtrain.training.run_folder import RunFolder


def weights_digest(folder: Path) -> str:
    """Return the digest of the weights in the folder of a run or a Hugging Face model.

    Raises:
        SettingsError: if there are none.
    """
    if is_run(folder):
        run = RunFolder(folder)
        checkpoint = result_of(run, decides="task" in run.config())
        if checkpoint is None:
            raise SettingsError("the run has no checkpoint to start from", str(folder), "train it first")
        return checkpoint.manifest.files["model.safetensors"][1]
    if not folder.is_dir():
        raise SettingsError("this folder does not exist", f"init={folder}", "name a run below runs/, or a Hugging Face folder")
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise SettingsError("there are no weights to start from", f"init={folder}", "name a run or a Hugging Face folder")
    return hashlib.sha256("".join(sha256(file) for file in files).encode()).hexdigest()


def token_rows(folder: Path, tokens: int) -> int:
    """Return the rows of the token embedding of a run or a Hugging Face folder; published models may have unused rows.

    Args:
        folder: the folder of either.
        tokens: the size of the vocabulary.
    """
    if is_run(folder):
        rows = (RunFolder(folder).config().get(RESOLVED) or {}).get("vocabulary")
    else:
        rows = read_json(folder / "config.json").get("vocab_size")
    return max(rows, tokens) if isinstance(rows, int) else tokens


def load_backbone(folder: Path, backbone: Backbone, pooler: nn.Linear | None = None) -> None:
    """Load the weights of another backbone of the same shape.

    Args:
        folder: a run or a Hugging Face folder.
        backbone: the backbone that receives the weights.
        pooler: receives the pooler's weights if the folder has them; None if the learner has no pooler.

    Raises:
        SettingsError: if the shapes differ; the message names the tensors.
        CheckpointError: if the weights cannot be used.
    """
    if is_run(folder):
        trained = load_run(folder)
        source = trained.learner.backbone
        summary = trained.program.parts.main.learner(trained.learner).pooler_layer
    else:
        from plmtrain.interop import hugging_face

        read = hugging_face.read(folder)
        source = read.backbone
        summary = read.pooler
    ours, theirs = backbone.state_dict(), source.state_dict()
    wrong = [
        f"{name} is {list(theirs[name].shape) if name in theirs else 'missing'}, not {list(tensor.shape)}"
        for name, tensor in ours.items()
        if name not in theirs or theirs[name].shape != tensor.shape
    ]
    wrong += [f"{name} is not in the model" for name in theirs.keys() - ours.keys()]
    if wrong:
        raise SettingsError(
            "the weights to start from have another shape",
            f"init={folder}: {'; '.join(sorted(wrong)[:4])}",
            "choose the same model, size and tokenizer",
        )
    backbone.load_state_dict(theirs)
    if pooler is not None and summary is not None:
        pooler.load_state_dict(summary.state_dict())
