"""A checksum over what a checkpoint holds: tensors, numbers and texts in dicts and lists.

It is computed from the content and not from a file's bytes, so it is the same in every container.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor


def digest_of(content: Mapping[str, Any]) -> str:
    """SHA-256 of nested content, in hexadecimal; the order of a dict's keys does not matter.

    Parameters
    ----------
    content
        Tensors, numbers, texts, bools and None, in dicts, lists and tuples.

    Raises
    ------
    TypeError
        It holds something else.
    """
    digest = hashlib.sha256()
    for piece in _pieces(content):
        digest.update(piece)
    return digest.hexdigest()


def _pieces(value: Any) -> Iterator[bytes | memoryview]:
    """Type, size and value of each item, so that 1, 1.0, "1" and [1] differ."""
    kind = type(value).__name__
    if isinstance(value, Tensor):
        flat = value.detach().cpu().contiguous().reshape(-1)
        yield f"{value.dtype} {list(value.shape)}\n".encode()
        yield flat.view(torch.uint8).numpy().data
    elif isinstance(value, Mapping):
        yield f"dict {len(value)}\n".encode()
        for key in sorted(value, key=lambda key: (type(key).__name__, key)):
            yield from _pieces(key)
            yield from _pieces(value[key])
    elif isinstance(value, list | tuple):
        yield f"{kind} {len(value)}\n".encode()
        for item in value:
            yield from _pieces(item)
    elif isinstance(value, str):
        text = value.encode()
        yield f"str {len(text)}\n".encode()
        yield text
    elif value is None or isinstance(value, bool | int | float):
        yield f"{kind} {value!r}\n".encode()
    else:
        raise TypeError(f"no checksum of a {kind}")
