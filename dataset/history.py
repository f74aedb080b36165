"""Steps done to an archive since it was compiled, and the fingerprints of its splits.

Each archive that fgaf derives from another (`split`, `merge`, `subset`) carries one line of JSON
per step, the oldest first. A line names archives by fingerprint, never by path or sample.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fgaf.base.inputs import parse_json
from fgaf.dataset.storage.header import software, utc_now

if TYPE_CHECKING:
    from fgaf.dataset.archive import Archive


def recorded(archive: Archive, did: str, **facts: Any) -> Archive:
    """Add a line to an archive's history: the step, the time, and the splits after it.

    Parameters
    ----------
    archive
        The result, in memory or lazy.
    did
        The command: "split", "merge", "subset", ...
    **facts
        Details of the step, as plain types.
    """
    line = {
        "did": did,
        "utc": utc_now(),
        "software": software(),
        **facts,
        "splits": split_fingerprints(archive),
    }
    return replace(archive, history=(*archive.history, json.dumps(line)))


def split_fingerprint(ids: NDArray[Any], sides: NDArray[np.int8]) -> str:
    """Checksum of the cells on each side, independent of their order.

    Parameters
    ----------
    ids
        (K,) names of the cells.
    sides
        (K,) 0, 1 or 2.

    Returns
    -------
    str
        The first 16 hexadecimal digits of the SHA-256 of the lines ``side id``, sorted.
    """
    lines = sorted(f"{side} {name}" for name, side in zip(ids, sides.tolist(), strict=True))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def split_fingerprints(archive: Archive) -> dict[str, str]:
    """Fingerprint of each split of an archive, by name."""
    ids = archive.cells.id
    return {name: split_fingerprint(ids, sides) for name, sides in archive.splits.items()}


def changed_splits(archive: Archive) -> list[str]:
    """Names of the splits whose fingerprints differ from the last line of the history."""
    try:
        known = parse_json(archive.history[-1])["splits"] if archive.history else {}
        known = dict(known)
    except (ValueError, KeyError, TypeError):
        return sorted(archive.splits)
    now = split_fingerprints(archive)
    return sorted(name for name in known if now.get(name) != known[name])
