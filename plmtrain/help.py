"""The texts of ``--help``. This module imports nothing heavy: help must appear at once."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Verb:
    """The help of a verb.

    Args:
        summary: what it does, in one line.
        usage: the arguments of ``plmtrain``.
        about: a paragraph.
        examples: command lines with a comment each.
        composes: whether it takes Hydra overrides, and with them ``-m``, ``--cfg job`` and ``--config-dir``.
        options: its own options, besides those of all verbs that compose.
        runs: whether its arguments name runs.
    """

    summary: str
    usage: str
    about: str
    examples: tuple[tuple[str, str], ...]
    composes: bool = False
    options: tuple[str, ...] = ()
    runs: bool = False


VERBS = {
    "pretrain": Verb(
        "pretrain a model on text",
        "pretrain [FILE.yaml] [GROUP=CHOICE | KEY=VALUE]...",
        "Trains the tokenizer and prepares the text first, unless that has been done. The same command again resumes the\n"
        "run, or reports that it is finished. All files of the run are in runs/NAME/.",
        (
            ("plmtrain pretrain model=roberta objective=dynamic_mlm data=sample size=tiny", "some minutes on two cores"),
            ("plmtrain pretrain model=bert objective=mlm data=text data.files=[mytext.txt] size=small", "your own text"),
            ("plmtrain pretrain model=albert data=jsonl data.files=['corpus/*.jsonl.gz'] trainer.steps=20000", "many files"),
            ("plmtrain pretrain experiment=roberta launch.processes=2", "a published recipe, two processes"),
            (
                "plmtrain pretrain run.yaml trainer.steps=2000",
                "all settings in a file of your own: model: roberta, size: small ...",
            ),
            ("plmtrain pretrain runs/mine/config.yaml name=again", "an earlier run once more"),
            (
                "plmtrain pretrain init=bert-base-uncased data=text data.files=[mytext.txt]",
                "go on from a Hugging Face folder or a run",
            ),
            ("plmtrain pretrain -m size=tiny seed=1,2,3 optimizer.lr=5e-4,1e-3", "a sweep of six runs"),
            (
                "plmtrain pretrain -m size=tiny seed=1,2,3,4 hydra.launcher.jobs=2",
                "two of its runs at a time, which share the cores",
            ),
        ),
        composes=True,
    ),
    "finetune": Verb(
        "train a run or a Hugging Face model for a task",
        "finetune [FILE.yaml] task=TASK init=RUN_OR_FOLDER [KEY=VALUE]...",
        "Trains on labelled examples in TSV, CSV, JSON or parquet, or a public dataset. Model and tokenizer are those of init=;\n"
        "without init=, the model of model= starts from random weights. The result is the best checkpoint by the metric; its\n"
        "predictions for held-out examples are in runs/NAME/predictions.jsonl. The same command again resumes the run, or\n"
        "reports that it is finished.",
        (
            (
                "plmtrain finetune task=classification data.files=[train.tsv] data.validation_files=[dev.tsv] task.text=text "
                "init=runs/mine",
                "your own files, with the columns text and label",
            ),
            (
                "plmtrain finetune task=classification data.files=[pairs.csv] task.text=[sentence1,sentence2] task.label=same "
                "trainer.epochs=5",
                "pairs, a tenth of them held out, from random weights",
            ),
            (
                "plmtrain finetune task=regression data.files=[train.tsv] task.text=[sentence1,sentence2] task.label=score "
                "init=runs/mine",
                "scores of pairs",
            ),
            (
                "plmtrain finetune task=sequence_to_sequence data.files=[train.tsv] task.text=en task.target=de "
                "model=bart size=small",
                "a text for a text, such as its translation",
            ),
            (
                "plmtrain finetune task=squad_v2 data.files=[train-v2.0.json] data.validation_files=[dev-v2.0.json] "
                "trainer.sequence_length=384 init=runs/mine",
                "answers to questions, found in texts",
            ),
            ("plmtrain finetune task=glue/sst2 init=runs/mine", "a public dataset, from the hub"),
            ("plmtrain finetune task=glue/rte task.folder=glue init=runs/mine", "the same from a folder, without a connection"),
            (
                "plmtrain finetune -m task=glue init=runs/mine seed=1,2,3",
                "all tasks of GLUE, and one table with their average",
            ),
            (
                "plmtrain finetune -m task=glue/rte init=runs/mine seed=1,2,3,4,5 optimizer.lr=1e-5,2e-5,3e-5",
                "five seeds of each learning rate, with mean, deviation, median and interval, and the best one",
            ),
        ),
        composes=True,
    ),
    "evaluate": Verb(
        "compute held-out loss and perplexity of a run, or the metrics of a fine-tuned run",
        "evaluate RUN [--json] [--precision PRECISION] [scoring=SCORING] [KEY=VALUE]...",
        "Computes loss, perplexity and accuracy with the newest checkpoint, on the run's held-out text or on other text; for a\n"
        "fine-tuned run, the task's metrics with the best checkpoint. With scoring=, it scores a language model without\n"
        "training, also one in a Hugging Face folder: perplexity for each token, word and byte; multiple choice; minimal\n"
        "pairs; written answers; each with its standard error. plmtrain list scoring explains all settings.\n"
        "--precision is auto, fp32, bf16 or fp16, in place of the run's trainer.precision.",
        (
            ("plmtrain evaluate runs/roberta-dynamic_mlm-1f2e3d4c", "the validation text of the run"),
            ("plmtrain evaluate runs/mine data=text data.files=[a.txt] data.validation_files=[b.txt]", "the text of b.txt"),
            ("plmtrain evaluate runs/roberta-sst2-5d6e7f80 data.files=[test.tsv]", "a fine-tuned run on other examples"),
            ("plmtrain evaluate runs/my-gpt2 scoring=perplexity", "by token, word and byte of the held-out text"),
            ("plmtrain evaluate runs/my-gpt2 scoring=choices scoring.files=[quiz.jsonl] scoring.shots=5", "five-shot"),
            ("plmtrain evaluate runs/mine scoring=minimal_pairs scoring.files=['blimp/*.jsonl']", "BLiMP, as it is"),
        ),
        options=("--config-dir", "--json", "--precision"),
        runs=True,
    ),
    "predict": Verb(
        "use a run: fill masks, restore text, find replaced tokens",
        "predict RUN [TEXT]... [--part PART] [--file FILE] [--format FORMAT] [--columns A,B] [--json | --output FILE] "
        "[--batch-size N] [--n-best N] [--precision PRECISION] [--beams N | --sample]... | predict RUN --submission FILE.zip",
        "Reads texts from the arguments, or one per line from a file or from standard input; writes text, or JSON lines with\n"
        "--json. A table (.tsv, .csv, .jsonl, .parquet, or --format) is read by the columns of the run's task, and --output\n"
        "writes its rows with the answers behind them, as .tsv, .csv or .jsonl; --columns names all columns of a table without\n"
        "a header. What cannot be answered is named by file and line on standard error, and all else is answered; the exit code\n"
        "is 3 then. For a mixture of objectives, --part chooses the part that answers: by default that with the largest share.\n"
        "A run that finds answers in texts takes a question, a tab and the text; --n-best gives several answers, best first.\n"
        "--submission writes a GLUE run's answers for the test part of its task into a zip file, as the site takes them; the\n"
        "runs of the other tasks add theirs, and the folder of a sweep stands for the run of each task that is best there.\n"
        "A run that generates text takes --beams, --length-penalty, --early-stopping, or --sample with --temperature, --top-k,\n"
        "--top-p and --seed; and --max-new-tokens, --min-new-tokens, --no-repeat-ngram, --stop TEXT. They mean the same as in\n"
        "generate of transformers, except that lengths do not count the token that an encoder-decoder starts from. On a\n"
        "terminal, the continuation of one prompt is shown while it is written, unless --beams search for it; lines that are\n"
        "typed are answered one by one, and those of a file or a pipe --batch-size at a time.\n"
        "A GPU is used if there is one. --precision is auto, fp32, bf16 or fp16, for matrix products; by default the run's\n"
        "trainer.precision.",
        (
            ('plmtrain predict runs/mine "The file is [MASK] now."', "one sentence"),
            ('plmtrain predict runs/my-bart "The file <mask> now." --beams 4', "restored text, by beam search"),
            ("plmtrain predict runs/en-de --file new.tsv --output translated.tsv", "a text for each row of a table"),
            ('plmtrain predict runs/my-gpt2 "The river" --sample --top-p 0.9', "a continuation, shown while it is written"),
            ("plmtrain predict runs/mine < sentences.txt", "one sentence per line"),
            ("plmtrain predict runs/rte --submission glue.zip", "answers for the test part of a task of GLUE"),
            ("plmtrain predict runs/tickets --file test.tsv --output answers.tsv", "a table, and its rows with answers"),
        ),
        options=(
            "--batch-size",
            "--beams",
            "--columns",
            "--early-stopping",
            "--file",
            "--format",
            "--json",
            "--length-penalty",
            "--max-new-tokens",
            "--min-new-tokens",
            "--n-best",
            "--no-repeat-ngram",
            "--output",
            "--part",
            "--precision",
            "--sample",
            "--seed",
            "--stop",
            "--submission",
            "--temperature",
            "--top-k",
            "--top-p",
        ),
        runs=True,
    ),
    "inspect": Verb(
        "show what an objective or a task does to your data",
        "inspect [FILE.yaml] [GROUP=CHOICE | KEY=VALUE]... [TEXT]... [--file FILE]",
        "Prints the original, the corrupted input and the targets in colour, and measures rates. For a task, prints the rows as\n"
        "the model reads them, each with its right answer. No model is built. Texts among the arguments, each in quotes, are\n"
        "shown instead of the data; --file names a file with a text a line, and --file - is standard input. The tokenizer is\n"
        "the run's own.",
        (
            ('plmtrain inspect model=xlnet objective=plm size=tiny "The old mill stands by the river."', "your own sentence"),
            ("plmtrain inspect objective=dynamic_mlm data=sample", "the sample text"),
            ("plmtrain inspect model=bert objective=whole_word_mlm data=text data.files=[mytext.txt]", "your own text"),
            ("plmtrain inspect task=classification data.files=[train.tsv] init=runs/mine", "your own examples"),
        ),
        composes=True,
        options=("--file", "-"),
    ),
    "tokenizer": Verb(
        "train only the tokenizer of a run, or add tokens to an existing one",
        "tokenizer [FOLDER] [FILE.yaml] [GROUP=CHOICE | KEY=VALUE]...\n"
        "       plmtrain tokenizer extend RUN_OR_FOLDER NEW_FOLDER [--tokens WORD...] [--file WORDS]",
        "Trains the tokenizer that a run with the same settings would train, and also writes it into FOLDER, if that is given.\n"
        "With extend, writes the tokenizer of a run or a Hugging Face folder with a token added for each word. A run with\n"
        "init=RUN_OR_FOLDER tokenizer.path=NEW_FOLDER starts the new tokens from the mean of their old pieces.",
        (
            ("plmtrain tokenizer model=bert data=text data.files=[mytext.txt] tokenizer.vocab_size=16000", "your own text"),
            ("plmtrain tokenizer extend runs/mine wider --tokens microservice kubernetes", "two words"),
            ("plmtrain tokenizer extend bert-base-uncased wider --file words.txt", "one word in each line of a file"),
        ),
        composes=True,
        options=("--tokens", "--file"),
    ),
    "prepare": Verb(
        "prepare the text of a run without training",
        "prepare [FILE.yaml] [GROUP=CHOICE | KEY=VALUE]...",
        "Does all that a run with the same settings would do before its first step: trains the tokenizer, and prepares the\n"
        "text. This way a large text can be prepared on another machine than the one that trains.",
        (("plmtrain prepare model=roberta data=jsonl data.files=['corpus/*.jsonl']", "your own text"),),
        composes=True,
    ),
    "check": Verb(
        "find all errors of a run before it starts, and estimate its cost",
        "check [--json] [FILE.yaml] [GROUP=CHOICE | KEY=VALUE]...",
        "Takes the settings of pretrain, or, with task=, those of finetune. Reports all errors at once, from settings and text\n"
        "to memory and disk. Then it estimates the cost of the run; the time is measured with two real steps of the run's\n"
        "shapes. Nothing is written into the run's folder. The text is prepared, and the run will use it. The exit code is 0,\n"
        "or the one that the run would end with.",
        (
            ("plmtrain check model=roberta objective=dynamic_mlm data=sample size=tiny", "a pretraining run"),
            (
                "plmtrain check experiment=electra_small data=text data.files=[mytext.txt]",
                "whether this machine can train that model",
            ),
            ("plmtrain check task=classification data.files=[train.tsv] init=runs/mine", "a fine-tuning run"),
        ),
        composes=True,
        options=("--json",),
    ),
    "bench": Verb(
        "measure how fast this machine trains a run",
        "bench [--json | --markdown] [against=transformers] [FILE.yaml] [GROUP=CHOICE | KEY=VALUE]...",
        "Takes the settings of pretrain, or, with task=, those of finetune, and some steps of each of the run's shapes: the\n"
        "phases, and the objectives of a mixture. Prints tokens per second, the rate of a step's matrix products, its share of\n"
        "what this machine's products reach by themselves, the share of time that steps wait for rows, the peak of memory, and\n"
        "the seconds to the first step. Nothing is written but the prepared text, which the run will use.\n"
        "With against=transformers, a step of transformers' Trainer on the same rows follows each of plmtrain's.",
        (
            ("plmtrain bench model=bert objective=mlm size=small", "on the built-in sample"),
            ("plmtrain bench experiment=electra_small data=text data.files=[mytext.txt]", "a recipe, on your text"),
            ("plmtrain bench model=gpt2 objective=clm trainer.compile=true --markdown", "compiled, for a report"),
            ("plmtrain bench model=t5 objective=span_corruption size=small against=transformers", "beside transformers"),
        ),
        composes=True,
        options=("--json", "--markdown", "against=transformers"),
    ),
    "export": Verb(
        "write a run as a folder that transformers loads",
        "export RUN HF_FOLDER [part=PART]",
        "Writes config.json, model.safetensors, the tokenizer and a model card, and reads them back. The folder appears only if\n"
        "all weights are equal and the model computes the same results. RUN may also be an imported folder. An RTD run exports\n"
        "its discriminator, or its generator with part=generator. A mixture exports the part with the largest share, or the\n"
        "part of part=NAME.",
        (
            ("plmtrain export runs/mine mine-hf", 'then: AutoModelForMaskedLM.from_pretrained("mine-hf")'),
            ("plmtrain export runs/electra-rtd-1f2e3d4c generator part=generator", "one part of a run"),
        ),
        runs=True,
    ),
    "import": Verb(
        "convert a Hugging Face folder, or original files, into one that can be used like a run",
        "import HF_FOLDER FOLDER [--texts COLUMN[,COLUMN]] [heads=NUMBER]",
        "Checks a folder from elsewhere (no pickle, no code, weights complete and finite), writes the parts that plmtrain can\n"
        "use, and reads them back. The new folder works with predict, export, init= and plmtrain.load. A classifier's folder\n"
        "does not say whether it reads one text or pairs, unless plmtrain wrote it: --texts names the column, or the two.\n"
        "The original files of GPT-1 (params_*.npy, params_shapes.json, encoder_bpe.json, vocab.bpe) are read, too; they do not\n"
        "say the number of attention heads, each of which is 64 wide unless heads= says otherwise. So are those of ELMo\n"
        "(options.json, lm_weights.hdf5), which keep their format.",
        (
            ("plmtrain import downloads/bert-base-uncased bert", "then: plmtrain predict bert ..., or init=bert"),
            ("plmtrain import downloads/bert-mnli mnli --texts premise,hypothesis", "a classifier of pairs"),
        ),
        options=("--texts",),
    ),
    "list": Verb(
        "list models, sizes, objectives and data sets, explain settings, and show which objective goes with which model",
        "list [GROUP | KEY | GROUP=CHOICE | matrix]... [--json] [--config-dir DIR]",
        "Lists every choice of every group, with a line of description each; for a group also its settings, each with its\n"
        "meaning, what it can be, and its default. docs/settings.md has all settings on one page.",
        (
            ("plmtrain list", "all groups"),
            ("plmtrain list trainer", "the choices and the settings of a group"),
            ("plmtrain list optimizer.lr", "one setting"),
            ("plmtrain list objective=rtd", "what a choice sets"),
            ("plmtrain list matrix", "which objective goes with which model"),
        ),
        options=("--config-dir", "--json"),
    ),
    "verify": Verb(
        "check every file of every checkpoint of a run",
        "verify RUN [--json]",
        "Compares the size and the checksum of each file with the manifest of its checkpoint.",
        (("plmtrain verify runs/mine", "exit 0, or 4 if something is damaged"),),
        options=("--json",),
        runs=True,
    ),
    "doctor": Verb(
        "show what this machine has, and what a run gets of it",
        "doctor [--json]",
        "Shows processor, memory, GPUs, disk and the versions of libraries; the device, precision and threads that a run gets\n"
        "here, with the reason and the measured rate of matrix products; and what stands in the way of a run. It takes some\n"
        "seconds, and needs no settings.",
        (("plmtrain doctor", "before the first run, and for a report of a problem"),),
        options=("--json",),
    ),
    "runs": Verb(
        "list, compare and delete runs, or ask a living one for a checkpoint",
        "runs [RUNS_DIR] [--json] | runs diff RUN RUN [--json] | runs rm RUN... [--yes] | runs save RUN | runs sweep FOLDER",
        "Lists every run below runs/ with its state, steps, result, size on disk and age. diff shows the settings in which two\n"
        "runs differ, and the results of both. rm deletes runs: it asks on a terminal, needs --yes elsewhere, and refuses a run\n"
        "that a living process has. save asks a living run for a checkpoint after its current step, and waits for it. sweep\n"
        "prints the table of a sweep again, as its runs are now. A folder may be damaged or come from a stranger: nothing in it\n"
        "is run.",
        (
            ("plmtrain runs", "all runs below runs/"),
            ("plmtrain runs diff runs/mine runs/again", "what differs, and what came of it"),
            ("plmtrain runs rm runs/old-1 runs/old-2 --yes", "delete two runs without a question"),
            ("plmtrain runs save runs/mine", "a checkpoint now, of a run that is under way"),
            ("plmtrain runs sweep runs/sweeps/seed-lr-1f2e3d4c", "the table of a sweep again"),
        ),
        options=("--json", "--yes"),
        runs=True,
    ),
    "completion": Verb(
        "print the script for tab completion",
        "completion bash|zsh",
        "Completes verbs, choices of groups (model=...), settings (trainer.ba...), options and the folders of runs.",
        (
            ('eval "$(plmtrain completion bash)"', "in ~/.bashrc"),
            ('eval "$(plmtrain completion zsh)"', "in ~/.zshrc, after compinit"),
        ),
    ),
}

EXIT_CODES = (
    "exit codes: 0 done, 1 failed, 2 usage or settings, 3 data, 4 checkpoint unusable, 5 diverged, 6 out of memory,\n"
    "7 disk or permission, 8 distributed failure, 75 stopped by a signal (the same command resumes the run)"
)


def _examples(examples: tuple[tuple[str, str], ...]) -> list[str]:
    return [line for command, comment in examples for line in (f"  # {comment}", f"  {command}")]


def overview() -> str:
    """Return the help of ``plmtrain`` itself."""
    width = max(map(len, VERBS))
    return "\n".join(
        [
            "plmtrain: pretrain the classic language models from one command line",
            "",
            "usage: plmtrain VERB [ARGUMENTS]      plmtrain VERB --help      plmtrain --version",
            "",
            *(f"  {name:<{width}}  {verb.summary}" for name, verb in VERBS.items()),
            "",
            "start with:",
            "  plmtrain pretrain model=roberta objective=dynamic_mlm data=sample size=tiny",
            "",
            EXIT_CODES,
        ]
    )


def of(name: str) -> str:
    """Return the help of a verb."""
    verb = VERBS[name]
    lines = [f"usage: plmtrain {verb.usage}", "", verb.about, ""]
    if verb.composes:
        lines += [
            "settings:",
            "  FILE.yaml         all settings in one file: model: roberta, or in a group name: the choice; a run's own",
            "                    config.yaml repeats the run",
            "  GROUP=CHOICE      model=roberta: a YAML file of a group; plmtrain list shows them all",
            "  KEY=VALUE         trainer.steps=1000: one setting",
            "options:",
            "  --cfg job         print the settings, each with its origin, and start nothing",
            "  --config-dir DIR  YAML files of your own, in DIR/model/, DIR/data/ and so on",
        ]
        if "--json" in verb.options:
            lines.append("  --json            one JSON object instead of a table")
        if "--file" in verb.options:
            lines.append("  --file FILE       texts to show, one a line; - for standard input")
        if name in ("pretrain", "finetune"):
            lines.append(
                "  -m, --multirun    run each of several values: seed=1,2,3  model=bert,roberta  optimizer.lr=choice(1e-4,5e-4)"
            )
        lines.append("")
    return "\n".join([*lines, "examples:", *_examples(verb.examples)])
