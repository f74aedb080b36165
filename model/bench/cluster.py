"""Runs of the benchmark on a Dask cluster.

The archive is not sent: every worker reads it by its path, from a shared file system. A worker
refuses when its data or code differ from the client's. Answers come back as JSON values, and the
client writes them. A run whose worker is lost is repeated on another.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fgaf.base.errors import FgafError, SettingError
from fgaf.base.workers.cluster import on_cluster
from fgaf.base.workers.code import OTHER_CODE
from fgaf.dataset.archive import Archive
from fgaf.model.bench.evaluation_set import EvaluationSet
from fgaf.model.bench.methods import Method
from fgaf.model.bench.runs import Run, fingerprint, perform

_ONE_AT_A_TIME: Final = threading.Lock()
"""Training sets the process-wide random seed, so a worker process does one run at a time."""


@dataclass(frozen=True)
class Order:
    """A run as it is sent to a worker, without the patches.

    Attributes
    ----------
    method, seed, fold, settings, fingerprint
        The same as those of the run.
    path, archive
        Where the archive is, and its fingerprint.
    split, sides
        Name of the split and the (K,) side of every cell.
    """

    method: Method
    seed: int | None
    fold: int
    settings: dict[str, Any]
    fingerprint: str
    path: Path
    archive: str
    split: str
    sides: NDArray[np.int8]

    @classmethod
    def of(cls, run: Run) -> Order:
        """Make the order for a run.

        Raises
        ------
        SettingError
            Its archive is not a file.
        """
        archive, split = run.data.archive, run.data.split
        if not isinstance(archive.path, Path):
            raise SettingError("a cluster reads the archive from a file; give the path of one")
        return cls(
            run.method,
            run.seed,
            run.fold,
            run.settings,
            run.fingerprint,
            archive.path.resolve(),
            archive.fingerprint,
            split,
            archive.splits[split],
        )

    def run(self) -> Run:
        """Make the run of this order, on the worker.

        Raises
        ------
        FgafError
            The worker has another archive, or runs another version of this software.
        """
        archive = _archive(self.path, self.archive)
        data = EvaluationSet(replace(archive, splits={self.split: self.sides}), self.split)
        if fingerprint(self.method, self.settings, data) != self.fingerprint:
            raise FgafError(OTHER_CODE)
        return Run(self.method, self.seed, data, self.fold, self.settings, self.fingerprint)


def carry_out(order: Order) -> dict[str, Any]:
    """Perform an ordered run on a worker; returns the result of `fgaf.model.bench.runs.perform`."""
    with _ONE_AT_A_TIME, tempfile.TemporaryDirectory(prefix="fgaf-") as folder:
        return perform(order.run(), Path(folder) / "run")


def perform_on(
    scheduler: str,
    runs: Sequence[Run],
    say: Callable[[str], None],
    answered: Callable[[Run], None],
) -> Iterator[tuple[Run, dict[str, Any] | Exception]]:
    """Do runs on the workers of a Dask scheduler.

    Parameters
    ----------
    scheduler
        Its address, such as "tcp://10.0.0.1:8786", or "local:2" for two workers on this machine.
    runs
        What to do.
    say, answered
        Called when it waits for something, and for each run that has been answered.

    Yields
    ------
    Run and dict or Exception
        Each run with its answers or its error, in the order in which they come.

    Raises
    ------
    FgafError
        No scheduler answers, or the connection is lost.
    """
    orders = [Order.of(run) for run in runs]
    names = [run.name for run in runs]
    for number, outcome in on_cluster(carry_out, orders, scheduler, names, say):
        if isinstance(outcome, dict):
            answered(runs[number])
        yield runs[number], outcome


@lru_cache(maxsize=1)
def _archive(path: Path, expected: str) -> Archive:
    """Read the archive once per worker process.

    Raises
    ------
    FgafError
        The archive is missing, or is a different one.
    """
    if not path.is_file():
        raise FgafError(
            f"a worker has no file {path}; put the archive where all workers can read it at that "
            "path"
        )
    archive = Archive.read(path)
    if archive.fingerprint != expected:
        raise FgafError(
            f"a worker has another archive at {path}; give all workers the same file "
            f"(fingerprint {expected[:12]}, not {archive.fingerprint[:12]})"
        )
    return archive
