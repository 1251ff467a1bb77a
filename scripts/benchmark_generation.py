"""New tokens per second of plmtrain's generation against ``generate`` of transformers, with the same weights and prompts.

    python scripts/benchmark_generation.py                          # GPT-2 of 4 layers, 256 wide, prompts of 16 tokens
    python scripts/benchmark_generation.py --layers 6 --width 512 --batches 1 8 --precisions fp32 bf16
    python scripts/benchmark_generation.py --model bart             # an encoder reads the prompt, a decoder writes

Both take the most likely token each time, and no token ends a text. Every round runs each of them once, in turn, so that a slower
machine slows both; the first round does not count. Medians are compared. For bf16, plmtrain's products are in bf16 and its
weights in fp32, as in ``plmtrain predict --precision bf16``; those of transformers are all in bf16.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from plmtrain.backbones import EncoderDecoderBackbone
from plmtrain.batch import Inputs
from plmtrain.generation import NOTHING, DecoderWriter, EncoderDecoderWriter, Specials, Writer, generate
from plmtrain.interop import hugging_face
from plmtrain.settings.generation import GenerationSettings
from plmtrain.training.precision import autocast

CPU = torch.device("cpu")
START = 2
"""The token that a decoder begins with."""
KINDS = {"fp32": torch.float32, "bf16": torch.bfloat16}


def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="gpt2", choices=["gpt2", "t5", "bart"])
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--vocabulary", type=int, default=8000)
    parser.add_argument("--prompt", type=int, default=16, help="tokens of a prompt")
    parser.add_argument("--new", type=int, default=256, help="tokens that are generated")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--precisions", nargs="+", default=["fp32"], choices=list(KINDS))
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    shape = f"{options.model} of {options.layers} layers, {options.width} wide, {options.vocabulary:,} tokens in the vocabulary"
    threads = f"{torch.get_num_threads()} threads"
    print(f"{shape}; {options.new} new tokens after {options.prompt}; {threads}; median of {options.rounds} rounds")
    print(f"{'':6}{'batch':>6}{'plmtrain tokens/s':>20}{'transformers tokens/s':>24}{'ratio':>8}{'same text':>12}")
    for precision in options.precisions:
        theirs, ours = _models(options, precision)
        for batch in options.batches:
            prompts = torch.randint(0, options.vocabulary, (batch, options.prompt), generator=torch.Generator().manual_seed(0))
            runs = {
                "plmtrain": _plmtrain(ours, prompts, options.new, precision),
                "transformers": _transformers(theirs, prompts, options.new),
            }
            seconds: dict[str, list[float]] = {name: [] for name in runs}
            texts: dict[str, list[list[int]]] = {}
            for turn in range(options.rounds + 1):
                for name, run in runs.items():
                    begin = time.perf_counter()
                    texts[name] = run()
                    if turn:
                        seconds[name].append(time.perf_counter() - begin)
            mine, peer = (batch * options.new / statistics.median(seconds[name]) for name in runs)
            same = "yes" if texts["plmtrain"] == texts["transformers"] else "no"
            print(f"{precision:6}{batch:>6}{mine:>20,.0f}{peer:>24,.0f}{mine / peer:>8.2f}{same:>12}", flush=True)
    return 0


def _models(options: argparse.Namespace, precision: str) -> tuple[nn.Module, nn.Module]:
    """Make a model of transformers with random weights, and read it from the folder that it saved."""
    import transformers

    transformers.utils.logging.set_verbosity_error()
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        theirs = _new_model(options).eval()
        theirs.save_pretrained(folder)
        ours = hugging_face.read(folder).backbone.eval()
    return theirs.to(KINDS[precision]), ours


def _new_model(options: argparse.Namespace) -> nn.Module:
    """Make a model of transformers with random weights, which are not so small that one token is repeated for ever."""
    import transformers

    heads, inner = max(1, options.width // 64), 4 * options.width
    special = {"bos_token_id": None, "eos_token_id": None, "vocab_size": options.vocabulary}
    written = {**special, "decoder_start_token_id": START, "pad_token_id": 0}
    if options.model == "t5":
        shape = {"num_layers": options.layers, "d_model": options.width, "num_heads": heads, "d_kv": 64, "d_ff": inner}
        return transformers.T5ForConditionalGeneration(transformers.T5Config(**shape, **written))
    if options.model == "bart":
        sides = {
            f"{side}_{key}": value
            for side in ("encoder", "decoder")
            for key, value in (("layers", options.layers), ("attention_heads", heads), ("ffn_dim", inner))
        }
        config = transformers.BartConfig(**sides, d_model=options.width, forced_eos_token_id=None, init_std=0.1, **written)
        return transformers.BartForConditionalGeneration(config)
    shape = {"n_layer": options.layers, "n_embd": options.width, "n_head": heads, "n_positions": 1024}
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**shape, **special))
    model.transformer.wpe.weight.data *= 8
    return model


def _writer(model: nn.Module, prompts: Tensor, new: int) -> tuple[Writer, Tensor]:
    """Return what writes the texts, and what they begin with."""
    if isinstance(model, EncoderDecoderBackbone):
        return EncoderDecoderWriter(model, Inputs(ids=prompts), 1, 1 + new), torch.full((len(prompts), 1), START)
    return DecoderWriter(model, 1, prompts.shape[1] + new), prompts


def _plmtrain(model: nn.Module, prompts: Tensor, new: int, precision: str) -> Callable[[], list[list[int]]]:
    def run() -> list[list[int]]:
        with torch.no_grad(), autocast(precision, CPU):
            writer, begun = _writer(model, prompts, new)
            return generate(writer, begun, Specials(end=NOTHING), GenerationSettings(), new)

    return run


def _transformers(model: nn.Module, prompts: Tensor, new: int) -> Callable[[], list[list[int]]]:
    def run() -> list[list[int]]:
        seen = torch.ones_like(prompts)
        whole = model.generate(prompts, attention_mask=seen, do_sample=False, max_new_tokens=new, pad_token_id=0)
        return whole[:, -new:].tolist()

    return run


if __name__ == "__main__":
    sys.exit(main())
