"""Work on files: results in their order, from processes of this machine or from a cluster."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic

from fgaf.base.errors import FgafError
from fgaf.base.workers.cluster import on_cluster
from fgaf.base.workers.code import OTHER_CODE, code_digest
from fgaf.base.workers.outcomes import Outcomes, Result, in_order
from fgaf.base.workers.processes import in_processes


def on_files(
    function: Callable[[Path], Result],
    paths: Sequence[Path],
    *,
    workers: int,
    scheduler: str | None,
    say: Callable[[str], None],
) -> Generator[Result, None, None]:
    """Do the same with every file; only paths and results are sent between processes.

    Parameters
    ----------
    function
        What to do with a file: an instance of a class of this package.
    paths
        The files; workers of a scheduler must see them under the same paths.
    workers
        Processes on this machine; not used with a scheduler.
    scheduler
        Address of a Dask scheduler, see `fgaf.base.workers.cluster.on_cluster`; None for this
        machine.
    say
        Called when it waits for a worker.

    Yields
    ------
    result
        In the order of the files.

    Raises
    ------
    LostWorkerError
        The process that worked on a file ended; the message names the file.
    FgafError
        No scheduler answers; or a worker lacks a file, sees another one, or has another version of
        this software.
    """
    names = [path.name for path in paths]
    outcomes: Outcomes[Result]
    if scheduler is None:
        outcomes = in_processes(function, paths, workers)
    else:
        sized = [(path.absolute(), path.stat().st_size) for path in paths]
        order = _Order(function, _digest(function))
        outcomes = on_cluster(order, sized, scheduler, names, say)
    return in_order(outcomes, names)


@dataclass(frozen=True)
class _Order(Generic[Result]):
    """A function as it is sent to a cluster, with the digest of its code."""

    function: Callable[[Path], Result]
    digest: str

    def __call__(self, sized: tuple[Path, int]) -> Result:
        path, n_bytes = sized
        if _digest(self.function) != self.digest:
            raise FgafError(OTHER_CODE)
        if not path.is_file():
            raise FgafError(
                f"a worker sees no file {path}; put it where all workers see it under that path"
            )
        if path.stat().st_size != n_bytes:
            raise FgafError(f"a worker sees another file at {path}; give all workers the same file")
        return self.function(path)


def _digest(function: object) -> str:
    return code_digest(type(function).__module__, _every)


def _every(_module: str) -> bool:
    return True
