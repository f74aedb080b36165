"""Images of an archive made from others, read only when used.

They replace an array or an HDF5 dataset in an `Archive`, so that an archive larger than memory can
be written from parts of others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_CLOSE: Final = 16

Convert = Callable[[NDArray[Any]], NDArray[Any]]


class PickedImages:
    """Some rows of other images.

    Parameters
    ----------
    images
        (M, S, S) array, HDF5 dataset or the like.
    rows
        (N,) ascending rows of it.
    convert
        Function applied to (n, S, S) patches; None for no change.
    shape, dtype
        (N, S, S) and type of the result; None for those of `images`.
    """

    def __init__(
        self,
        images: Any,
        rows: NDArray[np.intp],
        convert: Convert | None = None,
        side: int | None = None,
        dtype: np.dtype[Any] | None = None,
    ) -> None:
        side = side or images.shape[1]
        self.shape = (len(rows), side, side)
        self.dtype = np.dtype(dtype or images.dtype)
        self._images, self._rows, self._convert = images, rows, convert

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getitem__(self, index: Any) -> NDArray[Any]:
        rows = self._rows[index]
        if np.ndim(rows) == 0:
            return np.asarray(self._made(self._images[int(rows)][None])[0])
        return self._made(read_rows(self._images, rows))

    def _made(self, patches: NDArray[Any]) -> NDArray[Any]:
        return self._convert(patches) if self._convert else patches


class JoinedImages:
    """Several images, concatenated.

    Parameters
    ----------
    parts
        One or more of equal patch size and type.
    """

    def __init__(self, parts: Sequence[Any]) -> None:
        self._parts = parts
        self._first = np.cumsum([0, *(len(part) for part in parts)])
        self.shape = (int(self._first[-1]), *parts[0].shape[1:])
        self.dtype = np.dtype(parts[0].dtype)

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getitem__(self, index: Any) -> NDArray[Any]:
        rows = np.arange(len(self))[index]
        if np.ndim(rows) == 0:
            return np.asarray(self[int(rows) : int(rows) + 1][0])
        made = np.empty((len(rows), *self.shape[1:]), self.dtype)
        part_of = np.searchsorted(self._first, rows, side="right") - 1
        for part in np.unique(part_of):
            here = part_of == part
            made[here] = read_rows(self._parts[part], rows[here] - self._first[part])
        return made


def read_rows(images: Any, rows: NDArray[np.intp]) -> NDArray[Any]:
    """Read rows in any order; rows that are close together are read at once.

    Parameters
    ----------
    images
        (M, S, S) array, HDF5 dataset or the like.
    rows
        (N,) rows, repeats allowed.
    """
    made = np.empty((len(rows), *images.shape[1:]), images.dtype)
    order = np.argsort(rows, kind="stable")
    for here in np.split(order, np.flatnonzero(np.diff(rows[order]) > _CLOSE) + 1):
        if len(here):
            first, last = int(rows[here[0]]), int(rows[here[-1]])
            made[here] = images[first : last + 1][rows[here] - first]
    return made
