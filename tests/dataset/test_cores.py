"""Cores that a program may use: within the quota of its control group, and of those above it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fgaf.base.errors import SettingError
from fgaf.base.workers.cores import team_size, usable_cores


@dataclass(frozen=True)
class Machine:
    name: str
    cgroup: str
    files: dict[str, str] = field(default_factory=dict)
    cores: int | None = None


V1 = "4:memory:/a\n3:cpu,cpuacct:/a\n"
MACHINES = [
    Machine("no control groups", ""),
    Machine("no quota", "0::/a\n", {"a/cpu.max": "max 100000\n"}),
    Machine("quota of a container", "0::/\n", {"cpu.max": "50000 100000\n"}, 1),
    Machine("quota above", "0::/a/b\n", {"a/cpu.max": "100000 100000\n"}, 1),
    Machine("more than there are", "0::/a\n", {"a/cpu.max": "99900000 100000\n"}),
    Machine(
        "version 1",
        V1,
        {"cpu/a/cpu.cfs_quota_us": "20000\n", "cpu/a/cpu.cfs_period_us": "100000\n"},
        1,
    ),
    Machine(
        "version 1 without",
        V1,
        {"cpu/a/cpu.cfs_quota_us": "-1\n", "cpu/a/cpu.cfs_period_us": "100000\n"},
    ),
]


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.name)
def test_cores_are_those_of_the_affinity_within_the_quota(machine: Machine, tmp_path: Path) -> None:
    if machine.cgroup:
        (tmp_path / "proc" / "self").mkdir(parents=True)
        (tmp_path / "proc" / "self" / "cgroup").write_text(machine.cgroup)
    for name, text in machine.files.items():
        path = tmp_path / "sys" / "fs" / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    affinity = getattr(os, "sched_getaffinity", lambda _: range(os.cpu_count() or 1))
    assert usable_cores(tmp_path) == (machine.cores or len(affinity(0)))


def test_a_number_of_workers_and_a_scheduler_exclude_each_other() -> None:
    assert team_size(3, None) == 3
    assert team_size(None, "local:2") == team_size(None, None) == usable_cores()
    with pytest.raises(SettingError, match="leave out --workers"):
        team_size(3, "local:2")
