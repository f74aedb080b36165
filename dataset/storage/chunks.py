"""Writing of a stack's pixels: uncompressed, or deflated by a small pool of threads."""

from __future__ import annotations

import os
import zlib
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from fgaf.base.errors import FormatError
from fgaf.dataset.storage.checksums import RowSums
from fgaf.dataset.storage.hdf5 import reading
from fgaf.dataset.storage.integrity import Stretch

_STRIPES = 4
_LEVEL, _WINDOW, _MEMORY = 1, 15, 9
_READ_BYTES = 1 << 18


class PlaneChunks:
    """Writes planes into a new dataset, each as one chunk, or as four deflated ones.

    The chunks are made here and passed to HDF5 in their final form. Every HDF5 has deflate, and the
    shuffle filter used before it for 16-bit pixels; only Huffman codes are used, because camera
    noise has no repeats.

    Parameters
    ----------
    file
        The file, open for writing.
    name
        Of the dataset.
    shape
        (P, Y, X): planes, rows, columns.
    dtype
        uint8 or uint16.
    compress
        Whether to deflate.
    """

    def __init__(
        self,
        file: h5py.File,
        name: str,
        shape: tuple[int, int, int],
        dtype: np.dtype[Any],
        compress: bool,
    ) -> None:
        self._name, self._compress = name, compress
        self._rows = -(-shape[1] // _STRIPES) if compress else shape[1]
        self._starts = range(0, shape[1], self._rows)
        self._dataset = _create(file, name, shape, dtype, self._rows, compress)
        self._written: dict[tuple[int, ...], int] = {}
        self._pool = ThreadPoolExecutor(min(_STRIPES, os.cpu_count() or 1), "plane chunks")
        if compress:
            # An index that is complete from the start only changes in place, so no written plane is
            # lost if the process is killed while the index is updated.
            for plane in range(shape[0]):
                for row in self._starts:
                    self._dataset.write_direct_chunk((plane, row, 0), b"\0")

    def write(self, plane: int, frame: NDArray[Any], hurry: bool = False) -> RowSums:
        """Write the next plane, and compute its checksums at the same time.

        Parameters
        ----------
        plane
            Its index.
        frame
            (Y, X) pixels of the dataset's type, C-contiguous.
        hurry
            Do not compress this plane: HDF5 records the filters of each chunk.

        Returns
        -------
        RowSums
            Sums of the pixels.
        """
        summed = self._pool.submit(RowSums.of, frame)
        corners = [(plane, row, 0) for row in self._starts]
        if self._compress:
            pack = partial(_packed, frame, self._rows, not hurry)
            skipped = (1 << frame.itemsize) - 1 if hurry else 0  # a bit for each filter
            for corner, (chunk, checksum) in zip(
                corners, self._pool.map(pack, self._starts), strict=True
            ):
                self._dataset.write_direct_chunk(corner, chunk, filter_mask=skipped)
                self._written[corner] = checksum
        else:
            self._dataset.write_direct_chunk(corners[0], frame.data)
            self._written[corners[0]] = summed.result().crc32
        return summed.result()

    def stretches(self) -> list[Stretch]:
        """Offsets of the chunks in the file, and their checksums when written."""
        return self._stretches(self._dataset)

    def require_whole(self, file: h5py.File, path: Path) -> None:
        """Read every chunk from the reopened file.

        Parameters
        ----------
        file
            The reopened file.
        path
            Named in the error.

        Raises
        ------
        FormatError
            A chunk has moved or differs from what was written.
        """
        with reading(path):
            found = self._stretches(file[self._name].id)
        if len(found) != len(self._written) or not all(
            self._pool.map(partial(_is_whole, path), found)
        ):
            raise FormatError(
                f"{path}: /{self._name} read back differs from what was written; check the disk "
                "and take the stack again"
            )

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()

    def _stretches(self, dataset: Any) -> list[Stretch]:
        found: list[Stretch] = []

        def visit(chunk: Any) -> None:
            if chunk.chunk_offset in self._written:
                checksum = self._written[chunk.chunk_offset]
                found.append(Stretch(chunk.byte_offset, chunk.size, checksum))

        dataset.chunk_iter(visit)
        return found


def _create(
    file: h5py.File,
    name: str,
    shape: tuple[int, int, int],
    dtype: np.dtype[Any],
    rows: int,
    compress: bool,
) -> Any:
    settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    settings.set_chunk((1, rows, shape[2]))
    settings.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    if not compress:
        # All planes at once: later writes change only pixels, never the file's structure.
        settings.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    else:
        if dtype.itemsize > 1:
            settings.set_shuffle()
        settings.set_deflate(_LEVEL)
    kind = h5py.h5t.py_create(dtype)
    return h5py.h5d.create(file.id, name.encode(), kind, h5py.h5s.create_simple(shape), settings)


def _packed(frame: NDArray[Any], rows: int, deflate: bool, start: int) -> tuple[bytes, int]:
    """Some rows of a frame, filtered as HDF5 would if compressed, and their CRC-32."""
    stripe = frame[start : start + rows]
    if len(stripe) < rows:  # chunks have equal size
        stripe = np.pad(stripe, ((0, rows - len(stripe)), (0, 0)))
    if not deflate:
        return stripe.tobytes(), zlib.crc32(stripe.data)
    if stripe.itemsize > 1:
        stripe = stripe.reshape(-1).view(np.uint8).reshape(-1, stripe.itemsize).T
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _WINDOW, _MEMORY, zlib.Z_HUFFMAN_ONLY)
    packed = packer.compress(np.ascontiguousarray(stripe).data) + packer.flush()
    return packed, zlib.crc32(packed)


def _is_whole(path: Path, stretch: Stretch) -> bool:
    buffer = memoryview(bytearray(min(stretch.length, _READ_BYTES)))
    left, checksum = stretch.length, 0
    with path.open("rb", buffering=0) as handle:
        handle.seek(stretch.offset)
        while left and (read := handle.readinto(buffer[:left])):
            left, checksum = left - read, zlib.crc32(buffer[:read], checksum)
    return left == 0 and checksum == stretch.crc32
