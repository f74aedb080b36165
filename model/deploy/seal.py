"""A checksum inside an exported file, over the whole export: an altered file is refused.

The bytes of the checksum count as zeros. It is found by its name, so a file can be checked without
the ONNX or OpenVINO library.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from fgaf.base.errors import FormatError

KEY = "fgaf_sha256"
EMPTY = "0" * 64
_PLACE = re.compile(KEY.encode() + rb".{1,8}?([0-9a-f]{64})", re.DOTALL)


def seal(path: Path, others: Sequence[Path] = ()) -> None:
    """Put the checksum into a file that was written with `EMPTY` under `KEY`.

    Parameters
    ----------
    path
        The file.
    others
        Files that belong to it.
    """
    content = bytearray(path.read_bytes())
    (place,) = _PLACE.finditer(content)
    digest = _digest(content, place.span(1), others)
    content[slice(*place.span(1))] = digest.encode()
    path.write_bytes(content)


def check_seal(path: Path, others: Sequence[Path] = ()) -> None:
    """Compare a file, and those that belong to it, with the checksum inside.

    Parameters
    ----------
    path
        The file.
    others
        Files that belong to it, in the order in which they were sealed.

    Raises
    ------
    FormatError
        There is no checksum, or it differs.
    """
    content = bytearray(path.read_bytes())
    places = list(_PLACE.finditer(content))
    if len(places) != 1:
        raise FormatError(
            f"{path} is not a model written by fgaf-export, or is truncated; export the run again"
        )
    span = places[0].span(1)
    written = places[0].group(1).decode()
    if _digest(content, span, others) != written:
        raise FormatError(
            f"{path} is damaged or was altered since it was exported; export the run again"
        )


def _digest(content: bytearray, span: tuple[int, int], others: Sequence[Path]) -> str:
    blank = bytearray(content)
    blank[slice(*span)] = EMPTY.encode()
    digest = hashlib.sha256(blank)
    for other in others:
        digest.update(other.read_bytes())
    return digest.hexdigest()
