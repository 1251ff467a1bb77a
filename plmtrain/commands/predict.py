"""``plmtrain predict``: use a run on texts. How a text is asked about and an answer read is the program's."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from pydantic import ValidationError

from plmtrain.console import print_json, warn
from plmtrain.errors import DataError, SettingsError, SettingsErrors, nearest
from plmtrain.files import open_regular
from plmtrain.settings.generation import GenerationSettings
from plmtrain.settings.wording import what_is_wrong
from plmtrain.stopping import safe_point
from plmtrain.streams import standard_input

if TYPE_CHECKING:
    from plmtrain.programs.answering import Answer, Answering
    from plmtrain.programs.learner import Learner
    from plmtrain.text.tokenizer import Tokenizer


def run(arguments: list[str]) -> int:
    """Answer each text, in order, as it comes."""
    parser = _Parser(prog="plmtrain predict", add_help=False, allow_abbrev=False)
    parser.add_argument("run", type=Path)
    parser.add_argument("texts", nargs="*")
    parser.add_argument("--file", type=Path)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--part")
    parser.add_argument("--batch-size", type=_rows, default=32)
    for name, field in GenerationSettings.model_fields.items():
        option = f"--{name.replace('_', '-')}"
        if field.annotation is bool:
            parser.add_argument(option, action="store_true", default=None)
        else:
            parser.add_argument(option)
    if not arguments:
        raise SettingsError("predict needs a run", "plmtrain predict RUN [TEXT]...", "name a folder below runs/")
    asked = parser.parse_intermixed_args(arguments)  # options may stand between the run and its texts
    chosen = _generation(vars(asked))

    from plmtrain.interop.trained import load_trained

    trained = load_trained(asked.run, report=warn)
    part = trained.part(asked.part)
    if asked.part is None and part.name is not None:
        others = ", ".join(sorted(set(trained.program.parts.names) - {part.name}))
        warn(f"{asked.run} answers as its part {part.name}; --part names another: {others}")
    answering = part.program.answering
    if answering is None:
        raise SettingsError("the run has no answers to texts", str(asked.run), "name a run of another objective or of a task")
    if chosen is not None:
        answering = answering.writing(chosen, trained.tokenizer)
    learner = part.learner(trained.learner)
    for batch in _batches(_texts(asked.texts, asked.file), asked.batch_size):
        safe_point()
        for answer in _answers(answering, learner, trained.tokenizer, batch):
            print_json(answer.values) if asked.json else print(*answer.lines, sep="\n", flush=True)
    return 0


def _generation(asked: Mapping[str, Any]) -> GenerationSettings | None:
    """How text shall be written; None where nothing is said of it.

    Raises:
        SettingsErrors: for every option that cannot be.
    """
    given = {name: asked[name] for name in GenerationSettings.model_fields if asked[name] is not None}
    if not given:
        return None
    try:
        return GenerationSettings.model_validate_strings({name: str(value).lower() for name, value in given.items()})
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


def _rows(text: str) -> int:
    """A number of texts that are answered at a time."""
    if not text.isdecimal() or int(text) < 1:
        raise SettingsError(
            f"--batch-size must be a whole number above 0, and is '{text}'", "command line: --batch-size", "leave it away for 32"
        )
    return int(text)


def _texts(texts: list[str], file: Path | None) -> Iterator[str]:
    if texts:
        yield from texts
    elif file is not None:
        try:
            with open_regular(file) as lines:
                yield from _decoded(lines, str(file))
        except OSError as error:
            what = f"this file cannot be read: {error.strerror}"
            raise DataError(what, f"--file {file}", "name a UTF-8 text file, one text a line") from error
    else:
        yield from _decoded(standard_input(), "standard input")


def _decoded(lines: Iterable[bytes], source: str) -> Iterator[str]:
    """The lines of a source, without their ends."""
    for number, line in enumerate(lines, start=1):
        try:
            yield line.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            what = f"this is not UTF-8: byte 0x{line[error.start]:02x} at place {error.start + 1} of the line"
            raise DataError(what, f"{source}:{number}", "convert it (iconv -t utf-8)") from None


def _batches(texts: Iterable[str], size: int) -> Iterator[list[str]]:
    batch: list[str] = []
    for text in texts:
        batch.append(text)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _answers(answering: Answering[Any], learner: Learner, tokenizer: Tokenizer, texts: list[str]) -> Iterator[Answer]:
    rows = answering.questions(texts, tokenizer)
    for text, length in zip(texts, rows.lengths.tolist(), strict=True):
        if length > answering.longest:
            what = f"a text has {length} tokens, but the model takes {answering.longest}"
            raise DataError(what, f"'{text[:60]}'", "give it in shorter parts")
    for row, answer in enumerate(answering.predict(learner, answering.collate(rows))):
        yield answering.read_out(texts[row], rows.tokens[row, : rows.lengths[row]], answer, tokenizer)
