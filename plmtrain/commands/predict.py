"""``plmtrain predict``: use a run on texts and tables. How a text is asked about and an answer read is the program's."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, get_args

from pydantic import ValidationError

from plmtrain.console import print_json, warn
from plmtrain.data.tables.answer_files import AnswerFile, answer_file
from plmtrain.data.tables.questions import Format, Question, from_file, from_stream
from plmtrain.errors import DataError, SettingsError, SettingsErrors, nearest
from plmtrain.redaction import redact_text
from plmtrain.settings.generation import GenerationSettings
from plmtrain.settings.trainer import WantedPrecision
from plmtrain.settings.wording import what_is_wrong
from plmtrain.stopping import safe_point
from plmtrain.streams import standard_input
from plmtrain.text.readers import SKIP, Skips

if TYPE_CHECKING:
    from plmtrain.data.rows.rows import Rows
    from plmtrain.programs.answering import Answer, Answering
    from plmtrain.text.tokenizer import Tokenizer

_ROWS = 32
"""Questions that are answered at a time, unless somebody types them and waits."""

_TOLD = 10
"""Questions without an answer that are told in full."""


def run(arguments: list[str]) -> int:
    """Answer each question, in order, as it comes; those that cannot be answered are named."""
    options = _understood(arguments)
    if options.submission is not None:
        return _submit(options)
    chosen = _generation(vars(options))
    refused, shortened = Refused(), Shortened()
    with nullcontext() if options.output is None else answer_file(options.output) as table:
        from plmtrain.runs.asked import asked

        model = asked(options.run, options.part, options.precision)
        if chosen is not None:
            model = model.writing(chosen)
        if options.n_best is not None:
            model = model.ranked(options.n_best)
        typed = not options.texts and options.file is None and os.isatty(0)
        if typed:
            warn("type a text and press Enter; Ctrl-D ends")
        # A person who asks one question reads the answer while it is written.
        streamed = (typed or len(options.texts) == 1) and table is None and not options.json and sys.stdout.isatty()
        answered = 0
        for batch in _batches(_questions(options, model.answering, refused), options.batch_size or (1 if typed else _ROWS)):
            safe_point()
            questions, rows = _encoded(model.answering, model.tokenizer, batch, refused)
            if rows is None:
                continue
            shortened.add(questions, rows)
            if streamed and len(questions) == 1:
                _write(model.stream(questions[0].text, rows))
            else:
                answers = model.answers([question.text for question in questions], rows)
                for question, answer in zip(questions, answers, strict=True):
                    _give(question, answer, model.answering, table, options.json)
            answered += len(questions)
    if options.output is not None:
        warn(f"{options.output}: {answered:,} rows")
    if shortened.count:
        most = f"the {model.answering.longest:,} tokens that the run reads"
        warn(f"{shortened.count:,} of {answered:,} texts are longer than {most}, first {shortened.first}: a part was read")
    if refused.count > 1:
        warn(f"{refused.count:,} of {refused.count + answered:,} questions have no answer")
    return DataError.exit_code if refused.count else 0


def _submit(options: argparse.Namespace) -> int:
    """Answer the test part of the run's task of GLUE, or those of the best runs of a sweep over its tasks, and write the answers
    into a zip file."""
    from plmtrain.interop.glue import TEST_PARTS
    from plmtrain.runs.asked import asked
    from plmtrain.runs.submission import add_to_zip, test_answers

    if options.submission.suffix != ".zip":
        raise SettingsError("a submission is a zip file", f"--submission {options.submission}", "name a .zip file")
    for run in _submitted(options.run):
        model = asked(run, options.part, options.precision)
        there = add_to_zip(options.submission, dict(test_answers(model, run, options.batch_size or _ROWS)))
        warn(f"{run} -> {options.submission}: {', '.join(there)}")
    wanted = {part.file for parts in TEST_PARTS.values() for part in parts}
    if missing := sorted(wanted - set(there)):
        warn(f"not in it yet: {', '.join(missing)}; the same option adds the answers of another run")
    return 0


def _submitted(folder: Path) -> list[Path]:
    """Return the runs that a submission is of: the one that is named, or those that are best by validation in a sweep.

    Raises:
        SettingsError: if no run of the sweep is finished.
    """
    from plmtrain.study.job_outcome import up_to_date
    from plmtrain.study.suite_summary import Suite
    from plmtrain.study.sweep_record import read_records

    suite = Suite.of([up_to_date(record) for record in read_records(folder / "jobs")])
    if suite is None:
        return [folder]
    if not (runs := suite.best_runs()):
        raise SettingsError("no run of this sweep is finished", str(folder), "run its command again")
    return [Path(run) for run in runs.values()]


def _understood(arguments: list[str]) -> argparse.Namespace:
    """Return the arguments of the command.

    Raises:
        SettingsError: for those that cannot be understood.
    """
    parser = _Parser(prog="plmtrain predict", add_help=False, allow_abbrev=False)
    parser.add_argument("run", type=Path)
    parser.add_argument("texts", nargs="*")
    parser.add_argument("--file", type=Path)
    parser.add_argument("--format", choices=get_args(Format), default="auto")
    parser.add_argument("--columns", type=_names, default=())
    parser.add_argument("--output", type=Path)
    parser.add_argument("--submission", type=Path)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--part")
    parser.add_argument("--batch-size", type=partial(_whole, "--batch-size", _ROWS))
    parser.add_argument("--n-best", type=partial(_whole, "--n-best", 1))
    parser.add_argument("--precision", choices=get_args(WantedPrecision))
    for name, field in GenerationSettings.model_fields.items():
        option = f"--{name.replace('_', '-')}"
        if field.annotation is bool:
            parser.add_argument(option, action="store_true", default=None)
        elif isinstance(field.default, tuple):
            parser.add_argument(option, action="append")
        else:
            parser.add_argument(option)
    if not arguments:
        raise SettingsError("predict needs a run", "plmtrain predict RUN [TEXT]...", "name a folder below runs/")
    asked: argparse.Namespace = parser.parse_intermixed_args(arguments)  # options may stand between the run and its texts
    if asked.texts and (asked.file is not None or asked.format != "auto"):
        option = f"--file {asked.file}" if asked.file is not None else f"--format {asked.format}"
        what = "texts are given as arguments, and an option for those of a file"
        raise SettingsError(what, f"command line: {option}", "give either: arguments are texts as they are")
    given = [name for name in ("texts", "file", "output", "json") if getattr(asked, name)]
    if asked.submission is not None and given:
        what = "a submission has the answers for the test part of the run's task, and nothing else"
        raise SettingsError(what, f"command line: {'a text' if given[0] == 'texts' else f'--{given[0]}'}", "omit it")
    if asked.json and asked.output is not None:
        what = "answers go to a file, not to standard output"
        raise SettingsError(what, "command line: --json", "omit it: name the file .jsonl for JSON lines")
    return asked


def _generation(asked: Mapping[str, Any]) -> GenerationSettings | None:
    """How text shall be written; None where nothing is said of it.

    Raises:
        SettingsErrors: for every option that cannot be.
    """
    given = {name: asked[name] for name in GenerationSettings.model_fields if asked[name] is not None}
    if not given:
        return None
    try:
        return GenerationSettings.model_validate(given)
    except ValidationError as error:
        problems = what_is_wrong(error, list(GenerationSettings.model_fields))
        raise SettingsErrors(
            SettingsError(what, f"argument: --{name.replace('_', '-')}" if name else "", remedy)
            for name, (what, remedy) in problems.items()
        ) from None


class _Parser(argparse.ArgumentParser):
    """A parser that tells what it does not understand as plmtrain tells everything."""

    def parse_known_intermixed_args(self, args: Any = None, namespace: Any = None) -> Any:
        options, unknown = super().parse_known_intermixed_args(args, namespace)
        for option in unknown:
            if option.startswith("-"):
                known = [name for action in self._actions for name in action.option_strings]
                what = f"there is no option '{option}'"
                raise SettingsError(what, f"command line: {option}", nearest(option.partition("=")[0], known))
        return options, unknown

    def error(self, message: str) -> NoReturn:
        raise SettingsError(f"this cannot be understood: {message}", "plmtrain predict", "see plmtrain predict --help")


def _names(text: str) -> tuple[str, ...]:
    """The names of the columns of a table without a header."""
    names = tuple(name.strip() for name in text.split(","))
    if not all(names) or len(set(names)) < len(names):
        what = "--columns names all columns of a table without a header, each once"
        raise SettingsError(what, f"command line: --columns {text}", "write --columns label,text")
    return names


def _whole(option: str, usual: int, text: str) -> int:
    """Return the number of an option that counts something, which is ``usual`` where it is omitted."""
    if not text.isdecimal() or int(text) < 1:
        what = f"{option} must be a whole number above 0, and is '{text}'"
        raise SettingsError(what, f"command line: {option}", f"omit it for {usual}")
    return int(text)


class Refused(Skips):
    """Questions that have no answer: each is told as it comes, and the others are answered."""

    def add(self, error: DataError) -> None:
        super().add(error)
        if self.count <= _TOLD:
            remedy = error.remedy.removesuffix(SKIP).rstrip("; ") or "correct this line"  # there is no run that would skip it
            warn(redact_text(str(DataError(error.what, error.where, remedy))))


class Shortened:
    """Questions whose texts are longer than the rows of the run: they are answered after a part of them."""

    def __init__(self) -> None:
        self.count, self.first = 0, ""

    def add(self, questions: Sequence[Question], rows: Rows) -> None:
        """Count those of some questions, given a row for each."""
        for number in [] if rows.cut is None else rows.cut.nonzero()[0].tolist():
            self.count += 1
            self.first = self.first or questions[number].place or f"'{questions[number].text[:60]}'"


def _questions(options: argparse.Namespace, answering: Answering[Any], refused: Refused) -> Iterator[Question]:
    """Yield the questions: the arguments, or what a file or standard input contains."""
    if options.texts:
        yield from map(Question, options.texts)
        return
    columns = dict.fromkeys(answering.columns, "rename a column (--format text reads lines without a header)")
    if options.file is not None:
        yield from from_file(options.file, options.format, columns, answering.asked, refused, answering.endings, options.columns)
    else:
        yield from from_stream(
            standard_input(), "standard input", options.format, columns, answering.asked, refused, options.columns
        )


def _batches(questions: Iterable[Question], size: int) -> Iterator[list[Question]]:
    """Yield questions in groups; those before the place where a file breaks off are not lost."""
    batch: list[Question] = []
    try:
        for question in questions:
            batch.append(question)
            if len(batch) == size:
                yield batch
                batch = []
    except DataError:
        if batch:
            yield batch
        raise
    if batch:
        yield batch


def _encoded(
    answering: Answering[Any], tokenizer: Tokenizer, questions: list[Question], refused: Refused
) -> tuple[list[Question], Rows | None]:
    """Encode questions; those that cannot be asked are told and left out.

    Returns:
        The others, and a row for each; None without any.
    """
    texts = [question.text for question in questions]
    try:
        rows = answering.questions(texts, tokenizer)
        for number, length in zip(answering.owners(rows).tolist(), rows.lengths.tolist(), strict=True):
            if length > answering.longest:
                text = texts[number]
                what = f"a text has {length} tokens, but the model takes {answering.longest}"
                raise DataError(what, f"'{text[:60]}'", "give it in shorter parts")
        return questions, rows
    except DataError as error:
        if len(questions) == 1:
            where = ": ".join(place for place in (questions[0].place, error.where) if place)
            refused.add(DataError(error.what, where, error.remedy))
            return [], None
    good = [one for one in questions if _encoded(answering, tokenizer, [one], refused)[0]]
    return _encoded(answering, tokenizer, good, refused) if good else ([], None)


def _give(question: Question, answer: Answer, answering: Answering[Any], table: AnswerFile | None, as_json: bool) -> None:
    """Write an answer to the table or to standard output."""
    if table is not None:
        own = {name: answer.values.get(name) for name in answering.columns} if question.cells is None else question.cells
        table.write(own, answering.appended(answer))
    else:
        print_json(answer.values) if as_json else print(*answer.lines, sep="\n", flush=True)


def _write(pieces: Iterable[str]) -> None:
    """Write an answer to the terminal while it is computed; what follows, an error too, begins on a line of its own."""
    try:
        for piece in pieces:
            print(piece, end="", flush=True)
    finally:
        print(flush=True)
