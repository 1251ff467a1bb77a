"""``plmtrain pretrain``: from settings to a finished run, or on from where it stopped."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plmtrain import stopping
from plmtrain.commands.parts import Corpus, corpus_of, programs_of
from plmtrain.commands.preparation import preparation_report
from plmtrain.commands.telling import tell
from plmtrain.data import manifest as manifests
from plmtrain.data.order import check_divisible, plan
from plmtrain.errors import SettingsError, SettingsErrors, Stopped, understood
from plmtrain.files import atomic_folder, make_folder
from plmtrain.redaction import redact
from plmtrain.settings.compose import compose
from plmtrain.settings.decode import pretrain_settings
from plmtrain.settings.identity import Drift, drift, run_hash, run_name
from plmtrain.settings.run import PretrainSettings
from plmtrain.training import launch
from plmtrain.training.manifest import Identity
from plmtrain.training.run_folder import RunFolder, State

if TYPE_CHECKING:
    from plmtrain.data.store import Split


def run(arguments: list[str]) -> int:
    """Train a run to its end, in this process or in several."""
    settings = pretrain_settings(compose(arguments))
    stopping.watch()
    launch.end_with_parent()
    init_digest = _init_digest(settings)
    folder = RunFolder.below(settings.runs_dir, run_name(settings, init_digest)).create()
    with _owned(folder) as owns, folder.log() as log:
        status = folder.status()
        if owns and status.get("state") == "finished" and not _changed(folder, settings).trajectory:
            tell(f"{folder.path} is finished: {status.get('reason') or 'all steps are done'}")
            return 0
        with _told(folder, log, owns):
            if owns:
                _agree_with_the_past(folder, settings)
                folder.write_status("preparing", step=status.get("step"))
            with preparation_report() as report:
                corpus = corpus_of(settings, report)
            if settings.launch.processes > 1 and not launch.in_a_group():
                check_divisible(plan(settings.trainer), settings.launch.processes)
                return _conclude(folder, launch.launch(["pretrain", *arguments], settings.launch.processes))
            _train(settings, corpus, folder, run_hash(settings, init_digest), owns)
    return 0


def _train(settings: PretrainSettings, corpus: Corpus, folder: RunFolder, settings_hash: str, owns: bool) -> None:
    """Put the parts together and train."""
    from plmtrain.training import allocator

    allocator.tune()

    import torch

    from plmtrain import backbones, keyed_random
    from plmtrain.optim import optimizer
    from plmtrain.training.group import Group
    from plmtrain.training.precision import choose
    from plmtrain.training.progress import Progress
    from plmtrain.training.progress_line import ProgressLine
    from plmtrain.training.reporting import RunReporter
    from plmtrain.training.state import TrainingState
    from plmtrain.training.trackers import Tracker
    from plmtrain.training.trainer import Parts, Trainer

    group = Group(settings.trainer.device, settings.launch.timeout, settings.trainer.threads)
    precision = choose(settings.trainer.precision, group.device)
    phases = plan(settings.trainer)
    vocabulary = corpus.tokenizer.vocabulary
    programs = programs_of(settings, phases, vocabulary)

    def rows(split: Split, index: int) -> Any:
        program = programs[index]
        length = program.row_length(phases[index].sequence_length)
        return corpus.rows(split, program.settings, length, settings.data.isolate_documents)

    torch.manual_seed(keyed_random.scalar("initial weights", settings.seed))
    learner = programs[0].build(lambda model: backbones.build(model, vocabulary.size))
    if settings.init is not None:
        from plmtrain.interop.initial import load_backbone

        load_backbone(Path(settings.init), programs[0].backbone_of(learner))
    learner.to(group.device).train()
    if settings.trainer.compile:
        for block in programs[0].backbone_of(learner).blocks():
            # One kernel for each shape, never one for shapes seen before: a resumed run must compute the same.
            block.compile(dynamic=False)

    identity = Identity(folder.run_id, settings_hash, corpus.tokenizer.digest, corpus.manifest.digest)
    checkpoints = folder.checkpoints(settings.trainer.keep, identity)
    state = TrainingState(learner, optimizer.build(learner, settings.optimizer), {})
    if group.is_main:
        checkpoints.clear_leftovers()
    group.wait()
    say = tell if group.is_main else _silent
    progress = Progress()
    if (checkpoint := checkpoints.newest(settings.resume.strict, report=say)) is not None:
        _same_text(checkpoint.identity, identity, folder, corpus, settings)
        state.restore(checkpoint, group)
        progress = checkpoint.progress
        say(f"going on from step {progress.step}")

    reporter = None
    if group.is_main:
        # Weights and two moments of each in fp32, and as much again while the next one is written before the old one goes.
        checkpoints.require_space(2 * 3 * 4 * sum(parameter.numel() for parameter in learner.parameters()))
        resolved = {"precision": precision, "threads": torch.get_num_threads(), "device": str(group.device), "ranks": group.size}
        folder.write_config({**settings.model_dump(mode="json"), "resolved": resolved})
        folder.write_status("running", step=progress.step, total_steps=settings.trainer.steps)
        if not folder.tokenizer_path.exists():
            with atomic_folder(folder.tokenizer_path) as temporary:
                corpus.tokenizer.save(temporary)
        corpus.manifest.write(make_folder(folder.path / "data"))
        metrics = folder.metrics()
        metrics.keep_until(progress.step)
        line = ProgressLine(settings.trainer.steps, first_step=progress.step, unigram_entropy=corpus.manifest.unigram_entropy)
        tracker = Tracker(
            settings.tracker,
            folder.trackers_path,
            name=folder.path.name,
            config=settings.model_dump(mode="json"),
            first_step=progress.step,
            warn=line.note,
        )
        reporter = RunReporter(folder, metrics, line, tracker)
        line.note(_opening(settings, corpus, learner, resolved))

    parts = Parts(
        settings=settings,
        plan=phases,
        programs=programs,
        rows=[rows("train", index) for index in range(len(phases))],
        held_out=rows("validation", len(phases) - 1),
        precision=precision,
        group=group,
        checkpoints=checkpoints,
        reporter=reporter,
    )
    trainer = Trainer(parts, state, progress)
    try:
        trainer.run()
    finally:
        if reporter is not None:
            reporter.close()
            now = trainer.progress
            facts: dict[str, Any] = {"step": now.step, "total_steps": settings.trainer.steps, "best_step": now.best_step}
            folder.write_status("running", **facts)
    if group.is_main:
        reason = "stopped early: validation did not improve" if trainer.stopped_early else "all steps are done"
        folder.write_status("finished", 0, reason, **facts)
        _closing(settings, corpus, programs[-1], learner.eval(), folder, trainer.progress.best_metric or 0.0)
    group.close()


def _opening(settings: PretrainSettings, corpus: Corpus, learner: Any, resolved: dict[str, Any]) -> str:
    counts = corpus.manifest.splits
    parameters = sum(parameter.numel() for parameter in learner.parameters())
    tokens = settings.trainer.batch_size * settings.trainer.sequence_length
    return (
        f"{settings.model.name} · {settings.objective.name} · {parameters:,} parameters · {resolved['precision']} on "
        f"{resolved['device']} ({resolved['ranks']} × {resolved['threads']} threads)\n"
        f"{counts['train'].tokens:,} training tokens, {counts['validation'].tokens:,} held out, vocabulary "
        f"{corpus.tokenizer.vocabulary.size:,}; {settings.trainer.steps:,} steps of {tokens:,} tokens\n"
        f"unigram entropy {corpus.manifest.unigram_entropy:.3f} nats a token: a model that knows frequencies only has this loss"
    )


def _closing(settings: PretrainSettings, corpus: Corpus, program: Any, learner: Any, folder: RunFolder, loss: float) -> None:
    """What the run came to: its loss against the unigram entropy, and what it makes of hidden words."""
    from plmtrain.commands.fill_table import fill_table
    from plmtrain.data.store import Store

    table = fill_table(program, learner.to("cpu"), corpus.tokenizer, Store.open(corpus.folder, "validation"))
    entropy = corpus.manifest.unigram_entropy
    side = "below" if loss < entropy else "above"
    verdict = f"best validation loss {loss:.3f} nats a token, {abs(entropy - loss):.3f} {side} the unigram entropy {entropy:.3f}"
    tell(table, verdict, str(folder.path))


@contextmanager
def _owned(folder: RunFolder) -> Iterator[bool]:
    """Hold the run's lock where this process answers for the run; whether it does."""
    if launch.started_by_us() or not launch.is_first():
        yield False
    else:
        with folder.lock(report=tell):
            yield True


@contextmanager
def _told(folder: RunFolder, log: logging.Logger, owns: bool) -> Iterator[None]:
    """Write how the run ended into its status, and the whole traceback into its log."""
    try:
        yield
    except BaseException as error:
        problem = understood(error)
        log.error("the run ended", exc_info=error)
        if problem is None:
            error.plmtrain_log = str(folder.log_path)  # type: ignore[attr-defined]  # where the command line says it is
        if owns or launch.is_first():
            facts = {key: value for key, value in folder.status().items() if key in ("step", "total_steps", "best_step")}
            state: State = "stopped" if isinstance(problem, Stopped) else "failed"
            code = problem.exit_code if problem is not None else 1
            folder.write_status(state, code, str(problem.what if problem is not None else error), **facts)
        raise


def _conclude(folder: RunFolder, code: int) -> int:
    """After several processes: the status says what they agreed on, even where the first of them could not write it."""
    status = folder.status()
    if status.get("exit_code") != code:
        facts = {key: status[key] for key in ("step", "total_steps", "best_step") if key in status}
        folder.write_status("stopped" if code == Stopped.exit_code else "failed", code, "a process of the run failed", **facts)
    return code


def _changed(folder: RunFolder, settings: PretrainSettings) -> Drift:
    new = redact(settings.model_dump(mode="json"))
    return drift(folder.config() if folder.exists else new, new)


def _agree_with_the_past(folder: RunFolder, settings: PretrainSettings) -> None:
    """Refuse to go on with settings that would change the result unseen.

    Raises:
        SettingsErrors: for each setting that may not change.
    """
    changed = _changed(folder, settings)
    if refusals := changed.refusals(settings.resume.allow):
        raise SettingsErrors(refusals)
    for change in (*changed.free, *changed.trajectory):
        tell(f"changed since the run began: {change}")


def _same_text(saved: Identity, now: Identity, folder: RunFolder, corpus: Corpus, settings: PretrainSettings) -> None:
    """Refuse to go on with another tokenizer, or with text that was edited."""
    if saved.tokenizer_digest != now.tokenizer_digest:
        raise SettingsError(
            "the tokenizer is not the one that the run began with",
            f"tokenizer {now.tokenizer_digest[:16]} instead of {saved.tokenizer_digest[:16]}",
            "restore the text or tokenizer that it was made from, or start anew under another name=",
        )
    if saved.data_digest != now.data_digest and not any(key.split(".")[0] == "data" for key in settings.resume.allow):
        changed = manifests.changed_sources(manifests.read(folder.path / "data"), corpus.manifest)
        raise SettingsError(
            "the text has changed since the run began",
            ", ".join(changed[:4]) or "it is split or divided otherwise",
            "restore the files, start anew under another name=, or accept it with resume.allow=[data.files]",
        )


def _init_digest(settings: PretrainSettings) -> str | None:
    """The digest of the weights that the run starts from."""
    if settings.init is None:
        return None
    from plmtrain.interop.initial import weights_digest

    return weights_digest(Path(settings.init))


def _silent(line: str) -> None:
    """Only the main process speaks."""
