"""The text of a pretraining run: prepared, cut into rows, and described."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from plmtrain.console import counted
from plmtrain.data.corpus import corpus_manifest
from plmtrain.data.corpus.documents import Reading
from plmtrain.data.corpus.sources import HASHES, find_sources
from plmtrain.data.corpus.updates import OnUpdate
from plmtrain.data.loading.order import plan_phases
from plmtrain.files import make_folder
from plmtrain.interop.hub_text import located
from plmtrain.runs.corpus import Corpus, corpus_of, derive, programs_of
from plmtrain.runs.material import SAMPLED, Material, with_counted_steps
from plmtrain.settings.run import PretrainSettings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.console import RenderableType

    from plmtrain.data.loading.order import Phase
    from plmtrain.data.rows.mixed_rows import HeldOut
    from plmtrain.data.rows.rows import PartedRows, RowSource
    from plmtrain.data.splits import Split
    from plmtrain.programs.learner import Learner
    from plmtrain.programs.program import Trainable


class PreparedText(Material):
    """The prepared text of a pretraining run.

    Args:
        settings: the run's settings.
        corpus: the run's text.
    """

    settings: PretrainSettings

    def __init__(self, settings: PretrainSettings, corpus: Corpus) -> None:
        super().__init__(settings, corpus.tokenizer, corpus.manifest.digest)
        self.corpus = corpus

    def unigram_losses(self) -> NDArray[np.float64]:
        from plmtrain.data.corpus.frequencies import unigram_losses

        return unigram_losses(self.corpus.token_counts())

    def begin(self, learner: Learner) -> list[str]:
        if self.settings.trainer.start == "random" or self.settings.tokenizer_from is not None:
            return []
        from plmtrain.runs.counted_start import start_counted

        return [start_counted(learner, self.corpus, self.settings.seed)]

    @classmethod
    def of(cls, settings: PretrainSettings, on_update: OnUpdate) -> PreparedText:
        """Make the material of a run; prepare its text now if necessary."""
        corpus = corpus_of(settings, on_update)
        derive(corpus, settings, on_update)
        if settings.trainer.epochs is not None:
            (phase,) = plan_phases(settings.trainer)
            (program,) = programs_of(settings, [phase], corpus.tokenizer.vocabulary)
            settings = with_counted_steps(settings, len(corpus.rows("train", program, phase, settings.data.isolate_documents)))
        return cls(settings, corpus)

    @classmethod
    def held_out(cls, settings: PretrainSettings, on_update: OnUpdate) -> PreparedText:
        """Make the material for evaluating a run, on its own text or on other text."""
        return cls(settings, corpus_of(settings, on_update))

    def sample(self) -> Iterable[str]:
        # The text of ``data=sample`` is English; extracting it again would take seconds.
        texts = [data for data in located(self.settings.data).texts.values() if data.type != "sample"]
        for data in texts:
            sources = find_sources(data, Path(data.prepared_dir) / HASHES, lambda update: None)
            yield from Reading(data, sources, "train").beginnings(SAMPLED // len(texts))

    def programs(self, phases: Sequence[Phase]) -> list[Trainable]:
        return programs_of(self.settings, phases, self.tokenizer.vocabulary)

    def rows(self, split: Split, program: Trainable, phase: Phase) -> RowSource | PartedRows:
        return self.corpus.rows(split, program, phase, self.settings.data.isolate_documents)

    def held_out_rows(self, program: Trainable, phase: Phase) -> HeldOut:
        return self.corpus.held_out_rows(program, phase, self.settings.data.isolate_documents)

    def keep(self, folder: Path) -> None:
        self.corpus.manifest.write(make_folder(folder / "data"))

    def changes(self, folder: Path) -> list[str]:
        changed = corpus_manifest.changed_sources(corpus_manifest.read_alone(folder / "data"), self.corpus.manifest)
        return changed or ["the text is split differently"]

    def opening(self) -> str:
        manifest, phases = self.corpus.manifest, plan_phases(self.settings.trainer)
        steps, tokens = phases[-1].end, sum(phase.steps * phase.batch_size * phase.sequence_length for phase in phases)
        return (
            f"{self._source()}: {self.amount()}, "
            f"{manifest.splits['validation'].tokens:,} held out, vocabulary {self._vocabulary()}; "
            f"{counted(steps, 'step')}, {tokens:,} tokens\n"
            f"unigram entropy {manifest.unigram_entropy:.3f} nats per token: about the loss per predicted token of a model that "
            "knows only token frequencies; validation compares both on the same tokens"
            + "".join(f"\n{line}" for line in (*self.shares(), *self.repetitions()))
        )

    def amount(self) -> str:
        """Return how much text there is to train on."""
        return f"{self.corpus.manifest.splits['train'].tokens:,} training tokens"

    def shares(self) -> list[str]:
        """Return a line for each text of a mix: its share, its size, and how often the run reads it; nothing for one text."""
        corpus, read = self.corpus, defaultdict[str, float](float)
        if None in corpus.folders:
            return []
        phases = plan_phases(self.settings.trainer)
        for phase, program in zip(phases, self.programs(phases), strict=True):
            for name, passes in corpus.passes(program, phase, self.settings.data.isolate_documents).items():
                read[name] += passes
        stores = corpus.stores("train")
        return [
            f"{name}: {share:.2%} of the rows, {len(stores[name]):,} training tokens, read {read[str(name)]:.2f} times"
            + _told_if_often(read[str(name)] / phases[-1].end)
            for name, share in corpus.shares.items()
        ]

    def _source(self) -> str:
        """Return what text it is."""
        data = self.settings.data
        if data.type == "sample":
            return "the documentation inside this Python installation (data=sample; data=text data.files=[...] reads yours)"
        if data.type == "hub":
            return ", ".join(part for part in (data.hub, data.subset, data.split) if part) + f" (data={data.name})"
        if data.type == "mix":
            return f"{', '.join(data.sources)} (data={data.name})"
        first, *more = data.files
        return first + (f" and {len(more)} more" if more else "") + f" (data={data.name})"

    def _vocabulary(self) -> str:
        """Return the vocabulary's size, and the requested size if the text gave fewer tokens."""
        settings, size = self.settings, self.tokenizer.vocabulary.size
        trained = settings.tokenizer.path is None and settings.tokenizer_from is None
        asked = settings.tokenizer.vocab_size if trained else size
        return f"{size:,}" + (f" (the text gives fewer than {asked:,})" if size < asked else "")

    def repetitions(self) -> list[str]:
        manifest = self.corpus.manifest
        train, held_out = manifest.splits["train"], manifest.splits["validation"]
        lines = []
        if manifest.dropped:
            lines.append(f"{manifest.dropped:,} training documents are left out, since their text stands elsewhere")
        if train.duplicates:
            lines.append(f"{train.duplicates:,} of {train.documents:,} training documents are duplicates")
        if manifest.overlap:
            lines.append(f"{manifest.overlap:,} of {held_out.documents:,} held-out documents are also in the training text")
        return lines

    def closing(
        self, program: Trainable, learner: Learner, best: float | None, measured: Mapping[str, float]
    ) -> list[RenderableType]:
        from plmtrain.runs.demonstration import demonstration

        held_out = self.corpus.stores("validation")[self.corpus.main]
        tables = [demonstration(part, learner, self.tokenizer, held_out) for part in program.parts.members]
        shown: list[RenderableType] = [table for table in tables if table is not None]
        baselines = [part.baseline for part in program.parts.members if part.baseline is not None]
        compared = [line for baseline in baselines if (line := baseline.compare(measured))]
        if best is not None:
            shown += ["\n".join([f"best validation loss {best:.3f}", *compared])]
        return shown


def _told_if_often(passes: float) -> str:
    """Return a warning of a text of a mix that a step reads more than once."""
    return f", {passes:.1f} times in each step: give it more text, or a smaller weight" if passes > 1 else ""
