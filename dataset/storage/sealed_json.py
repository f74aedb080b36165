"""JSON files with a checksum of what they say, so that a number altered in them is seen."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final

_SEAL: Final = "sha256"


def seal_json(content: dict[str, Any]) -> str:
    """Write content as one line of JSON, with the SHA-256 of what it says.

    Parameters
    ----------
    content
        Plain types; a key ``sha256`` is added.
    """
    return json.dumps(content | {_SEAL: _digest(content)}) + "\n"


def unseal_json(content: Any) -> dict[str, Any]:
    """Take the checksum out of what was read, and compare it.

    Files of format version 1 were written without one.

    Parameters
    ----------
    content
        What a JSON file said.

    Raises
    ------
    ValueError
        No object, no checksum, or another.
    """
    if not isinstance(content, dict):
        raise ValueError("no JSON object")
    kept = {key: value for key, value in content.items() if key != _SEAL}
    seal = content.get(_SEAL, _digest(kept) if content.get("format_version") == 1 else None)
    if seal != _digest(kept):
        raise ValueError("its checksum differs")
    return kept


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
