"""Text is prepared in memory that does not grow with it."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

MEBIBYTE = 2**20

PROGRAM = """
import json, resource, sys, threading, time
from plmtrain import cli

peak = 0

def watch():
    global peak
    while True:
        with open("/proc/self/status") as file:
            peak = max(peak, next(int(line.split()[1]) for line in file if line.startswith("RssAnon")))
        time.sleep(0.005)

if __name__ == "__main__":
    threading.Thread(target=watch, daemon=True).start()
    code = cli.main(sys.argv[1:])
    print(json.dumps({"code": code, "kibibytes": [peak, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss]}))
"""
"""Prints the most memory of a command, without pages of files, which the system takes back, and of its largest child."""


def write_text(path: Path, megabytes: float) -> None:
    """Documents of some thousand letters of a made-up language, each of them another."""
    rng, written = random.Random(1), 0
    words = ["".join(rng.choices("abcdefghijklmnop", k=6)) for _ in range(3000)]
    with path.open("w") as file:
        while written < megabytes * 1e6:
            written += file.write(json.dumps({"text": " ".join(rng.choices(words, k=600)) + "."}) + "\n")


def peaks_of(folder: Path, name: str, megabytes: float) -> list[int]:
    """Return the peak of the command and that of its largest child, in bytes."""
    program = folder / "program.py"
    program.write_text(PROGRAM)
    write_text(folder / f"{name}.jsonl", megabytes)
    tokenizer = ["tokenizer.vocab_size=2000"] if name == "first" else [f"tokenizer.path={folder / 'tokenizer'}"]
    words = ["prepare", "model=bert", "objective=mlm", "data=jsonl", f"data.files=[{name}.jsonl]", "data.processes=2", *tokenizer]
    done = subprocess.run([sys.executable, str(program), *words], cwd=folder, capture_output=True, text=True, check=False)
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["code"] == 0, done.stdout + done.stderr
    return [1024 * peak for peak in told["kibibytes"]]


@pytest.mark.slow
def test_ten_times_the_text_takes_the_same_memory(tmp_path: Path) -> None:
    peaks_of(tmp_path, "first", 1.0)
    (made,) = {path.parent for path in (tmp_path / "prepared").rglob("tokenizer.json")}
    made.rename(tmp_path / "tokenizer")
    small, large = peaks_of(tmp_path, "small", 4.0), peaks_of(tmp_path, "large", 40.0)
    for less, more in zip(small, large, strict=True):
        assert more - less < 18 * MEBIBYTE, (small, large)  # the text has 36 MB more
