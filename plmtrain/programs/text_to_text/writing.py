"""Answers that a decoder writes about a text that the encoder reads: the text restored, filled in, or continued."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray

from plmtrain.data.rows.row_formats import RowFormat
from plmtrain.data.rows.rows import Rows, side_by_side
from plmtrain.errors import DataError
from plmtrain.generation import StopTexts
from plmtrain.keyed_random import Keys
from plmtrain.programs.answering import Answer, Answering, Demonstration
from plmtrain.programs.text_to_text.learner import EncoderDecoderLearner
from plmtrain.programs.texts import framed_batch
from plmtrain.programs.writing import write
from plmtrain.settings.generation import GenerationSettings

if TYPE_CHECKING:
    from plmtrain.batch import Batch
    from plmtrain.programs.program import Program
    from plmtrain.text.tokenizer import Tokenizer


class Writing(Answering[EncoderDecoderLearner]):
    """Write a text about the one that is asked about.

    Args:
        program: the program, which makes the texts of a demonstration.
        generation: the settings of text generation.
        stop: the texts that end it.
    """

    written: ClassVar[str] = "restored"
    """The name of what is written in an answer."""

    def __init__(
        self,
        program: Program[Any, Any, EncoderDecoderLearner],
        generation: GenerationSettings | None = None,
        stop: StopTexts | None = None,
    ) -> None:
        self.program, self.generation, self.stop = program, generation or GenerationSettings(), stop
        self.vocabulary, self.row_format = program.vocabulary, RowFormat.written(program.model.family)
        self.longest = program.model.positions - program.format.framing

    def writing(self, chosen: GenerationSettings, tokenizer: Tokenizer) -> Self:
        return type(self)(self.program, chosen, StopTexts(chosen.stop, tokenizer.decode) if chosen.stop else None)

    def questions(self, texts: Sequence[str], tokenizer: Tokenizer) -> Rows:
        """Encode texts, in which special tokens may be written."""
        return side_by_side([tokenizer.encode_with_specials(text) for text in texts], self.vocabulary.padding)

    def collate(self, rows: Rows) -> Batch:
        return framed_batch(rows, self.program.format, self.vocabulary)

    @torch.no_grad()
    def predict(self, learner: EncoderDecoderLearner, batch: Batch) -> list[dict[str, Any]]:
        """Write about each row.

        Returns:
            For each row its ``sample`` and the generated ids as ``written``, without special tokens around them.
        """
        # What was read is about as long as what is written, unless a few marks stand for long texts.
        limit = self.generation.max_new_tokens or 2 * batch.inputs.ids.shape[1] + 16
        samples = batch.samples.numpy()
        texts = write(learner.pair, batch.inputs, self.vocabulary, self.row_format, self.generation, limit, samples, self.stop)
        return [{"sample": sample, "written": text} for sample, text in zip(samples.tolist(), texts, strict=True)]

    def read_out(self, text: str, ids: NDArray[np.int64], answer: Mapping[str, Any], tokenizer: Tokenizer) -> Answer:
        written = self._cut(tokenizer.decode(answer["written"]))
        return Answer({"text": text, self.written: written}, [written])

    def _cut(self, text: str) -> str:
        return (text if self.stop is None else self.stop.cut(text)).strip()

    def demonstrate(self, learner: EncoderDecoderLearner, rows: Rows, tokenizer: Tokenizer) -> Demonstration:
        """Make the encoder's texts of sentences as in training, and show what the model writes about them."""
        batch = self.program.collate(rows, Keys(0, np.zeros(len(rows), np.int64), np.arange(len(rows))))
        shown = []
        for row, answer in enumerate(self.predict(learner, batch)):
            read = batch.inputs.ids[row].numpy()
            read = read[~np.isin(read, [self.vocabulary[role] for role in self.program.format.roles] + [self.vocabulary.padding])]
            sentence = tokenizer.decode(rows.tokens[row, : rows.lengths[row]])
            said = self.read_out("", read, answer, tokenizer).lines[0]
            texts = (sentence, tokenizer.decode(read, skip_special=False), said)
            shown.append(tuple(text.strip() for text in texts))
        return Demonstration(f"{self.written} sentences (held-out text)", ("sentence", "read", self.written), shown)


class Filling(Writing):
    """Write what the sentinels of a text stand for.

    Args:
        program, generation, stop: as in ``Writing``.
    """

    written = "filled"

    def questions(self, texts: Sequence[str], tokenizer: Tokenizer) -> Rows:
        """Encode texts in which sentinels stand for what is missing.

        Raises:
            DataError: if a text has no sentinel.
        """
        rows = super().questions(texts, tokenizer)
        marked = np.isin(rows.tokens, self.vocabulary.sentinels)
        for text, marks in zip(texts, marked, strict=True):
            if not marks.any():
                first = tokenizer.pieces(self.vocabulary.sentinels[:2])
                remedy = f"write {first[0]} where words are missing, and {first[-1]} at the next place"
                raise DataError("there is nothing to fill in", f"'{text[:60]}'", remedy)
        return rows

    def read_out(self, text: str, ids: NDArray[np.int64], answer: Mapping[str, Any], tokenizer: Tokenizer) -> Answer:
        """Convert an answer to the text with what is written for each of its sentinels, and to these spans alone."""
        spans = self._spans(answer["written"])
        whole: list[int] = []
        for token in ids.tolist():
            whole += spans.get(token, []) if token in self.vocabulary.sentinels else [token]
        filled = self._cut(tokenizer.decode(whole))
        places = [token for token in ids.tolist() if token in self.vocabulary.sentinels]
        said = [
            {"sentinel": tokenizer.pieces([token])[0], "text": self._cut(tokenizer.decode(spans.get(token, [])))}
            for token in places
        ]
        lines = [filled, *(f"  {span['sentinel']}: {span['text']}" for span in said)]
        return Answer({"text": text, "filled": filled, "spans": said}, lines)

    def _spans(self, written: Sequence[int]) -> dict[int, list[int]]:
        """Return what was written after each sentinel, up to the next one; for a repeated sentinel the first."""
        spans: dict[int, list[int]] = {}
        current: list[int] = []
        for token in written:
            if token in self.vocabulary.sentinels:
                current = []
                spans.setdefault(token, current)
            else:
                current.append(token)
        return spans


class Completing(Writing):
    """Continue a text; arguments as in ``Writing``."""

    written = "continuation"

    def read_out(self, text: str, ids: NDArray[np.int64], answer: Mapping[str, Any], tokenizer: Tokenizer) -> Answer:
        whole, prompt = tokenizer.decode([*ids, *answer["written"]]), tokenizer.decode(ids)
        # The space before a word is known only together with the word before it.
        continuation = whole[len(prompt) :] if whole.startswith(prompt) else tokenizer.decode(answer["written"])
        continuation = continuation if self.stop is None else self.stop.cut(continuation)
        return Answer({"text": text, "continuation": continuation}, [text + continuation])
