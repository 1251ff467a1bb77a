"""Answers that a model writes, against the right ones (Brown et al. 2020, section 2.4)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from plmtrain.backbones import EncoderDecoderBackbone
from plmtrain.backbones.decoder import Decoder
from plmtrain.batch import Inputs, Layout
from plmtrain.data.rows.row_formats import RowFormat, formatted
from plmtrain.data.rows.rows import side_by_side
from plmtrain.errors import DataError, SettingsError
from plmtrain.generation import NOTHING, DecoderWriter, EncoderDecoderWriter, Specials, StopTexts, generate
from plmtrain.metrics.answers import exact_match, f1
from plmtrain.scoring.examples import Question, cell_text, cell_texts, rows
from plmtrain.scoring.prompting import Prompting
from plmtrain.scoring.report import Report, Subject, by_file, share
from plmtrain.scoring.shots import Shots, told
from plmtrain.settings.generation import GenerationSettings
from plmtrain.settings.scoring.completions import CompletionsSettings
from plmtrain.stopping import safe_point
from plmtrain.text.tokenizer import Tokenizer


def score(settings: CompletionsSettings, subject: Subject) -> Report:
    """Write an answer to each question, and compute exact match and F1.

    Args:
        settings: the files, their columns, and how answers are written.
        subject: the model.

    Raises:
        SettingsError: if the model does not write text, or has no place for so long an answer.
    """
    author = _author(subject, settings)
    questions = list(_questions(settings, settings.files, "scoring.files"))
    if not questions:
        raise DataError("there are no questions", "scoring.files", "name files with questions in them")
    pool = list(_questions(settings, settings.shots_from, "scoring.shots_from")) if settings.shots_from else questions
    shots = Shots(settings, pool, own=not settings.shots_from)

    def fits(text: str) -> bool:
        return len(author.prompt(text)) <= author.longest

    prompts = [shots.prompt(number, question, fits) for number, question in enumerate(questions)]
    answers = author.answers([prompt.text for prompt in prompts])
    matches = np.array([exact_match(answer, one.answers) for answer, one in zip(answers, questions, strict=True)])
    overlaps = np.array([f1(answer, one.answers) for answer, one in zip(answers, questions, strict=True)])
    notes, counts = told(prompts, settings, author.longest)
    files = [question.file for question in questions]
    exact, shared = by_file("exact_match", files, matches), by_file("f1", files, overlaps)
    return Report(
        measured="written answers",
        examples=len(questions),
        scores=[share("exact_match", matches, "of answers"), share("f1", overlaps, "of words")],
        by_file={file: [*exact[file], *shared[file]] for file in exact},
        counts=counts,
        notes=notes,
    )


def _questions(settings: CompletionsSettings, files: tuple[str, ...], setting: str) -> Iterator[Question]:
    columns = {settings.context_column: "scoring.context_column", settings.answer_column: "scoring.answer_column"}
    for file, row in rows(files, columns, setting):
        answers = cell_texts(row, settings.answer_column)
        yield Question(file=file, where=row.where, context=cell_text(row, settings.context_column), answers=answers)


class _Author(ABC):
    """A model that writes answers.

    Args:
        subject: the model.
        settings: how answers are written.
        positions: the tokens that the model takes, prompt and answer together, without the special ones.
    """

    def __init__(self, subject: Subject, settings: CompletionsSettings, positions: int) -> None:
        self.tokenizer: Tokenizer = subject.tokenizer
        self.vocabulary = subject.tokenizer.vocabulary
        self.settings, self._reading = settings, subject.reading
        self.longest = positions - settings.max_new_tokens
        if self.longest < 1:
            what = f"an answer of {settings.max_new_tokens} tokens leaves no place for a question: the model takes {positions}"
            raise SettingsError(what, f"scoring.max_new_tokens={settings.max_new_tokens}", "lower it")
        self._stop = StopTexts(settings.stop, self.tokenizer.decode) if settings.stop else None
        self._generation = GenerationSettings(beams=settings.beams, length_penalty=settings.length_penalty)

    def prompt(self, text: str) -> NDArray[np.int64]:
        """Return the tokens of a prompt; those of an empty one are the beginning of a document."""
        return self.tokenizer.encode([text])[0][0]

    def answers(self, prompts: Sequence[str]) -> list[str]:
        """Return the text that is written after each prompt; one that is too long is cut at its beginning."""
        asked = [self.prompt(text)[-self.longest :] for text in prompts]
        written: list[str] = [""] * len(asked)
        for batch in self._batches([len(ids) for ids in asked]):
            safe_point()
            with self._reading():
                texts = self._write([asked[number] for number in batch])
            for number, tokens in zip(batch, texts, strict=True):
                written[number] = self._text(asked[number], tokens)
        return written

    def _batches(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        """Yield the numbers of prompts that are answered at a time, in order of their lengths."""
        order = sorted(range(len(lengths)), key=lambda number: (lengths[number], number))
        size = self.settings.batch_rows
        yield from (order[start : start + size] for start in range(0, len(order), size))

    @abstractmethod
    def _write(self, prompts: Sequence[NDArray[np.int64]]) -> list[list[int]]:
        """Return the tokens that are written after each prompt."""

    def _text(self, prompt: NDArray[np.int64], written: Sequence[int]) -> str:
        before, whole = self.tokenizer.decode(prompt), self.tokenizer.decode([*prompt, *written])
        # The space before a word is known only together with the word before it.
        answer = whole[len(before) :] if whole.startswith(before) else self.tokenizer.decode(written)
        return (answer if self._stop is None else self._stop.cut(answer)).strip()


class _DecoderAuthor(_Author):
    """A decoder, which continues the prompt."""

    def __init__(self, subject: Subject, settings: CompletionsSettings, decoder: Decoder) -> None:
        super().__init__(subject, settings, decoder.settings.positions)
        self._decoder = decoder

    def prompt(self, text: str) -> NDArray[np.int64]:
        ids = super().prompt(text)
        return ids if len(ids) else np.array([self.vocabulary.document_end])

    def _write(self, prompts: Sequence[NDArray[np.int64]]) -> list[list[int]]:
        length = max(map(len, prompts))
        begun = np.full((len(prompts), length), NOTHING)
        for row, ids in enumerate(prompts):
            begun[row, length - len(ids) :] = ids
        device, limit = self._decoder.embedding_weight.device, self.settings.max_new_tokens
        writer = DecoderWriter(self._decoder, self.settings.beams, length + limit)
        specials = Specials.of_documents(self.vocabulary, self._decoder.vocabulary_size)
        return generate(writer, torch.from_numpy(begun).to(device), specials, self._generation, limit, stop=self._stop)


class _EncoderDecoderAuthor(_Author):
    """An encoder-decoder: the encoder reads the prompt and the decoder writes what follows it, in the way of its training."""

    def __init__(self, subject: Subject, settings: CompletionsSettings, pair: EncoderDecoderBackbone) -> None:
        family = pair.settings.family
        self._read_format, self._written_format = RowFormat.of(family, 1), RowFormat.written(family)
        self._prompting = Prompting.of(subject.learner, subject.tokenizer.vocabulary)
        super().__init__(subject, settings, pair.settings.positions - self._read_format.framing - self._prompting.extra)
        self._pair = pair

    def _batches(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        """Yield prompts of one length at a time: the decoder's texts have no padding before them."""
        for batch in super()._batches(lengths):
            for length in sorted({lengths[number] for number in batch}):
                yield [number for number in batch if lengths[number] == length]

    @torch.no_grad()
    def _write(self, prompts: Sequence[NDArray[np.int64]]) -> list[list[int]]:
        vocabulary, roles = self.vocabulary, self._written_format.roles
        read = [self._prompting.read(ids) for ids in prompts]
        texts = side_by_side([(ids, np.ones(len(ids), np.bool_)) for ids in read], vocabulary.padding)
        laid_out = formatted(texts, self._read_format, vocabulary, self._pair.settings.positions)
        device, limit = self._pair.embedding_weight.device, self.settings.max_new_tokens
        inputs = Inputs(ids=torch.from_numpy(laid_out.ids), layout=Layout.of(laid_out.real)).map(lambda tensor: tensor.to(device))
        opening = [self._pair.settings.published.decoder_start, *roles[: self._written_format.opening]]
        before = np.array([vocabulary[role] for role in opening], np.int64)
        begun = torch.from_numpy(np.stack([np.append(before, self._prompting.begun(ids)) for ids in prompts])).to(device)
        writer = EncoderDecoderWriter(self._pair, inputs, self.settings.beams, begun.shape[1] + limit)
        specials = Specials(end=vocabulary[roles[-1]], absent=vocabulary.absent(self._pair.vocabulary_size))
        return generate(writer, begun, specials, self._generation, limit, stop=self._stop)


def _author(subject: Subject, settings: CompletionsSettings) -> _Author:
    backbone = subject.learner.backbone
    if set(subject.learner.children()) == {backbone}:
        if isinstance(backbone, Decoder):
            return _DecoderAuthor(subject, settings, backbone)
        if isinstance(backbone, EncoderDecoderBackbone):
            return _EncoderDecoderAuthor(subject, settings, backbone)
    remedy = "score it with scoring=choices, or name a run of a decoder or an encoder-decoder"
    raise SettingsError("the model does not write text", "scoring=completions", remedy)
