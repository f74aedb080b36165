"""Workers of a Dask cluster, or of a local one that lives as long as the work."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Final
from uuid import uuid4

from fgaf.base.errors import FgafError, SettingError
from fgaf.base.extras import require
from fgaf.base.workers.outcomes import (
    TOO_LITTLE_MEMORY,
    Item,
    LostWorkerError,
    Outcomes,
    Result,
)
from fgaf.base.workers.processes import without_interrupts

LOCAL: Final = "local:"
"""An address with this prefix starts that many workers on this machine."""
CONNECT_S: Final = 15


def on_cluster(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    scheduler: str,
    names: Sequence[str],
    say: Callable[[str], None],
) -> Outcomes[Result]:
    """Work on items on the workers of a Dask scheduler.

    An item whose worker is lost is given to another, at most three times.

    Parameters
    ----------
    function
        What to do with an item. It, the items and the results are sent over the network.
    items
        What to do it with.
    scheduler
        Its address, such as "tcp://10.0.0.1:8786", or "local:2" for two workers on this machine.
    names
        What the items are called on Dask's own pages.
    say
        Called when it waits for a worker.

    Yields
    ------
    int and result or Exception
        In the order in which they come. Errors are each one line.

    Raises
    ------
    FgafError
        No scheduler answers, or the connection is lost.
    """
    with _client(scheduler) as client:
        from distributed import as_completed

        if not client.scheduler_info()["workers"]:
            say(f"waiting for a worker to join {scheduler}")
        tag = uuid4().hex[:8]
        futures = {
            client.submit(function, item, key=f"{name}-{number}-{tag}", pure=False): number
            for number, (name, item) in enumerate(zip(names, items, strict=True))
        }
        try:
            for future in as_completed(list(futures), loop=client.loop):
                yield futures[future], _outcome(future, scheduler)
                future.release()
        finally:
            client.cancel([future for future in futures if not future.done()])


def _outcome(future: Any, scheduler: str) -> Any:
    """Result of a finished future, or its error as a clear message."""
    from distributed import KilledWorker

    if future.status in ("cancelled", "lost"):
        raise FgafError(f"the Dask scheduler at {scheduler} is gone; start it and run again")
    error = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, FgafError):
        return error
    if isinstance(error, MemoryError):
        return LostWorkerError(TOO_LITTLE_MEMORY)
    if isinstance(error, KilledWorker):
        return LostWorkerError("every worker that took it died; it may have run out of memory")
    unknown = FgafError(f"{type(error).__name__} on a worker: {error}")
    unknown.__cause__ = error
    return unknown


@contextmanager
def _client(scheduler: str) -> Iterator[Any]:
    """Connect to a scheduler, or to a local one that lives as long as the block."""
    require("distributed")
    from distributed import Client, LocalCluster

    if scheduler.startswith(LOCAL):
        n_workers = _workers(scheduler)
        with ExitStack() as stack:
            with without_interrupts():
                cluster = LocalCluster(
                    n_workers=n_workers,
                    threads_per_worker=1,
                    dashboard_address=":0",
                    silence_logs="CRITICAL",
                )
                stack.enter_context(cluster)
            yield stack.enter_context(Client(cluster, set_as_default=False))
        return
    try:
        client = Client(scheduler, timeout=CONNECT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise FgafError(
            f"no Dask scheduler answers at {scheduler}; give its address, as tcp://HOST:8786, "
            "or local:2 for two workers on this machine"
        ) from error
    with client:
        yield client


def _workers(scheduler: str) -> int:
    count = scheduler.removeprefix(LOCAL)
    if not count.isdecimal() or not 1 <= int(count) <= 1024:
        raise SettingError(f"--scheduler {scheduler} starts no workers; write it as local:2")
    return int(count)
