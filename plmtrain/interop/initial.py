"""Initial weights of a run: the backbone and the heads of another run, or of a Hugging Face folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from plmtrain.backbones import Backbone
from plmtrain.errors import SettingsError
from plmtrain.interop import foreign
from plmtrain.interop.model import called
from plmtrain.interop.tokenizers import has_tokenizer
from plmtrain.nn.heads import MaskedLMHead, PairHead, TiedHead
from plmtrain.nn.word_softmax import WordSoftmax
from plmtrain.programs.learner import Learner
from plmtrain.programs.program import AnyProgram, Trainable
from plmtrain.programs.task import TaskProgram
from plmtrain.settings.identity import RESOLVED
from plmtrain.settings.run import FinetuneSettings, RunSettings
from plmtrain.text.extension import new_tokens, with_added_tokens
from plmtrain.text.tokenizer import Tokenizer
from plmtrain.training.restore import is_run, load_run, result_of, tokenizer_folder
from plmtrain.training.run_folder import RunFolder, run_and_step


def weights_digest(folder: Path, key: str = "init") -> str:
    """Return the digest of the weights in the folder of a run or a Hugging Face model.

    Args:
        folder: the folder of either.
        key: the setting that names it, for messages.

    Raises:
        SettingsError: if there are none.
    """
    if (place := run_and_step(folder)) is not None:
        run = RunFolder(place[0])
        checkpoint = result_of(run, decides="task" in run.config(), step=place[1])
        if checkpoint is None:
            raise SettingsError("the run has no checkpoint yet", f"{key}={folder}", "train it first")
        files = checkpoint.manifest.files
        return files.get("average.safetensors", files["model.safetensors"])[1]
    if not folder.is_dir():
        raise SettingsError("this folder does not exist", f"{key}={folder}", "name a run below runs/, or a Hugging Face folder")
    return foreign.weights_digest(folder, key)


def token_rows(folder: Path, tokens: int) -> int:
    """Return the rows of the token embedding of a run or a Hugging Face folder; published models may have unused rows.

    Args:
        folder: the folder of either.
        tokens: the size of the vocabulary.
    """
    if (place := run_and_step(folder)) is not None:
        rows = (RunFolder(place[0]).config().get(RESOLVED) or {}).get("vocabulary")
    else:
        rows = foreign.token_rows(folder)
    return max(rows, tokens) if isinstance(rows, int) else tokens


@dataclass(frozen=True)
class Start:
    """The weights that a run starts from, and the modules of its learner that receive them.

    Args:
        folder: a run or a Hugging Face folder.
        taken: each module of the learner with weights in the folder, and the module that has them.
        loaded: the names of these modules, for messages.
        fresh: the names of the learner's other modules, which are new and random.
        pieces: for each new token, the tokens that the folder's own tokenizer writes it with; none for a special token.
        renewed: blocks of the backbone that keep their new random weights all the same.
    """

    folder: Path
    taken: Sequence[tuple[nn.Module, nn.Module]]
    loaded: Sequence[str]
    fresh: Sequence[str]
    pieces: Mapping[int, Sequence[int]]
    renewed: Sequence[nn.Module] = ()

    def load(self) -> None:
        """Load the weights. The rows of new tokens become the mean of the rows of their old pieces, or stay random."""
        kept = [(block, {name: weight.clone() for name, weight in block.state_dict().items()}) for block in self.renewed]
        (backbone, source), *others = self.taken
        for module, other in others:
            module.load_state_dict(_grown(module, other, self.pieces))
        # The last, since another backbone, a generator, may lend it a table.
        assert isinstance(backbone, Backbone)
        lender_is_loaded = any(isinstance(module, Backbone) for module, _ in others)
        backbone.load_whole(_grown(backbone.whole(), source, self.pieces), lender_is_loaded)
        for block, weights in kept:
            block.load_state_dict(weights)

    def __str__(self) -> str:
        lines = [f"starting from {self.folder}, loaded: {', '.join(self.loaded)}"]
        if self.fresh:
            lines.append(f"new and random: {', '.join(self.fresh)}")
        spelt = sum(1 for pieces in self.pieces.values() if pieces)
        for count, beginning in ((spelt, "the mean of the old pieces"), (len(self.pieces) - spelt, "random embeddings")):
            if count:
                tokens = "1 new token starts" if count == 1 else f"{count:,} new tokens start"
                lines.append(f"{tokens} from {beginning}")
        return "; ".join(lines)


def start_of(settings: RunSettings, program: Trainable, learner: Learner) -> Start | None:
    """Compare a learner with the weights that its run starts from; None for a run that starts from random weights.

    The backbone must be there. Of the heads, those of an objective are taken where the folder has the same; a task's are new but
    for the pooler in them and for those that it continues. The ``trainer.reinitialise_layers`` last layers are new, too, and the
    pooler with them.

    Args:
        settings: the run's settings.
        program: the run's program or mixture.
        learner: the run's learner; it may be on the meta device.

    Raises:
        SettingsError: if the backbones differ in shape, with the tensors' names, or the tokenizers disagree.
        CheckpointError: if the weights cannot be used.
    """
    if settings.init is None:
        return None
    folder = Path(settings.init)
    source = _source(folder)
    pieces = _new_tokens(settings, folder)
    _require_alike(learner.backbone, source.backbone, pieces, folder)
    taken: list[tuple[nn.Module, nn.Module]] = [(learner.backbone, source.backbone)]
    loaded = ["the backbone"]
    new = settings.trainer.reinitialise_layers
    fresh = [f"its last {'layer' if new == 1 else f'{new} layers'}"] if new else []
    for part in program.parts.members:
        own = part.learner(learner)
        pooler = own.pooler_layer
        for name, module in _parts_of(own, part.program):
            heads = [one for kind, one in source.parts if kind == name and not _unlike(module, one, pieces)]
            if isinstance(part.program, TaskProgram) and not isinstance(module, part.program.continued):
                heads = []
            if heads:
                taken.append((module, heads[0]))
            elif not new and pooler is not None and source.pooler is not None and pooler in module.modules():
                taken.append((pooler, source.pooler))
                loaded.append("the pooler")
            (loaded if heads else fresh).append(name)
    last = learner.backbone.stacks()[-1]
    renewed = last[len(last) - new :]
    return Start(folder, taken, list(dict.fromkeys(loaded)), list(dict.fromkeys(fresh)), pieces, renewed)


@dataclass(frozen=True)
class _Source:
    """The modules in a folder: the backbone, all others by their names, and the pooler's layer if there is one."""

    backbone: Backbone
    parts: Sequence[tuple[str, nn.Module]]
    pooler: nn.Linear | None


def _source(folder: Path) -> _Source:
    if is_run(folder):
        trained = load_run(folder)
        parts = trained.program.parts
        modules = [named for part in parts.members for named in _parts_of(part.learner(trained.learner), part.program)]
        return _Source(trained.learner.backbone.whole(), modules, parts.main.learner(trained.learner).pooler_layer)
    read = foreign.read(folder)
    pairs = read.settings.published.pairs
    return _Source(read.backbone, [(_named(head, pairs), head) for head in read.heads.values()], read.pooler)


def _parts_of(learner: Learner, program: AnyProgram) -> Iterator[tuple[str, nn.Module]]:
    """Yield the modules of a part's learner that belong to it alone, with names: its heads, and a generator."""
    for place, module in learner.named_children():
        if isinstance(module, Backbone):
            if module is not learner.backbone:
                yield f"the {place}", module
        else:
            of = " of the generator" if place.startswith("generator") else ""
            yield f"{_named(module, getattr(program.settings, 'type', ''))}{of}", module


def _named(head: nn.Module, pairs: str) -> str:
    """Return the name of a head. Heads for pairs have the same shape and opposite labels: their objective belongs to the name."""
    return f"{called(type(head))} ({pairs})" if isinstance(head, PairHead) else called(type(head))


def _grown(module: nn.Module, source: nn.Module, pieces: Mapping[int, Sequence[int]]) -> dict[str, Tensor]:
    """Return a module's weights, with a row of the vocabulary for each token: the source's, or the mean of its old pieces'."""
    weights = dict(source.state_dict())
    for name in _by_token(source):
        old = weights[name]
        rows = module.state_dict()[name].to(old.dtype, copy=True)
        rows[: len(old)] = old[: len(rows)]
        for token, parts in pieces.items():
            if parts:
                rows[token] = old[list(parts)].mean(dim=0)
        weights[name] = rows
    return weights


def _by_token(module: nn.Module) -> list[str]:
    """Return the names of a module's own tensors that have a row for each token."""
    if isinstance(module, Backbone):
        if module.settings.reads_characters:
            return []
        return [name for name, weight in module.named_parameters() if weight is module.embedding_weight]
    if isinstance(module, WordSoftmax):
        return ["weight", "bias"]
    return ["bias"] if isinstance(module, MaskedLMHead | TiedHead) else []


def _unlike(module: nn.Module, source: nn.Module, pieces: Mapping[int, Sequence[int]]) -> list[str]:
    """Return the differences between the tensors of two modules; a table of tokens may grow by new ones."""
    ours, theirs = module.state_dict(), source.state_dict()
    growing = _by_token(source) if pieces else []
    wrong = []
    for name, tensor in ours.items():
        old = theirs.get(name)
        grows = old is not None and name in growing and old.shape[1:] == tensor.shape[1:] and len(old) <= len(tensor)
        if old is None or (old.shape != tensor.shape and not grows):
            wrong.append(f"{name} is {'missing' if old is None else list(old.shape)}, not {list(tensor.shape)}")
    return wrong + [f"{name} is not in the model" for name in theirs.keys() - ours.keys()]


def _require_alike(backbone: Backbone, source: Backbone, pieces: Mapping[int, Sequence[int]], folder: Path) -> None:
    if wrong := _unlike(backbone.whole(), source, pieces):
        raise SettingsError(
            "the weights to start from have another shape",
            f"init={folder}: {'; '.join(sorted(wrong)[:4])}",
            "choose the same model, size and tokenizer",
        )


def _new_tokens(settings: RunSettings, folder: Path) -> dict[int, list[int]]:
    """Return the tokens of the run that the weights do not know yet, each with its old pieces: those of ``tokenizer.path``, those
    that a published vocabulary lacks, and those of the task."""
    own, family = tokenizer_folder(folder), settings.model.published.tokens
    texts = settings.task.added_tokens if isinstance(settings, FinetuneSettings) else ()
    if (settings.tokenizer.path is None and not family.added and not texts) or not has_tokenizer(own):
        return {}
    before = Tokenizer.load(own)
    given = before if settings.tokenizer.path is None else Tokenizer.load(settings.tokenizer.path)
    now = with_added_tokens(given, family, texts)
    if before.digest == now.digest:
        return {}
    return new_tokens(before, now)
