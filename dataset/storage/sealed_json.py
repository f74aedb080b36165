"""JSON files with a checksum of their content, so that an altered number is detected."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final

_SEAL: Final = "sha256"


def seal_json(content: dict[str, Any]) -> str:
    """Write content as one line of JSON, with its SHA-256.

    Parameters
    ----------
    content
        Plain types; a key ``sha256`` is added.
    """
    return json.dumps(content | {_SEAL: _digest(content)}) + "\n"


def unseal_json(content: Any) -> dict[str, Any]:
    """Remove the checksum from parsed JSON and compare it with the content.

    Files of format version 1 have none.

    Parameters
    ----------
    content
        The parsed JSON.

    Raises
    ------
    ValueError
        It is not an object, has no checksum, or the checksum differs.
    """
    if not isinstance(content, dict):
        raise ValueError("not a JSON object")
    kept = {key: value for key, value in content.items() if key != _SEAL}
    seal = content.get(_SEAL, _digest(kept) if content.get("format_version") == 1 else None)
    if seal != _digest(kept):
        raise ValueError("its checksum differs")
    return kept


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
