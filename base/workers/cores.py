"""Processor cores that this program may use."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from fgaf.base.errors import SettingError

_ROOT: Final = Path("/")


def team_size(workers: int | None, scheduler: str | None) -> int:
    """Number of worker processes on this machine.

    Parameters
    ----------
    workers, scheduler
        What the user gave: a number, or the address of a Dask scheduler; None where not given.

    Raises
    ------
    SettingError
        Both are given.
    """
    if workers is not None and scheduler is not None:
        raise SettingError("a --scheduler has workers of its own; leave out --workers")
    return workers or usable_cores()


def usable_cores(root: Path = _ROOT) -> int:
    """Count the cores that this program may use: those of its affinity, within its cgroup's quota.

    Parameters
    ----------
    root
        Folder that holds ``proc`` and ``sys``.
    """
    if sys.platform == "linux":
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return max(1, min([cores, *map(math.ceil, _quotas(root))]))


def _quotas(root: Path) -> Iterator[float]:
    """Limits of the cgroups of this process, in cores (Linux: cgroup-v2.rst, sched-bwc.rst)."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, kinds, place = line.split(":", 2)
        if kinds and "cpu" not in kinds.split(","):
            continue
        top = root / "sys/fs/cgroup" / ("cpu" if kinds else "")
        group = top / place.lstrip("/")
        for folder in (group, *group.parents):  # in a container only the top is there
            quota = _quota(folder) if kinds else _quota_of_v2(folder)
            if quota is not None:
                yield quota
            if folder == top:
                break


def _quota_of_v2(folder: Path) -> float | None:
    words = _words(folder / "cpu.max")
    return None if len(words) != 2 or words[0] == "max" else int(words[0]) / int(words[1])


def _quota(folder: Path) -> float | None:
    words = [*_words(folder / "cpu.cfs_quota_us"), *_words(folder / "cpu.cfs_period_us")]
    return None if len(words) != 2 or int(words[0]) <= 0 else int(words[0]) / int(words[1])


def _words(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").split()
    except OSError:
        return []
