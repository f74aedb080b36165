"""Checksums of datasets and of images, over their values, not over their bytes on disk."""

import hashlib
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np


class Digest:
    """SHA-256 of a dataset's type, shape and values, fed row by row.

    Parameters
    ----------
    dtype
        Type of the values; None for text.
    shape
        Shape of the whole dataset.
    """

    def __init__(self, dtype: np.dtype[Any] | None, shape: tuple[int, ...]) -> None:
        kind = "text" if dtype is None else dtype.str
        self._sha = hashlib.sha256(f"{kind}{list(shape)}\n".encode())

    def update(self, values: np.ndarray[Any, Any]) -> None:
        """Add the next rows, numbers or str."""
        if values.dtype == object:
            for text in values.ravel():
                data = str(text).encode()
                self._sha.update(len(data).to_bytes(8, "little") + data)
        else:
            self._sha.update(np.ascontiguousarray(values).data)

    def hexdigest(self) -> str:
        """Hexadecimal digest of all rows so far."""
        return self._sha.hexdigest()


@dataclass(frozen=True)
class RowSums:
    """Two independent checksums of one image, several times faster than SHA-256.

    One or two wrong bits, or wrong bits within 32 consecutive ones, always change them; other
    damage is missed with a probability of 2**-96.

    Attributes
    ----------
    crc32
        CRC-32 of its bytes.
    words
        Sum, modulo 2**64, of its bytes read as little-endian numbers of eight bytes; the last one
        is padded with zeros.
    """

    crc32: int
    words: int

    @classmethod
    def of(cls, row: np.ndarray[Any, Any]) -> "RowSums":
        """Compute both for a C-contiguous image."""
        data = row.reshape(-1).view(np.uint8)
        whole = data.size // 8 * 8
        words = int(data[:whole].view("<u8").sum(dtype=np.uint64))
        rest = int.from_bytes(data[whole:].tobytes(), "little")
        return cls(zlib.crc32(data.data), (words + rest) % 2**64)


class SumsDigest:
    """SHA-256 of a dataset's type, shape and the `RowSums` of its rows, fed row by row.

    Parameters
    ----------
    dtype, shape
        Type and shape of the whole dataset.
    """

    def __init__(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
        self._sha = hashlib.sha256(f"{dtype.str}{list(shape)}\n".encode())

    def update(self, sums: RowSums) -> None:
        """Add the next row."""
        self._sha.update(sums.crc32.to_bytes(4, "little") + sums.words.to_bytes(8, "little"))

    def hexdigest(self) -> str:
        """Hexadecimal digest of all rows so far."""
        return self._sha.hexdigest()
