"""The text of a pretraining run: prepared, cut into rows, and described."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from plmtrain.data.corpus import corpus_manifest
from plmtrain.data.corpus.updates import Report
from plmtrain.data.loading.order import plan
from plmtrain.files import make_folder
from plmtrain.runs.corpus import Corpus, corpus_of, derive, programs_of
from plmtrain.runs.counting import counted
from plmtrain.runs.material import Material
from plmtrain.settings.run import PretrainSettings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.console import RenderableType

    from plmtrain.data.corpus.store import Split
    from plmtrain.data.loading.order import Phase
    from plmtrain.data.rows.rows import PartedRows, RowSource
    from plmtrain.programs.learner import Learner
    from plmtrain.programs.program import Trainable


class PreparedText(Material):
    """The text of a pretraining run, prepared.

    Args:
        settings: the run's settings.
        corpus: its text.
    """

    settings: PretrainSettings

    def __init__(self, settings: PretrainSettings, corpus: Corpus) -> None:
        super().__init__(settings, corpus.tokenizer, corpus.manifest.digest)
        self.corpus = corpus

    @property
    def unigram(self) -> NDArray[np.float64]:
        from plmtrain.data.corpus.frequencies import token_counts, unigram_losses
        from plmtrain.data.corpus.store import Store

        manifest = self.corpus.manifest
        store = Store.open(self.corpus.folder, "train")
        return unigram_losses(token_counts(store, manifest.vocabulary_size, manifest.document_end))

    @classmethod
    def of(cls, settings: PretrainSettings, report: Report) -> PreparedText:
        """Prepare the text now if that has not been done."""
        corpus = corpus_of(settings, report)
        derive(corpus, settings, report)
        if settings.trainer.epochs is not None:
            (phase,) = plan(settings.trainer)
            (program,) = programs_of(settings, [phase], corpus.tokenizer.vocabulary)
            settings = counted(settings, len(corpus.rows("train", program, phase, settings.data.isolate_documents)))
        return cls(settings, corpus)

    @classmethod
    def held_out(cls, settings: PretrainSettings, report: Report) -> PreparedText:
        """The text of a run, or other text, to evaluate the run on."""
        return cls(settings, corpus_of(settings, report))

    def programs(self, phases: Sequence[Phase]) -> list[Trainable]:
        return programs_of(self.settings, phases, self.tokenizer.vocabulary)

    def rows(self, split: Split, program: Trainable, phase: Phase) -> RowSource | PartedRows:
        return self.corpus.rows(split, program, phase, self.settings.data.isolate_documents)

    def keep(self, folder: Path) -> None:
        self.corpus.manifest.write(make_folder(folder / "data"))

    def changes(self, folder: Path) -> list[str]:
        changed = corpus_manifest.changed_sources(corpus_manifest.read_alone(folder / "data"), self.corpus.manifest)
        return changed or ["the text is divided otherwise"]

    def opening(self) -> str:
        manifest, phases = self.corpus.manifest, plan(self.settings.trainer)
        steps, tokens = phases[-1].end, sum(phase.steps * phase.batch_size * phase.sequence_length for phase in phases)
        return (
            f"{manifest.splits['train'].tokens:,} training tokens, {manifest.splits['validation'].tokens:,} held out, "
            f"vocabulary {self._vocabulary()}; "
            f"{steps:,} steps, {tokens:,} tokens\n"
            f"unigram entropy {manifest.unigram_entropy:.3f} nats a token: about what a model that knows only token frequencies "
            "loses on each hidden token; validation compares both on the same tokens"
            + "".join(f"\n{line}" for line in self.repetitions())
        )

    def _vocabulary(self) -> str:
        """How many tokens there are; how many were asked for where the text gave fewer."""
        settings, size = self.settings, self.tokenizer.vocabulary.size
        trained = settings.tokenizer.path is None and settings.init is None
        asked = settings.tokenizer.vocab_size if trained else size
        return f"{size:,}" + (f" (the text gives no {asked:,})" if size < asked else "")

    def repetitions(self) -> list[str]:
        manifest = self.corpus.manifest
        train, held_out = manifest.splits["train"], manifest.splits["validation"]
        found = []
        if train.duplicates:
            found.append(f"{train.duplicates:,} of {train.documents:,} training documents repeat another one")
        if manifest.overlap:
            found.append(f"{manifest.overlap:,} of {held_out.documents:,} held-out documents are in the training text, too")
        return found

    def closing(
        self, program: Trainable, learner: Learner, best: float | None, measured: Mapping[str, float]
    ) -> list[RenderableType]:
        from plmtrain.data.corpus.store import Store
        from plmtrain.runs.demonstration import demonstration

        held_out = Store.open(self.corpus.folder, "validation")
        tables = [demonstration(part, learner, self.tokenizer, held_out) for part in program.parts.members]
        shown: list[RenderableType] = [table for table in tables if table is not None]
        baselines = [part.baseline for part in program.parts.members if part.baseline is not None]
        compared = [line for baseline in baselines if (line := baseline.compare(measured))]
        if best is not None:
            shown += ["\n".join([f"best validation loss {best:.3f}", *compared])]
        return shown
