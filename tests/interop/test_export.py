"""``plmtrain export``: what transformers makes of the folder, and what is left when something goes wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file
from sentencepiece import SentencePieceProcessor
from support.command_line import plmtrain as command
from support.export_cases import ANSWERERS, CASES, Case
from support.finished_run import STEP, TEXTS, finished_run
from torch import Tensor, nn

import plmtrain
from plmtrain import cli
from plmtrain.batch import Inputs
from plmtrain.interop import hugging_face, publishing
from plmtrain.interop.inputs import inputs_of
from plmtrain.interop.model import Model, outputs
from plmtrain.training.restore import load_run

SHORT = [" ".join(text.split()[:words]) for text, words in zip(TEXTS, (2, 6, 9, 3), strict=True)]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


TOKENS = [name for name, case in CASES.items() if not (case.classifies or case.finds_answers or case.chooses)]
ROWS = [name for name, case in CASES.items() if case.classifies]
CHOICES = [name for name, case in CASES.items() if case.chooses]


@dataclass(frozen=True)
class Exported:
    """What a case came to.

    Args:
        case: the case.
        run: the run's folder.
        out: what it was exported to.
        theirs: what transformers makes of that.
    """

    case: Case
    run: Path
    out: Path
    theirs: nn.Module


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Exported]:
    """Exports a case; each once."""

    @cache
    def make(name: str) -> Exported:
        case, place = CASES[name], tmp_path_factory.mktemp(name)
        run, out = place / "run", place / "out"
        finished_run(run, case.system.split())
        assert cli.main(["export", str(run), str(out), *([f"part={case.part}"] if case.part else [])]) == 0
        auto = getattr(transformers, case.auto)
        model, report = auto.from_pretrained(out, output_loading_info=True, attn_implementation="eager")
        assert type(model).__name__ == case.architecture
        for problem in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"):
            assert not report[problem], problem
        return Exported(case, run, out, model.eval())

    return make


def rows(case: Case, vocabulary: int, pad: int) -> tuple[Tensor, dict[str, Tensor]]:
    """Ids of rows of several lengths, with what else the class reads."""
    generator = torch.Generator().manual_seed(3)
    lengths = torch.tensor([19, 8, 1, 14])
    mask = (torch.arange(19)[None] < lengths[:, None]).long()
    ids = torch.randint(5, vocabulary, mask.shape, generator=generator)
    inputs = {"attention_mask": mask}
    if case.segments:
        inputs["token_type_ids"] = torch.randint(0, case.segments, mask.shape, generator=generator) * mask
    return torch.where(mask.bool(), ids, pad), inputs


def ours(case: Case, folder: Path, ids: Tensor, inputs: dict[str, Tensor]) -> Tensor:
    """What the model in a folder scores."""
    if (folder / "config.json").exists():
        model = hugging_face.read(folder)
    else:
        trained = load_run(folder)
        models = trained.learner.models()
        model = Model.of(models[case.part or next(iter(models))])
    tokens = model.backbone.vocabulary_size
    with torch.no_grad():
        found = outputs(model, inputs_of(model.settings, tokens, {"pad": pad_of(case), "eos": 2}, ids, inputs))
    (name,) = found.keys() - {"a backbone"}
    return found[name]


def pad_of(case: Case) -> int:
    return {"roberta": 1, "bart": 1, "xlnet": 5}.get(case.system.split()[0].removeprefix("model="), 0)


@pytest.mark.parametrize("left", [False, True], ids=["padded_right", "padded_left"])
@pytest.mark.parametrize("name", TOKENS)
def test_scores_are_those_of_the_run(name: str, left: bool, export: Callable[[str], Exported]) -> None:
    made = export(name)
    case, theirs = made.case, made.theirs
    ids, inputs = rows(case, theirs.config.vocab_size, pad_of(case))
    if left:
        ids, inputs = ids.flip(1), {key: value.flip(1) for key, value in inputs.items()}
    if name in ("bart", "t5"):
        inputs["decoder_input_ids"] = ids.flip(0)[:, :9]
    with torch.no_grad():
        expected = theirs(input_ids=ids, **inputs).logits
    real = inputs["attention_mask"].bool()
    if name in ("bart", "t5"):
        real = real.any(dim=1, keepdim=True).expand(-1, 9)
    allowed = 1e-4 if name.startswith("xlnet") else 1e-5 * max(1.0, float(expected.abs().max()))
    for folder in (made.run, made.out):
        found = ours(case, folder, ids, inputs)
        assert found.shape == expected.shape
        assert (found - expected)[real].abs().max() < allowed
        if name not in ("discriminator", "generator") and not name.endswith("_tags"):
            loaded = plmtrain.load(folder).logits(ids, **inputs)
            assert (loaded - expected)[real].abs().max() < allowed


@pytest.mark.parametrize("name", ROWS)
def test_texts_are_classified_as_the_run_does(
    name: str, export: Callable[[str], Exported], capsys: pytest.CaptureFixture[str]
) -> None:
    """From text to probabilities: tokens, the frame around them, where padding stands, the head, and the labels."""
    made = export(name)
    tokens = transformers.AutoTokenizer.from_pretrained(made.out)
    with torch.no_grad():
        expected = made.theirs(**tokens(SHORT, padding=True, return_tensors="pt")).logits.softmax(-1)
    assert made.theirs.config.id2label == {0: "bad", 1: "so_so", 2: "good"}
    for folder in (made.run, made.out):
        capsys.readouterr()
        assert cli.main(["predict", str(folder), "--json", *SHORT]) == 0
        answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        found = [[answer["probabilities"][label] for label in ("bad", "so_so", "good")] for answer in answers]
        assert torch.allclose(torch.tensor(found), expected, atol=1e-4 if name.startswith("xlnet") else 1e-5)


@pytest.mark.parametrize("name", ANSWERERS)
def test_answers_are_those_of_the_run(name: str, export: Callable[[str], Exported], capsys: pytest.CaptureFixture[str]) -> None:
    """The best span of transformers' logits, by the characters that its tokenizer tells."""
    made = export(name)
    tokens, question, context = transformers.AutoTokenizer.from_pretrained(made.out), "lowest?", "Café and lower"
    own = 0 if name.startswith("xlnet") else 1  # in XLNet's rows the context comes first
    read = tokens(*((context, question) if own == 0 else (question, context)), return_tensors="pt", return_offsets_mapping=True)
    assert read["input_ids"].shape[1] <= 32  # one window
    (offsets,), inside = read.pop("offset_mapping").tolist(), [part == own for part in read.sequence_ids(0)]
    with torch.no_grad():
        theirs = made.theirs(**read)
    starts, ends = theirs.start_logits[0].tolist(), theirs.end_logits[0].tolist()
    places = [place for place, here in enumerate(inside) if here]
    score, first, last = max((starts[one] + ends[two], one, two) for one in places for two in places if one <= two)
    for folder in (made.run, made.out):
        capsys.readouterr()
        assert cli.main(["predict", str(folder), "--json", f"{question}\t{context}"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["answer"] == context[offsets[first][0] : offsets[last][1]].strip()
        assert found["answer"] == context[found["start"] : found["end"]]
        assert found["score"] == pytest.approx(score, abs=1e-4)


@pytest.mark.parametrize("name", CHOICES)
def test_choices_are_scored_as_the_run_does(
    name: str, export: Callable[[str], Exported], capsys: pytest.CaptureFixture[str]
) -> None:
    made = export(name)
    tokens = transformers.AutoTokenizer.from_pretrained(made.out)
    context, choices = SHORT[1], [SHORT[0], SHORT[3], SHORT[0][::-1]]
    read = tokens([context] * 3, choices, padding=True, return_tensors="pt")
    with torch.no_grad():
        expected = made.theirs(**{key: value[None] for key, value in read.items()}).logits.softmax(-1)
    for folder in (made.run, made.out):
        capsys.readouterr()
        assert cli.main(["predict", str(folder), "--json", "\t".join([context, *choices])]) == 0
        answer = json.loads(capsys.readouterr().out)
        torch.testing.assert_close(torch.tensor([answer["probabilities"]]), expected, atol=1e-5, rtol=1e-4)
        assert (answer["choice"], answer["answer"]) == (int(expected.argmax()), choices[int(expected.argmax())])


@pytest.mark.parametrize(
    "name",
    ["bert", "roberta", "albert", "deberta", "deberta_v2", "xlnet", "bart", "t5", "gpt1", "gpt2", "generator", "bert_classes"],
)
def test_the_tokenizer_survives(name: str, export: Callable[[str], Exported]) -> None:
    made = export(name)
    run, exported = (plmtrain.load(folder).tokenizer for folder in (made.run, made.out))
    assert exported.digest == run.digest
    theirs = transformers.AutoTokenizer.from_pretrained(made.out)
    assert theirs.model_max_length == 40
    for role, token in run.vocabulary.roles.items():
        named = theirs.convert_tokens_to_ids("<extra_id_0>") if role == "sentinel" else getattr(theirs, f"{role}_token_id")
        assert named == token
    for text in (*TEXTS, "unseen wörds: ☃!"):
        assert theirs(text, add_special_tokens=False)["input_ids"] == run.encode([text])[0][0].tolist()
    masked = f"the {theirs.mask_token} river"
    assert theirs(masked, add_special_tokens=False)["input_ids"] == run.encode_with_specials(masked)[0].tolist()
    if run.type == "unigram":
        (file,) = made.out.glob("*.model")
        original = SentencePieceProcessor(model_file=str(file))
        assert (
            original.encode("the low fog lay over the lower town")
            == run.encode(["the low fog lay over the lower town"])[0][0].tolist()
        )


@pytest.mark.parametrize("name", CASES)
def test_what_lies_in_the_folder(name: str, export: Callable[[str], Exported]) -> None:
    made = export(name)
    names = {
        "config.json",
        "model.safetensors",
        "README.md",
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
    }
    names |= {"generation_config.json"} if name in ("bart", "t5") else set()
    names |= {"plmtrain.json"} if "task=" in made.case.system else set()
    names |= {"spiece.model"} if name.startswith(("albert", "xlnet", "t5")) else set()
    names |= {"spm.model"} if name.startswith(("deberta_v", "disentangled")) else set()
    assert {path.name for path in made.out.iterdir()} == names
    config = json.loads((made.out / "config.json").read_text())
    assert config["architectures"] == [made.case.architecture]
    assert b'"__metadata__":{"format":"pt"}' in (made.out / "model.safetensors").read_bytes()[8:200]


@pytest.mark.parametrize("name", CASES)
def test_the_card(name: str, export: Callable[[str], Exported]) -> None:
    made = export(name)
    card = (made.out / "README.md").read_text()
    for word in (made.case.architecture, made.case.auto, f"{STEP} steps", "optimizer.lr", "licence", "0.0e+00"):
        assert word.lower() in card.lower()
    # The newest losses that are not newer than the weights.
    assert "| loss | 2.0000 | 7 |" in card
    assert "| val/loss | 8.5000 | 5 |" in card
    assert str(made.run.parent) not in card


def test_bart_writes_what_the_run_writes(export: Callable[[str], Exported], capsys: pytest.CaptureFixture[str]) -> None:
    """transformers' search begins and ends as ours does, by what generation_config.json says."""
    made = export("bart")
    tokens = transformers.AutoTokenizer.from_pretrained(made.out)
    text = f"the {tokens.mask_token} river"
    written = made.theirs.generate(**tokens(text, return_tensors="pt"), num_beams=1, do_sample=False, max_length=12)[0]
    assert written.tolist()[:2] == [tokens.eos_token_id, tokens.bos_token_id]
    assert written[-1] == tokens.eos_token_id
    capsys.readouterr()
    assert cli.main(["predict", str(made.run), "--json", "--beams", "1", "--max-new-tokens", "11", text]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["restored"] == tokens.decode(written, skip_special_tokens=True).strip()


def test_the_card_of_a_task_tells_where_it_began_and_what_it_confuses(tmp_path: Path) -> None:
    finished_run(tmp_path / "base", ["model=bert", "objective=mlm"])
    task = ["task=classification", 'task.labels=["a|b",c/d]', "task.hub=someone/something", "data.files=[]"]
    finished_run(tmp_path / "run", ["model=bert", *task, f"init={tmp_path / 'base'}"])
    held_out = tmp_path / "run" / "held_out"
    held_out.mkdir()
    (held_out / "confusion.csv").write_text("expected,a|b,c/d\na|b,7,2\nc/d,1,30\n")
    (held_out / "summary.json").write_text(json.dumps({"examples": 40, "collapsed": True}))
    assert cli.main(["export", str(tmp_path / "run"), str(tmp_path / "out")]) == 0
    card = (tmp_path / "out" / "README.md").read_text()
    assert "It started from the weights of a run of plmtrain, bert trained by mlm." in card
    assert "| a\\|b | 7 | 2 |\n| c/d | 1 | 30 |" in card
    assert "The checkpoint with the highest accuracy on the held-out examples was kept" in card
    assert "40 examples were held out" in card
    assert "The run collapsed" in card
    assert "\ndatasets:\n- someone/something\nmetrics:\n- accuracy\n- f1\n---\n" in card
    for damaged in ("expected,a\nb", "\0", "expected"):
        (held_out / "confusion.csv").write_text(damaged)
        (held_out / "summary.json").write_text("[")
        shutil.rmtree(tmp_path / "out")
        assert cli.main(["export", str(tmp_path / "run"), str(tmp_path / "out")]) == 0
        assert "expected, and given" not in (tmp_path / "out" / "README.md").read_text()


# What goes wrong, with one run.


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("run") / "run"
    finished_run(place, ["model=bert", "objective=mlm"])
    return place


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith(".command"))


def test_a_weight_that_breaks_on_the_way_is_found(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = publishing.foreign.read

    def break_one(folder: Path) -> Any:
        path = folder / "model.safetensors"
        content = bytearray(path.read_bytes())
        content[-3] ^= 0x01  # the lowest bit of an exponent, or a mantissa's highest
        path.write_bytes(content)
        return read(folder)

    monkeypatch.setattr(publishing.foreign, "read", break_one)
    assert cli.main(["export", str(run), str(tmp_path / "out")]) == 4
    assert left_in(tmp_path) == []


def test_another_computation_is_found(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = publishing.foreign.read

    def other_norms(folder: Path) -> Any:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"layer_norm_eps": 1e-3}))
        return read(folder)

    monkeypatch.setattr(publishing.foreign, "read", other_norms)
    assert cli.main(["export", str(run), str(tmp_path / "out")]) == 4
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("place", ["file", "folder", "link"])
def test_nothing_is_overwritten(run: Path, tmp_path: Path, place: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    if place == "file":
        out.write_text("mine")
    elif place == "folder":
        out.mkdir()
        (out / "mine").touch()
    else:
        out.symlink_to(tmp_path / "nowhere")
    assert cli.main(["export", str(run), str(out)]) == 2
    assert "already" in capsys.readouterr().err
    assert left_in(tmp_path) == ["out"]
    assert place != "file" or out.read_text() == "mine"


def test_an_empty_folder_is_free(run: Path, tmp_path: Path) -> None:
    assert cli.main(["export", str(run), str(tmp_path)]) == 0
    assert (tmp_path / "config.json").is_file()


@pytest.mark.parametrize(("fault", "code"), [("export:term", 75), ("export:enospc", 7), ("export:raise", 1)])
def test_an_export_that_ends_early_leaves_nothing(run: Path, tmp_path: Path, fault: str, code: int) -> None:
    assert command("export", str(run), "out", cwd=tmp_path, fault=fault).code == code
    assert left_in(tmp_path) == []


def test_what_a_killed_export_left_goes_with_the_next_one(run: Path, tmp_path: Path) -> None:
    assert command("export", str(run), "out", cwd=tmp_path, fault="export:kill9").code < 0
    (tmp_path / "out.01234567.tmp.mine").mkdir()
    assert [place for place in left_in(tmp_path) if place.endswith(".tmp")]
    assert command("export", str(run), "out", cwd=tmp_path).code == 0
    assert sorted(left_in(tmp_path)) == ["out", "out.01234567.tmp.mine"]


def test_mistakes_are_told(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, words in (
        ([str(run)], "HF_FOLDER"),
        ([str(run), str(tmp_path / "out"), "part=generator"], "no part 'generator'"),
        ([str(tmp_path / "gone"), str(tmp_path / "out")], "is not a run"),
        ([str(run), str(tmp_path / "out"), "--force"], "no option '--force'"),
    ):
        assert cli.main(["export", *arguments]) == 2
        assert words in capsys.readouterr().err
    assert left_in(tmp_path) == []


def test_what_transformers_cannot_compute_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finished_run(tmp_path / "run", ["model=roberta", "objective=mlm", "model.activation=gelu_tanh"])
    assert cli.main(["export", str(tmp_path / "run"), str(tmp_path / "out")]) == 2
    assert "model.activation=gelu" in capsys.readouterr().err
    assert left_in(tmp_path) == ["run"]


def test_no_secret_reaches_the_card(tmp_path: Path) -> None:
    canary = "hf_" + "aB3" * 8
    finished_run(tmp_path / "run", ["model=bert", "objective=mlm", f"tracker.project={canary}", f"runs_dir={tmp_path}/secret"])
    config = tmp_path / "run" / "config.yaml"
    config.write_text(config.read_text().replace("name: mlm", f"name: {canary}"))
    assert cli.main(["export", str(tmp_path / "run"), str(tmp_path / "out")]) == 0
    card = (tmp_path / "out" / "README.md").read_text()
    assert canary not in card
    assert "secret" not in card


def test_a_discriminator_is_exported_with_its_whole_table_and_its_head_beside_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The table is the generator's and its own (He et al. 2021, section 3.3); transformers reads the model, plmtrain both."""
    run, out = tmp_path / "run", tmp_path / "out"
    finished_run(run, "model=deberta_v3_small objective=rtd objective.share_embeddings=gradient_disentangled".split())
    assert cli.main(["export", str(run), str(out)]) == 0
    told = "DebertaV2Model, and a head for replaced tokens by its authors' names, which it does not read"
    assert told in " ".join(capsys.readouterr().out.split())
    assert "Beside it, by its authors' names" in (out / "README.md").read_text("utf-8")
    learner = load_run(run).learner
    theirs, report = transformers.AutoModel.from_pretrained(out, output_loading_info=True)
    assert not report["missing_keys"]
    assert all(name.startswith("mask_predictions") for name in report["unexpected_keys"])
    table = theirs.embeddings.word_embeddings.weight
    torch.testing.assert_close(table, learner.generator.embedding_weight + learner.backbone.token.offset)
    ids = torch.randint(5, 60, (3, 11), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        states = theirs.eval()(ids).last_hidden_state
        torch.testing.assert_close(states, learner.backbone.encode(Inputs(ids=ids)), atol=1e-5, rtol=1e-4)
        read = hugging_face.read(out)
        (head,) = read.heads.values()
        expected = learner.discriminator_logits(Inputs(ids=ids))
        torch.testing.assert_close(head(read.backbone.encode(Inputs(ids=ids))), expected, atol=1e-5, rtol=1e-4)


def test_a_generator_with_a_mask_decoder_keeps_its_head(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By its authors' names, with which plmtrain fills masks from the folder as from the run."""
    run, out = tmp_path / "run", tmp_path / "out"
    finished_run(run, "model=deberta_v3_small objective=rtd objective.share_embeddings=gradient_disentangled".split())
    assert cli.main(["export", str(run), str(out), "part=generator"]) == 0
    assert "DebertaV2Model, and a language-model head by its authors' names" in " ".join(capsys.readouterr().out.split())
    ids = torch.randint(5, 60, (3, 11), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(plmtrain.load(out).logits(ids), plmtrain.load(run).logits(ids), atol=1e-4, rtol=1e-4)
    assert cli.main(["predict", str(out), "the [MASK] river"]) == 0


def test_a_head_that_transformers_knows_no_place_for_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, out = tmp_path / "run", tmp_path / "out"
    finished_run(run, ["model=bert", "objective=spanbert"])
    assert cli.main(["export", str(run), str(out)]) == 0
    told = "a head for what lies between two tokens"
    assert f"BertForMaskedLM, without {told}, for which it has no place" in " ".join(capsys.readouterr().out.split())
    assert f"Not in these files, since BertForMaskedLM has no place for it: {told}." in (out / "README.md").read_text("utf-8")
    assert not any("boundary" in name for name in load_file(out / "model.safetensors"))
