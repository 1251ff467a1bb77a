"""README.md of an exported model: what it is, its training data, settings and metrics, and how to use it.

It is written for strangers: no path of the machine, nothing that looks like a secret, no name of a training file.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from plmtrain.console import counted
from plmtrain.data.shards.shard_files import LISTING
from plmtrain.errors import PlmtrainError
from plmtrain.files import read_text
from plmtrain.interop.folder import read_json
from plmtrain.interop.hugging_face import Saved
from plmtrain.interop.model import Model, called
from plmtrain.interop.publishing import PublishedFolder
from plmtrain.redaction import redact, redact_text
from plmtrain.settings.decode import settings_from_run
from plmtrain.settings.run import FinetuneSettings, RunSettings
from plmtrain.settings.tasks.base import SentenceTaskSettings, TaskSettings, TextTaskSettings, WordedTaskSettings
from plmtrain.settings.tasks.classification import ClassificationSettings
from plmtrain.settings.tasks.multiple_choice import MultipleChoiceSettings
from plmtrain.settings.tasks.question_answering import QuestionAnsweringSettings
from plmtrain.training.checkpoint_manifest import versions
from plmtrain.training.restore import TrainedRun, is_run
from plmtrain.training.run_folder import CONFUSION, HELD_OUT, REVIEW, RunFolder

_AUTO_CLASSES = {
    "ForMaskedLM": ("AutoModelForMaskedLM", "fill-mask"),
    "ForPreTraining": ("AutoModelForPreTraining", None),
    "ForSequenceClassification": ("AutoModelForSequenceClassification", "text-classification"),
    "ForTokenClassification": ("AutoModelForTokenClassification", "token-classification"),
    "ForMultipleChoice": ("AutoModelForMultipleChoice", None),
    "ForQuestionAnswering": ("AutoModelForQuestionAnswering", "question-answering"),
    "ForQuestionAnsweringSimple": ("AutoModelForQuestionAnswering", "question-answering"),
    "ForConditionalGeneration": ("AutoModelForSeq2SeqLM", "text2text-generation"),
    "LMHeadModel": ("AutoModelForCausalLM", "text-generation"),
}
"""By the end of a class's name, the class that loads it, and the hub's name for its use."""

_LISTED = 20
"""The most labels that are listed."""

_MOST_CONFUSED = 10
"""The most labels of a confusion matrix that is shown."""

_TRAINING = (
    "steps",
    "epochs",
    "hours",
    "batch_size",
    "sequence_length",
    "phases",
    "freeze",
    "reinitialise_layers",
    "patience",
    "ema",
)
"""The trainer's settings that change a result."""


def card_of_run(trained: TrainedRun, model: Model, published: PublishedFolder) -> str:
    """Return the card of an exported run."""
    settings = trained.settings
    values: dict[str, Any] = redact(settings.model_dump(mode="json"))
    groups: dict[str, Any] = {name: values[name] for name in ("objective", "task", "optimizer", "schedule") if name in values}
    groups["trainer"] = {key: values["trainer"][key] for key in _TRAINING if values["trainer"].get(key)}
    resolved = RunFolder(trained.folder).config().get("resolved") or {}
    title = f"{settings.model.name}, {settings.subject}"
    return _card(
        title,
        model,
        published,
        [
            f"Trained with plmtrain ({type(trained.program).__name__}: {_first_line(trained.program)}), "
            f"{counted(trained.step, 'step')}.",
            *([f"It started from the weights of {_origin(Path(settings.init))}."] if settings.init is not None else []),
            *(["It was distilled from another model."] if "teacher" in settings.folders else []),
            *(_task(settings.task) if isinstance(settings, FinetuneSettings) else []),
        ],
        {
            "What it learnt from": _list(_data(trained)),
            "How": _table(("setting", "value"), _settings(groups, {"seed": settings.seed, **resolved})),
            "How well": _table(("measure", "value", "after step"), _measures(trained)),
            "Right and wrong": _list(_review(trained)) + _confusion(trained),
        },
        _metadata(settings),
    )


def card_of_import(source: str, origin: str, model: Model, task: TaskSettings | None, published: PublishedFolder) -> str:
    """Return the card of an imported folder.

    Args:
        source: what it was read from.
        origin: what is known of its origin.
        model: the model.
        task: what a classifier reads and answers.
        published: the result of writing it.
    """
    about = [origin, *(_task(task) if task is not None else [])]
    return _card(f"{model.settings.family} from {source}", model, published, about, {})


def _origin(init: Path) -> str:
    """Return what a run started from: the model and the objective or task of another run, or a class of transformers."""
    try:
        if is_run(init):
            before = settings_from_run(RunFolder(init).config())
            return f"a run of plmtrain, {before.model.name} trained by {before.subject}"
        named = read_json(init / "config.json").get("architectures")
        return f"a {named[0]}" if isinstance(named, list) and named and str(named[0]).isidentifier() else "another model"
    except (PlmtrainError, OSError):
        return "another model"


def _metadata(settings: RunSettings) -> list[str]:
    """Return lines of the card's head for the hub: the public dataset and the metrics of a fine-tuned run."""
    if not isinstance(settings, FinetuneSettings):
        return []
    public = "" if settings.data.files else settings.task.hub or ""
    named = ["datasets:", f"- {public}"] if re.fullmatch(r"[\w.-]+(/[\w.-]+)?", public) else []
    return [*named, "metrics:", *(f"- {name}" for name in settings.task.metrics)]


def _review(trained: TrainedRun) -> Iterator[str]:
    """Yield what the answers of a fine-tuned run to its held-out examples show."""
    settings = trained.settings
    if not isinstance(settings, FinetuneSettings):
        return
    direction = "highest" if settings.higher_is_better else "lowest"
    yield (
        f"The checkpoint with the {direction} {settings.measure} on the held-out examples was kept: that value is a little too "
        "good, and one seed tells little of the method."
    )
    with suppress(PlmtrainError, OSError):
        review = read_json(trained.folder / HELD_OUT / REVIEW)
        if isinstance(count := review.get("examples"), int):
            yield f"{count:,} examples were held out."
        if review.get("collapsed") is True:
            yield "The run collapsed: all of them get the same answer."


def _confusion(trained: TrainedRun) -> str:
    """Return the confusion matrix of a fine-tuned run as a table, if it is small."""
    try:
        rows = list(csv.reader(read_text(trained.folder / HELD_OUT / CONFUSION).splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error):
        return ""
    if not 3 <= len(rows) <= _MOST_CONFUSED + 1 or any(len(row) != len(rows[0]) for row in rows):
        return ""
    (_, *labels), *counts = [[_escaped(cell) for cell in row] for row in rows]
    return "\n" + _table(("expected, and given:", *labels), [tuple(row) for row in counts])


def _task(task: TaskSettings) -> Iterator[str]:
    """Yield what a task's model reads, and its labels."""
    if isinstance(task, TextTaskSettings):
        columns = ", ".join(f"`{name}`" for name in task.text)
        yield f"It reads {'one text' if len(task.text) == 1 else 'pairs of texts'}: {columns}."
    if isinstance(task, MultipleChoiceSettings):
        leading = "".join(f"`{name}`, then " for name in task.leading)
        yield f"It scores each of several choices in its context: {leading}{', '.join(f'`{name}`' for name in task.choices)}."
    if prefix := getattr(task, "prefix", ""):
        yield f"Before each text it reads `{prefix}`."
    if isinstance(task, WordedTaskSettings) and not task.has_head:
        yield f"A row is written as `{task.rows.filled(dict.fromkeys(task.text, '...'))}`, and the decoder writes the answer."
    if isinstance(task, SentenceTaskSettings) and task.symmetric:
        yield "A pair is read in both orders, and the head scores the sum of the two states; the class below reads one order."
    if isinstance(task, QuestionAnsweringSettings) and task.threshold is not None:
        yield f"There is no answer if its score exceeds that of the best one by more than {task.threshold:.4f}."
    if isinstance(task, ClassificationSettings) and task.multi_label:
        yield f"It gives each label from a probability of {task.threshold:g} on: a text has any number of them."
    if labels := getattr(task, "labels", ()):
        yield f"Its labels are {', '.join(f'`{label}`' for label in labels[:_LISTED])}{', ...' if len(labels) > _LISTED else ''}."


def _card(
    title: str,
    model: Model,
    published: PublishedFolder,
    about: Iterable[str],
    sections: Mapping[str, str],
    metadata: Sequence[str] = (),
) -> str:
    saved = published.saved
    library, use, loading = _loading(saved)
    tag = [f"pipeline_tag: {use}"] if use else []
    head = ["---", f"library_name: {library}", *tag, "tags:", "- plmtrain", *metadata, "---", ""]
    over = "" if model.settings.reads_characters else f" over {model.backbone.vocabulary_size:,} tokens"
    parameters = sum(
        parameter.numel()
        for module in (model.backbone, *(model.heads[kind] for kind in (*saved.kinds, *saved.beside)))
        for parameter in module.parameters()
    )
    left_out = [f"Not in these files, since {saved.architecture} has no place for it: {called(kind)}." for kind in saved.left_out]
    left_out += [f"Beside it, by its authors' names, which transformers does not read: {called(kind)}." for kind in saved.beside]
    lines = [
        *head,
        f"# {title}",
        "",
        f"A {saved.architecture} of {parameters:,} parameters{over}.",
        *about,
        *left_out,
        "",
        "```python",
        *loading,
        "```",
        "",
        "## Shape",
        "",
        _table(("setting", "value"), [(key, _shown(value)) for key, value in model.settings.model_dump(mode="json").items()]),
        *(line for name, text in sections.items() if text for line in (f"## {name}", "", text)),
        "## Checked",
        "",
        "The files were read back into fresh modules: every weight is equal, and hidden states and scores of rows of",
        f"random tokens, of several lengths, differ by at most {published.difference:.1e}",
        f"({published.tolerance:.0e} would have been allowed).",
        "",
        _table(("written with", "version"), list(versions().items())),
        "## Licence",
        "",
        "Not stated: whoever publishes this model chooses one, and sees to it that the text allows it.",
    ]
    return redact_text("\n".join(lines)) + "\n"


def _loading(saved: Saved) -> tuple[str, str | None, list[str]]:
    """Return the library that loads the files, the hub's name for their use, and the lines of Python."""
    if not saved.of_transformers:
        lines = ["import plmtrain", "", 'model = plmtrain.load("THIS FOLDER")']
        return "plmtrain", None, [*lines, 'states = model.hidden_states([["A", "list", "of", "words", "."]])']
    auto, use = next((entry for end, entry in _AUTO_CLASSES.items() if saved.architecture.endswith(end)), ("AutoModel", None))
    lines = [f"from transformers import AutoTokenizer, {auto}", "", 'tokenizer = AutoTokenizer.from_pretrained("THIS FOLDER")']
    return "transformers", use, [*lines, f'model = {auto}.from_pretrained("THIS FOLDER")']


def _first_line(program: object) -> str:
    return (type(program).__doc__ or "").strip().splitlines()[0].rstrip(".:")


def _data(trained: TrainedRun) -> Iterator[str]:
    """Yield the description of the run's text or examples."""
    try:
        yield from _summary(read_json(trained.folder / "data" / "manifest.json"))
        if (listing := trained.folder / "data" / LISTING).exists():
            count = counted(len(read_json(listing)["files"]), "file")
            yield f"these are the numbers of the first of {count}, which were prepared while training read them"
    except (PlmtrainError, KeyError, TypeError, ValueError, AttributeError):
        yield "The run's folder does not say."
    tokenizer = trained.tokenizer
    yield f"tokenizer: {tokenizer.type}, {tokenizer.vocabulary.size:,} tokens, digest {tokenizer.digest[:16]}"


def _summary(manifest: Mapping[str, Any]) -> list[str]:
    """Return the description of prepared text, or of labelled examples, by their manifest."""
    skipped = f"{manifest['skipped']:,} lines could not be read and were skipped"
    if "examples" in manifest:
        return [*(f"{split}: {count:,} examples" for split, count in manifest["examples"].items()), skipped]
    splits = [
        f"{split}: {counts['tokens']:,} tokens in {counted(counts['documents'], 'document')}, {counts['duplicates']:,} of them "
        "repeated"
        for split, counts in manifest["splits"].items()
    ]
    entropy = f"unigram entropy: {manifest['unigram_entropy']:.4f} nats a token, the loss of a model that knows frequencies only"
    overlap = f"{manifest['overlap']:,} validation documents are in the training text, too"
    return [f"{manifest['name']}, files: {len(manifest['sources']):,}", *splits, overlap, skipped, entropy]


def _measures(trained: TrainedRun) -> Iterator[tuple[str, str, str]]:
    """Yield the newest losses of the run, up to the step of the weights."""
    newest: dict[str, tuple[float, int]] = {}
    for record in RunFolder(trained.folder).metrics().records():
        step = record.get("step")
        if isinstance(step, int) and step <= trained.step:
            losses = {key: value for key, value in record.items() if key == "loss" or key.startswith(("loss/", "val/"))}
            newest |= {key: (value, step) for key, value in losses.items() if isinstance(value, int | float)}
    for key, (value, step) in sorted(newest.items()):
        yield key, f"{value:.4f}", f"{step:,}"


def _settings(groups: Mapping[str, Any], others: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for group, values in groups.items():
        yield from ((f"{group}.{key}", _shown(value)) for key, value in values.items() if value is not None)
    yield from ((key, _shown(value)) for key, value in others.items())


def _shown(value: Any) -> str:
    """Return a setting's value as text; of a path, the last part."""
    text = "yes" if value is True else "no" if value is False else "none" if value is None else str(value)
    if isinstance(value, str) and ("/" in text or "\\" in text):
        text = Path(text.replace("\\", "/")).name
    return _escaped(text)


def _escaped(text: str) -> str:
    """Return a text as the cell of a table has it."""
    return text.replace("|", "\\|").replace("\n", " ")


def _table(headings: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([f"| {' | '.join(headings)} |", f"|{'---|' * len(headings)}", *lines, ""]) if lines else ""


def _list(lines: Iterable[str]) -> str:
    return "\n".join([*(f"- {line}" for line in lines), ""])
