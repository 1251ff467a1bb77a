"""The task of a model in a Hugging Face folder: ``plmtrain.json`` says which texts it reads.

config.json names the labels, but not whether a row is of one text or of a pair, which transformers leaves to its users; nor does
it tell a model that translates from one that was only pretrained.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from plmtrain import tasks
from plmtrain.errors import SettingsError, nearest
from plmtrain.files import write_json_atomically
from plmtrain.interop.folder import own_file, read_json
from plmtrain.interop.model import Model
from plmtrain.settings.base import MOST_PLACES
from plmtrain.settings.lookup import task_classes
from plmtrain.settings.tasks.base import SentenceTaskSettings, TaskSettings
from plmtrain.settings.tasks.classification import ClassificationSettings
from plmtrain.settings.taught_task import TaughtTaskSettings

NAME = "plmtrain.json"

_OF_TRAINING = frozenset(
    (
        "hub revision subset folder train_split validation_split metrics dropout lm_weight class_weights label_counts "
        "label_smoothing soft_weight hard_weight group negative_label"
    ).split()
)
"""The settings of a task that say nothing of what its model reads and answers."""

_OF_TEACHING = frozenset({"temperature"})
"""Those of a task that may learn from a teacher; where texts are written, the same name is of sampling."""


def write(folder: Path, task: TaskSettings, sequence_length: int | None = None) -> None:
    """Write what a task's model reads and answers: the columns of its texts, and its labels or bounds.

    Args:
        folder: the folder.
        task: its settings.
        sequence_length: the tokens of a row that the model was trained on, which decide where texts are cut, and where windows
            begin; None if unknown.

    Raises:
        DiskError: if the disk refuses.
    """
    values = {"task": task.model_dump(mode="json", exclude=set(_unsaid(type(task))))}
    write_json_atomically(folder / NAME, values | ({} if sequence_length is None else {"sequence_length": sequence_length}))


def _unsaid(kind: type[TaskSettings]) -> frozenset[str]:
    return _OF_TRAINING | _OF_TEACHING if issubclass(kind, TaughtTaskSettings) else _OF_TRAINING


def task_of(model: Model, folder: Path, texts: tuple[str, ...] = ()) -> TaskSettings | None:
    """Return the task of the model in a folder, possibly a stranger's; None if it is not a model of any task.

    Args:
        model: read from the folder.
        folder: the folder.
        texts: the columns of the texts, in place of those that the folder names.

    Raises:
        SettingsError: if it is not known how many texts a row of the model has, or if what the folder says is not true.
    """
    made = tasks.of_heads(model.heads.keys(), model.labels)
    if model.multi_label and isinstance(made, ClassificationSettings):
        made = ClassificationSettings(name=made.name, text=made.text, labels=made.labels, multi_label=True)
    reads_texts = isinstance(made, SentenceTaskSettings)
    if texts and not reads_texts:
        raise SettingsError("there is no classifier of texts here", f"--texts {','.join(texts)}", "omit it")
    if made is None:
        stated = None if model.heads else _stated(folder)
        if stated is None or model.settings.family not in stated.families:
            return None
        stated = stated.of_family(model.settings.published)
        return None if stated.has_head else stated
    task = _stated(folder)
    if task is None and reads_texts and not texts:
        what = "the folder does not say whether its classifier reads one text or two"
        remedy = "say it: plmtrain import HF_FOLDER FOLDER --texts text, or --texts text,text_pair for pairs"
        raise SettingsError(what, str(folder), remedy)
    if task is not None and any(
        getattr(task, key, None) != getattr(made, key, None) for key in ("type", "labels", "multi_label")
    ):
        what = f"{NAME} describes another classifier than config.json"
        raise SettingsError(what, str(folder / NAME), "remove it, and import the folder again")
    task = task or made
    return task.model_copy(update={"text": texts}) if texts else task


def _stated(folder: Path) -> TaskSettings | None:
    """Return the task that a folder states; None if it states none.

    Raises:
        SettingsError: if its file cannot be understood.
    """
    path = own_file(folder, NAME)
    if not path.is_file():
        return None
    values, known = read_json(path).get("task"), task_classes()
    kind = values.get("type") if isinstance(values, dict) else None
    if not isinstance(values, dict) or not isinstance(kind, str) or kind not in known:
        raise SettingsError(f"there is no type of task {kind!r:.80}", str(path), nearest(str(kind), known))
    try:
        unsaid = _unsaid(known[kind])
        return known[kind].model_validate({key: value for key, value in values.items() if key not in unsaid})
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(("task", *map(str, first["loc"])))
        raise SettingsError(f"{key}: {first['msg']}", str(path), "remove the file, and import the folder with --texts") from None


def sequence_length_in(folder: Path) -> int | None:
    """Return the tokens of a row that a folder's model was trained on; None if the folder does not say.

    Raises:
        SettingsError: if it says something else than a number of tokens.
    """
    path = own_file(folder, NAME)
    length = read_json(path).get("sequence_length") if path.is_file() else None
    if length is None or (isinstance(length, int) and not isinstance(length, bool) and 2 < length <= MOST_PLACES):
        return length
    what = f"sequence_length is {length!r:.40}, and a number of tokens was expected"
    raise SettingsError(what, str(path), "remove it from the file")
