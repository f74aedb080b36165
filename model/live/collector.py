"""Python's collector of garbage during live work."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Make the block in which garbage collections leave out all objects that exist before it.

    A full collection looks at every object, of all libraries too. Meanwhile no thread of Python
    runs, for two frames: no frame is processed, and no device read.
    """
    mine = gc.get_freeze_count() == 0
    if mine:
        gc.collect()
        gc.freeze()
    try:
        yield
    finally:
        if mine:
            gc.unfreeze()
