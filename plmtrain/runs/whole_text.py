"""A few sentences for ``plmtrain inspect``: all of them are shown, nothing is held out, and rows are as short as they need."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from plmtrain.data.corpus.corpus_manifest import SplitCounts
from plmtrain.data.corpus.updates import OnUpdate
from plmtrain.errors import DataError, SettingsError
from plmtrain.runs.corpus import Corpus, tokenizer_of
from plmtrain.runs.material import require_tokens
from plmtrain.runs.prepared_text import PreparedText
from plmtrain.settings.data import DataSettings
from plmtrain.settings.run import PretrainSettings
from plmtrain.streams import standard_input

if TYPE_CHECKING:
    from plmtrain.data.loading.order import Phase
    from plmtrain.data.rows.rows import PartedRows, RowSource
    from plmtrain.data.splits import Split
    from plmtrain.programs.program import Trainable

_SHORTEST = 3
"""Places in the shortest row."""


class WholeText(PreparedText):
    """A text of which every token is read. It is both splits, so that rows are made as for held-out text: in few streams, in one
    copy of pairs."""

    @classmethod
    def prepared(cls, settings: PretrainSettings, data: DataSettings, folder: Path, on_update: OnUpdate) -> WholeText:
        """Prepare a text with the tokenizer of a run.

        Args:
            settings: the run; its tokenizer is trained on its own data.
            data: the text.
            folder: gets the prepared text.
            on_update: called with the progress.

        Raises:
            DataError: if there is no text, or none that the objective can read.
        """
        from plmtrain.data.corpus.prepare import prepare

        tokenizer = tokenizer_of(settings, on_update)
        require_tokens(settings, tokenizer)
        place = str(folder / "prepared")
        both = data.model_copy(update={"validation_files": data.files, "prepared_dir": place, "deduplicate": False})
        made = prepare(both, tokenizer, minimum_validation_tokens=1, on_update=on_update)
        corpus = Corpus.of_one(tokenizer, made)
        _require_pairs(settings, corpus.manifest.splits["train"])
        return cls(settings, corpus)

    def rows(self, split: Split, program: Trainable, phase: Phase) -> RowSource | PartedRows:
        return super().rows("validation", program, self._shortened(program, phase))

    def _shortened(self, program: Trainable, phase: Phase) -> Phase:
        """Return the phase with rows that the text fills, without its last end mark."""
        tokens = self.corpus.manifest.splits["train"].tokens - 1
        filled = [
            part.program
            for part in program.parts.members
            if part.program.settings.reads in ("blocks", "streams", "two_way_streams")
        ]

        def fits(length: int) -> bool:
            try:
                return all(0 < part.row_shape(length).length <= tokens for part in filled)
            except SettingsError:
                return False  # shorter than the objective takes

        for length in range(phase.sequence_length, _SHORTEST - 1, -1):
            if fits(length):
                return replace(phase, sequence_length=length)
        raise DataError(
            f"a text of {tokens} tokens fills no row of objective={self.settings.objective.name}",
            "the text to inspect",
            "give a longer text",
        )


def given_data(data: DataSettings, texts: Sequence[str], file: str | None, folder: Path) -> DataSettings:
    """Return the settings that read texts of the command line, each a document, or a file or standard input, a document a line.

    Args:
        data: those of the run, for everything else.
        texts: of the command line.
        file: the name of a file; ``-`` for standard input.
        folder: gets what is in no file yet.

    Raises:
        SettingsError: if texts of one language cannot be what the run reads.
    """
    if data.type == "mix":
        data = next(iter(data.texts.values()))
    if data.type == "parallel":
        what = "a text alone has no translation"
        remedy = "write both into a file: data=parallel data.files=[en-de.tsv] data.languages=[en,de]"
        raise SettingsError(what, "the text to inspect", remedy)
    changes: dict[str, object] = {"type": "text", "document_per": "line"}
    if texts:
        place = folder / "texts.jsonl"
        place.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
        changes = {"type": "jsonl", "text_column": "text"}
    elif file == "-":
        place = folder / "standard-input.txt"
        place.write_bytes(standard_input().read())
    else:
        place = Path(str(file))
    return data.model_copy(update={**changes, "files": (str(place),)})


def _require_pairs(settings: PretrainSettings, counts: SplitCounts) -> None:
    """Refuse texts that no pair of segments can be cut from, with what is needed."""
    for part in settings.objective.members().values():
        if part.reads != "segment_pairs":
            continue
        documents = counts.documents - counts.duplicates
        few = getattr(part, "relation", None) == "next" and documents < 2
        if few or counts.sentences == counts.documents:
            needed = "two different texts, one of them of two sentences" if few else "a text of two sentences or more"
            raise DataError(
                f"objective={part.name} compares two segments: it needs {needed}",
                f"the text to inspect: {_number(documents, 'text')}, {_number(counts.sentences, 'sentence')}",
                'give each text as an argument: "The old mill stands. It is closed." "The river is wide."',
            )


def _number(count: int, name: str) -> str:
    return f"{count} {name}{'' if count == 1 else 's'}"
