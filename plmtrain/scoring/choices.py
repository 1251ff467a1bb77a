"""Multiple choice (Brown et al. 2020, section 2.4): the model chooses the most likely continuation of a question."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from plmtrain.data.tables.table_files import Row
from plmtrain.errors import DataError
from plmtrain.scoring.examples import Question, cell_text, cell_texts, continuation, fitted, log_likelihood, require_tokens, rows
from plmtrain.scoring.likelihood import Likelihood, Losses
from plmtrain.scoring.report import Report, Subject, by_file, share
from plmtrain.scoring.shots import Prompt, Shots, told
from plmtrain.settings.scoring.choices import ChoicesSettings


def score(settings: ChoicesSettings, subject: Subject) -> Report:
    """Compute the accuracy; choices that are equally likely share the point.

    Args:
        settings: the files, their columns, and how choices are compared.
        subject: the model.
    """
    likelihood = subject.likelihood(settings)
    questions = list(_questions(settings, settings.files, "scoring.files"))
    if not questions:
        raise DataError("there are no questions", "scoring.files", "name files with questions in them")
    pool = list(_questions(settings, settings.shots_from, "scoring.shots_from")) if settings.shots_from else questions
    shots = Shots(settings, pool, own=not settings.shots_from)
    prompts = [_prompt(number, question, shots, subject, likelihood) for number, question in enumerate(questions)]
    worths = iter(_worths(settings, questions, prompts, subject, likelihood))
    right = np.array([_point([next(worths) for _ in question.choices], question) for question in questions])
    chance = float(np.mean([1 / len(question.choices) for question in questions]))
    notes, counts = told(prompts, settings, likelihood.longest)
    return Report(
        measured=likelihood.name,
        examples=len(questions),
        scores=[share("accuracy", right, "of questions")],
        by_file=by_file("accuracy", [question.file for question in questions], right),
        counts={**counts, "chance": chance},
        notes=[f"a random choice is right in {chance:.1%} of the questions", *likelihood.notes, *notes],
    )


def _questions(settings: ChoicesSettings, files: tuple[str, ...], setting: str) -> Iterator[Question]:
    columns = {
        settings.context_column: "scoring.context_column",
        settings.choices_column: "scoring.choices_column",
        settings.answer_column: "scoring.answer_column",
    }
    for file, row in rows(files, columns, setting):
        choices = cell_texts(row, settings.choices_column)
        if len(choices) < 2:
            raise DataError(f"column '{settings.choices_column}' has one choice alone", row.where, "give two choices or more")
        if not all(map(str.strip, choices)):
            raise DataError(f"column '{settings.choices_column}' has an empty choice", row.where, "give each choice a text")
        answer = choices[_answer(row, settings.answer_column, choices)]
        context = cell_text(row, settings.context_column)
        yield Question(file=file, where=row.where, context=context, answers=(answer,), choices=choices)


def _answer(row: Row, column: str, choices: tuple[str, ...]) -> int:
    """Return the number of the right choice."""
    answer = row.cells[column]
    if isinstance(answer, str) and answer in choices:
        return choices.index(answer)
    if isinstance(answer, int) and not isinstance(answer, bool) and 0 <= answer < len(choices):
        return answer
    what = f"column '{column}' should be one of the choices, or its number from 0 to {len(choices) - 1}, but is {answer!r}"
    raise DataError(what, row.where, "correct or remove it")


def _prompt(number: int, question: Question, shots: Shots, subject: Subject, likelihood: Likelihood) -> Prompt:
    between = shots.settings.between

    def fits(text: str) -> bool:
        lengths = [len(ids) for ids, _ in subject.tokenizer.encode([f"{text}{between}{choice}" for choice in question.choices])]
        return max(lengths) <= likelihood.longest

    return shots.prompt(number, question, fits)


def _worths(
    settings: ChoicesSettings, questions: list[Question], prompts: list[Prompt], subject: Subject, likelihood: Likelihood
) -> list[float]:
    """Return the number by which each choice of each question is compared."""
    pairs = [
        (question, prompt, choice) for question, prompt in zip(questions, prompts, strict=True) for choice in question.choices
    ]
    contexts = [prompt.text for _, prompt, _ in pairs]
    losses = _losses(contexts, pairs, settings.between, subject, likelihood)
    if settings.compare == "unconditional":
        neutral = _losses([settings.neutral_context] * len(pairs), pairs, settings.between, subject, likelihood)
        return [float(without.sum() - given.sum()) for given, without in zip(losses, neutral, strict=True)]
    return [log_likelihood(given, choice, settings.compare) for given, (_, _, choice) in zip(losses, pairs, strict=True)]


def _losses(
    contexts: list[str], pairs: list[tuple[Question, Prompt, str]], between: str, subject: Subject, likelihood: Likelihood
) -> list[Losses]:
    """Return the losses of the tokens of each choice after a context."""
    asked = []
    for context, (question, _, choice) in zip(contexts, pairs, strict=True):
        whole = continuation(subject.tokenizer, context, f"{between}{choice}")
        require_tokens(whole, choice, question.where, likelihood.longest)
        asked.append(fitted(whole, likelihood.longest))
    return likelihood.losses(asked)


def _point(worths: list[float], question: Question) -> float:
    best = [choice for worth, choice in zip(worths, question.choices, strict=True) if worth == max(worths)]
    return best.count(question.answers[0]) / len(best)
