"""A mixture's settings: filled from the YAMLs of its parts, and every mistake told at once with its key and the nearest name."""

from __future__ import annotations

from pathlib import Path

import pytest

from plmtrain.errors import SettingsErrors
from plmtrain.settings.composing.compose import compose
from plmtrain.settings.decode import pretrain_settings, settings_from_run
from plmtrain.settings.identity import drift, kind_of, run_hash
from plmtrain.settings.objectives.mixture import MixtureSettings

TWO = "objective.shares={dynamic_mlm: 3, rtd: 1}"
STEPS = ("trainer.steps=10", "schedule.warmup=0")


def mixture(*overrides: str) -> MixtureSettings:
    made = pretrain_settings(compose(["objective=mixture", *overrides])).objective
    assert isinstance(made, MixtureSettings)
    return made


def errors(*overrides: str) -> list[tuple[str, str, str]]:
    with pytest.raises(SettingsErrors) as caught:
        mixture(*overrides)
    return [(error.what, error.where, error.remedy) for error in caught.value.errors]


def test_parts_are_filled_from_their_files_and_the_command_line_wins() -> None:
    for order in (1, -1):
        made = mixture(*["objective.parts.rtd.mask_probability=0.25", TWO][::order])
        assert made.shares == {"dynamic_mlm": 3, "rtd": 1}
        alone = pretrain_settings(compose(["objective=rtd"])).objective
        assert made.parts["rtd"] == alone.changed({"mask_probability": 0.25})
        assert made.parts["dynamic_mlm"] == pretrain_settings(compose(["objective=dynamic_mlm"])).objective


def test_a_file_may_serve_twice() -> None:
    made = mixture("objective.shares={mlm: 1, dense: 1}", "objective.parts.dense.name=mlm", "objective.parts.dense.copies=2")
    assert (made.parts["dense"].name, made.parts["dense"].model_dump()["copies"]) == ("mlm", 2)
    assert made.parts["mlm"].model_dump()["copies"] == 10


def test_own_files_can_be_parts(tmp_path: Path) -> None:
    (tmp_path / "objective").mkdir()
    (tmp_path / "objective" / "half.yaml").write_text("defaults: [mlm, _self_]\nname: half\nmask_probability: 0.5\n")
    (tmp_path / "objective" / "both.yaml").write_text("defaults: [mixture, _self_]\nname: both\nshares: {half: 1, rtd: 2}\n")
    made = pretrain_settings(compose(["objective=both"], str(tmp_path))).objective
    assert isinstance(made, MixtureSettings)
    assert made.parts["half"].model_dump()["mask_probability"] == 0.5
    fewer = pretrain_settings(compose(["objective=both", "objective.shares={mlm: 1, half: 1}"], str(tmp_path))).objective
    assert isinstance(fewer, MixtureSettings)
    assert set(fewer.parts) == {"half", "mlm"}  # the command line's shares are all of them


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ([], ["names nothing", "command line: objective=mixture", "objective.shares={"]),
        (["objective.shares={mlm: 1}"], ["only mlm", "name two objectives"]),
        (["objective.shares={mlm: 1, rdt: 1}"], ["'rdt'", "command line: objective.shares=", "'rtd'"]),
        (["objective.shares={mlm: 0, rtd: 0}"], ["all 0"]),
        (["objective.shares={mlm: 1, rtd: -1}"], ["objective.shares.rtd must be at least 0"]),
        (["objective.shares={mlm: 1, rtd: 0}"], ["objective.shares.rtd is 0 in every phase"]),
        (["objective.shares={mlm: 1, mixture: 1}"], ["no type of objective 'mixture' that can be a part"]),
        (["model=xlnet", "objective.shares={plm: 1, also: 1}", "objective.parts.also.name=plm"], ["carries memory", "alone"]),
        ([TWO, "objective.parts.mlm.copies=2"], ["objective.parts.mlm", "objective.shares"]),
        (
            [TWO, "objective.parts.rtd.mask_prob=0.2"],
            ["'objective.parts.rtd.mask_prob'", "that is objective.parts.rtd.mask_probability here"],
        ),
        (
            [TWO, "objective.parts.rtd.share_embeddings=gradient_disentangled"],
            ["objective.parts.rtd.share_embeddings", "the table of the whole mixture", "=full"],
        ),
        (
            [TWO, "model=bart"],
            ["objective=rtd needs a backbone of kind disentangled or encoder", "conf/objective/rtd.yaml", "objective=bart"],
        ),
    ],
)
def test_mistakes_are_told(overrides: list[str], words: list[str]) -> None:
    told = "\n".join("\n".join(error) for error in errors(*overrides))
    assert all(word in told for word in words), told


def test_all_mistakes_at_once() -> None:
    found = errors(TWO, "objective.parts.rtd.mask_share=2", "objective.parts.dynamic_mlm.copies=0", "objective.shares.rtd=-1")
    assert {what.split()[0] for what, _, _ in found} == {
        "objective.parts.rtd.mask_share",
        "objective.parts.dynamic_mlm.copies",
        "objective.shares.rtd",
    }


def test_phases_change_shares_and_settings_of_parts() -> None:
    phases = "trainer.phases=[{steps:5},{steps:5,objective:{shares:{dynamic_mlm:0},parts:{rtd:{mask_probability:0.3}}}}]"
    made = pretrain_settings(compose(["objective=mixture", TWO, *STEPS, phases]))
    later = made.objective.changed(made.trainer.phases[1].objective)
    assert isinstance(later, MixtureSettings)
    assert later.shares == {"dynamic_mlm": 0, "rtd": 1}
    assert later.parts["rtd"].model_dump()["mask_probability"] == 0.3
    assert later.parts["rtd"].model_dump()["generator_width"] == 0.25


@pytest.mark.parametrize(
    ("objective", "change", "key"),
    [
        (["objective=rtd", "model=electra"], "{generator_width:0.5}", "objective.generator_width"),
        (["objective=rtd", "model=electra"], "{share_embeddings:false}", "objective.share_embeddings"),
        (["objective=spanbert"], "{position_width:5}", "objective.position_width"),
        (["objective=mlm"], "{type:rtd}", "objective.type"),
        (["objective=mixture", TWO], "{parts:{rtd:{generator_layers:2}}}", "objective.parts.rtd.generator_layers"),
        (["objective=mixture", TWO], "{parts:{rtd:{name:mlm}}}", "objective.parts.rtd.name"),
    ],
)
def test_a_phase_cannot_change_what_there_is_to_train(objective: list[str], change: str, key: str) -> None:
    phases = f"trainer.phases=[{{steps:5}},{{steps:5,objective:{change}}}]"
    with pytest.raises(SettingsErrors) as caught:
        pretrain_settings(compose([*objective, *STEPS, phases]))
    (error,) = caught.value.errors
    assert f"a phase cannot change {key}:" in error.what
    assert error.where.startswith("command line: trainer.phases=")
    assert f"{key}=VALUE" in error.remedy


def test_a_phase_cannot_bring_a_part_of_its_own() -> None:
    phases = "trainer.phases=[{steps:5},{steps:5,objective:{shares:{mlm:1}}}]"
    told = "\n".join("\n".join(error) for error in errors(TWO, *STEPS, phases))
    assert "trainer.phases.1.objective" in told
    assert "mlm" in told


def test_what_a_change_means_to_a_run_that_has_begun() -> None:
    assert kind_of("objective.shares.rtd") == "trajectory"
    assert kind_of("objective.parts.rtd.mask_probability") == "trajectory"
    for key in ("objective.parts.rtd.generator_width", "objective.generator_width", "objective.parts.rtd.type"):
        assert kind_of(key) == "structural"
    one = pretrain_settings(compose(["objective=mixture", TWO]))
    more = pretrain_settings(compose(["objective=mixture", "objective.shares={dynamic_mlm: 3, rtd: 1, mlm: 1}"]))
    assert drift(one.model_dump(mode="json"), more.model_dump(mode="json")).structural
    allowed = pretrain_settings(compose(["objective=mixture", TWO, "resume.allow=[objective.shares.rtd]"]))
    assert run_hash(allowed) == run_hash(one)


def test_a_run_is_itself_in_whatever_order_shares_are_written_and_comes_back_from_its_folder() -> None:
    one, other = (
        pretrain_settings(compose(["objective=mixture", f"objective.shares={{{shares}}}"]))
        for shares in ("rtd: 1, dynamic_mlm: 3", "dynamic_mlm: 3, rtd: 1")
    )
    assert run_hash(one) == run_hash(other)
    assert one == other
    assert settings_from_run(one.model_dump(mode="json")) == one
