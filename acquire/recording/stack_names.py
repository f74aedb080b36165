"""Names of the stacks of a series, which sort by place and time and are new in their folder."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from fgaf.acquire.control.positions import Position
from fgaf.base.errors import SettingError
from fgaf.base.files import names_in
from fgaf.base.names import folded
from fgaf.dataset.raw import SUFFIX


def stack_paths(
    folder: Path,
    repeat: int = 1,
    name: str = "",
    sample_id: str = "",
    now: datetime | None = None,
    positions: Sequence[Position] = (),
) -> list[Path]:
    """Choose names for stacks: those of a position sort by time, and every run gets new names.

    Parameters
    ----------
    folder
        Folder of the stacks.
    repeat
        Number of repeats.
    name
        ``NAME.stack.h5``, or ``NAME_r001.stack.h5`` and so on for several; without it
        ``SAMPLE_YYYYMMDD-HHMMSS_r001.stack.h5``, in UTC.
    sample_id
        Begins the name when there is no `name`; "stack" if both are missing.
    now
        The time; by default that of the call.
    positions
        Positions of the specimen, all visited in each repeat. Their names are added to that of the
        stack: ``NAME_p01_r001.stack.h5``.

    Returns
    -------
    list of Path
        In the order in which the stacks are taken: one repeat after another.

    Raises
    ------
    SettingError
        `repeat` is below 1, or `name` is not a plain file name.
    """
    if repeat < 1:
        raise SettingError(f"cannot take {repeat} stacks; give 1 or more")
    if name:
        stem = name.removesuffix(SUFFIX)
        if not stem or _plain(stem) != stem:
            raise SettingError(
                f"{name!r} is not a plain file name; use letters, digits, '-', '_' and '.'"
            )
    else:
        stem = _free_stem(folder, _plain(sample_id) or "stack", now or datetime.now(UTC))
    digits = max(3, len(str(repeat)))
    numbers = [""] if name and repeat == 1 else [f"_r{n:0{digits}}" for n in range(1, repeat + 1)]
    places = [f"_{position.name}" for position in positions] or [""]
    return [folder / f"{stem}{place}{number}{SUFFIX}" for number in numbers for place in places]


def _plain(text: str) -> str:
    """Replace characters that some file systems refuse; no leading or trailing dots."""
    return re.sub(r"[^\w.-]+", "_", text).strip(".")


def _free_stem(folder: Path, prefix: str, now: datetime) -> str:
    stem = f"{prefix}_{now:%Y%m%d-%H%M%S}"
    taken = set(map(folded, names_in(folder)))
    number, free = 1, stem
    while any(name.startswith((folded(f"{free}_"), folded(f"{free}."))) for name in taken):
        number += 1
        free = f"{stem}-{number}"
    return free
