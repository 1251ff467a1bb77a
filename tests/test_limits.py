"""The cores and the memory of a process, by files as Linux writes them for its control groups."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from plmtrain import limits

GIB = 2**30


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with 64 cores and 100 GiB, and a process in no group."""
    groups, own, memory = tmp_path / "cgroup", tmp_path / "self", tmp_path / "meminfo"
    groups.mkdir()
    own.write_text("")
    memory.write_text(f"MemTotal: 999999999 kB\nMemAvailable: {100 * GIB // 1024} kB\n")
    for name, path in (("_GROUPS", groups), ("_OWN", own), ("_MEMORY", memory)):
        monkeypatch.setattr(limits, name, path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(64)), raising=False)
    return tmp_path


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(f"{text}\n")


def test_without_groups_the_machine_is_the_limit(system: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (limits.cores(), limits.memory()) == (64, 100 * GIB)
    (system / "meminfo").unlink()
    assert limits.memory() is None
    monkeypatch.delattr(os, "sched_getaffinity")  # as on macOS
    monkeypatch.setattr(os, "cpu_count", lambda: 10)
    assert limits.cores() == 10


@pytest.mark.parametrize("prefix", ["", "unified"])
def test_the_narrowest_of_the_groups_around_it_counts(system: Path, prefix: str) -> None:
    """A job of SLURM: the limit stands two groups above the process. The groups at the root have no limits."""
    (system / "self").write_text("0::/slice/job/step\n")
    groups = system / "cgroup" / prefix
    write(
        groups / "slice", memory__max=str(50 * GIB), memory__current=str(10 * GIB), memory__stat="anon 1", cpu__max="max 100000"
    )
    job = {"memory__max": str(8 * GIB), "memory__current": str(6 * GIB), "memory__stat": f"anon 3\ninactive_file {GIB}"}
    write(groups / "slice" / "job", cpu__max="400000 100000", **job)
    write(groups / "slice" / "job" / "step", memory__max="max", memory__current="5", memory__stat="anon 1", cpu__max="max 100000")
    assert (limits.cores(), limits.memory()) == (4, 3 * GIB)


def test_groups_of_version_1_are_named_by_their_controllers(system: Path) -> None:
    (system / "self").write_text("5:cpu,cpuacct:/box\n4:memory:/box\n3:cpuset:/other\n")
    write(system / "cgroup" / "cpu,cpuacct" / "box", **{"cpu__cfs_quota_us": "150000", "cpu__cfs_period_us": "100000"})
    write(system / "cgroup" / "cpu,cpuacct", **{"cpu__cfs_quota_us": "-1", "cpu__cfs_period_us": "100000"})
    used = {"memory__usage_in_bytes": str(3 * GIB), "memory__stat": f"total_inactive_file {GIB}"}
    write(system / "cgroup" / "memory" / "box", memory__limit_in_bytes=str(4 * GIB), **used)
    assert (limits.cores(), limits.memory()) == (2, 2 * GIB)


def test_in_a_container_the_path_is_that_outside(system: Path) -> None:
    """Its own group is mounted at the root."""
    (system / "self").write_text("0::/docker/0123abc\n")
    write(system / "cgroup", memory__max=str(GIB), memory__current=str(2 * GIB), memory__stat="anon 1", cpu__max="50000 100000")
    assert (limits.cores(), limits.memory()) == (1, 0)
