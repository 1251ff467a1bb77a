"""``plmtrain check``: report all errors of a run at once and its costs, before it starts."""

from __future__ import annotations

import os

from plmtrain.commands.check.data import examine_sources, ready_material, tell_data
from plmtrain.commands.check.findings import Findings
from plmtrain.console import beside_the_work, print_json
from plmtrain.errors import DiskError, SettingsError
from plmtrain.files import nearest_folder
from plmtrain.runs.command_settings import composed_for, kind_for
from plmtrain.runs.lifecycle import changes, weights_digests
from plmtrain.runs.preparation import preparation_report
from plmtrain.settings.decode import judge
from plmtrain.settings.identity import run_name
from plmtrain.settings.run import RunSettings
from plmtrain.training.checkpoint import Checkpoint
from plmtrain.training.run_folder import RunFolder


def run(arguments: list[str]) -> int:
    """Check a run, print the findings, and return the exit code that the run would end with."""
    as_json = "--json" in arguments
    findings = Findings()
    _examine([word for word in arguments if word != "--json"], findings)
    if as_json:
        print_json(findings.as_json())
    else:
        with beside_the_work() as console:
            findings.draw(console)
    return findings.exit_code


def _examine(arguments: list[str], findings: Findings) -> None:
    composed = composed_for("check", arguments)
    findings.origin = composed.origin
    judged = judge(composed, kind_for("check", arguments))
    findings.wrong(judged.errors)
    if judged.settings is None:
        examine_sources(judged.sections, findings)
        return
    settings: RunSettings = judged.settings
    folder = checkpoint = None
    with findings.collecting():
        folder = RunFolder.below(settings.runs_dir, run_name(settings, weights_digests(settings)))
        findings.subject = str(folder.path)
        checkpoint = _examine_folder(folder, settings, findings)
    material = None
    with findings.collecting(), preparation_report() as on_update:
        material = ready_material(settings, on_update, findings)
    if material is None:
        return
    tell_data(material, findings)
    if folder is not None:
        from plmtrain.commands.check.costs import examine_costs

        examine_costs(material, folder, checkpoint, findings)


def _examine_folder(folder: RunFolder, settings: RunSettings, findings: Findings) -> Checkpoint | None:
    """Check, without writing, whether the run can start or resume in its folder; return the checkpoint to resume from."""
    if (holder := folder.lock().holder()) is not None:
        remedy = "wait until that process has ended, or choose another name="
        findings.wrong([SettingsError(f"the run is in use by {holder}", str(folder.path), remedy)])
    place = nearest_folder(folder.path)
    if not os.access(place, os.W_OK | os.X_OK):
        remedy = "fix its permissions, or choose another runs_dir="
        findings.wrong([DiskError("the run's folder cannot be written to", str(place), remedy)])
    drift = changes(folder, settings)
    findings.wrong(drift.refusals(settings.resume.allow))
    for change in (*drift.free, *drift.trajectory):
        findings.warn(f"changed since the run began: {change}", str(folder.path), "undo it if it was not intended")
    if folder.status().get("state") == "finished":
        findings.fact("run", "finished: the same command would do nothing", state="finished")
        return None
    newest = folder.checkpoints().newest(
        settings.resume.strict,
        report=lambda line: findings.warn(line, str(folder.checkpoints_path), "run plmtrain verify to see what is damaged"),
    )
    step = 0 if newest is None else newest.step
    findings.fact(
        "run",
        f"would resume from step {step:,}" if step else "would start from step 0",
        state="resumed" if step else "new",
        step=step,
    )
    return newest
