"""``plmtrain export``: what transformers makes of the folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
import torch
import transformers
from sentencepiece import SentencePieceProcessor
from support.export_cases import ANSWERERS, CASES, Case
from support.finished_run import STEP, TEXTS, finished_run
from torch import Tensor, nn

import plmtrain
from plmtrain import cli
from plmtrain.interop import hugging_face
from plmtrain.interop.inputs import inputs_of
from plmtrain.interop.model import Model, outputs
from plmtrain.training.checkpoint_manifest import Identity
from plmtrain.training.progress import Progress
from plmtrain.training.restore import load_run
from plmtrain.training.run_folder import RunFolder

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
    assert "There is no answer" not in card
    assert "\ndatasets:\n- someone/something\nmetrics:\n- accuracy\n- f1\n---\n" in card
    for damaged in ("expected,a\nb", "\0", "expected"):
        (held_out / "confusion.csv").write_text(damaged)
        (held_out / "summary.json").write_text("[")
        shutil.rmtree(tmp_path / "out")
        assert cli.main(["export", str(tmp_path / "run"), str(tmp_path / "out")]) == 0
        assert "expected, and given" not in (tmp_path / "out" / "README.md").read_text()


def test_a_moving_average_of_the_weights_is_what_is_exported(tmp_path: Path) -> None:
    run = tmp_path / "run"
    finished_run(run, ["model=bert", "objective=mlm", "trainer.ema=0.9"])
    checkpoints = RunFolder(run).checkpoints(1, Identity("finished"))
    weights = checkpoints.at(STEP).load("model")
    average = {name: torch.randn_like(weight) for name, weight in weights.items()}
    checkpoints.save(STEP + 1, {"model": weights, "average": average}, Progress(step=STEP + 1))
    assert cli.main(["export", str(run), str(tmp_path / "out")]) == 0
    exported = transformers.BertForMaskedLM.from_pretrained(tmp_path / "out").bert.encoder.layer[1].intermediate.dense.weight
    assert any(torch.equal(exported, tensor) for tensor in average.values())
    assert not any(torch.equal(exported, tensor) for tensor in weights.values())
