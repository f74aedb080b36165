"""Seals: checksums inside our HDF5 files, so that an altered or truncated file is detected.

Every dataset carries the attribute ``sha256`` (of its type, shape and values), the file the
attribute ``content_sha256`` (of all attributes and of every dataset's seal). Images written as fast
as a camera gives them carry ``sums_sha256`` in place of ``sha256``: of two checksums of each image.
All are computed from the values and not from the bytes on disk, so a lossless copy keeps them. The
bytes on disk, including those that HDF5 leaves unused, have a separate seal in the file's last
line.
"""

import hashlib
import json
import re
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import h5py
import numpy as np

from fgaf.base.errors import FormatError
from fgaf.dataset.storage.attributes import read_attribute, write_attribute
from fgaf.dataset.storage.checksums import Digest, RowSums, SumsDigest
from fgaf.dataset.storage.crc import crc32_combine
from fgaf.dataset.storage.hdf5 import DAMAGE, reading

SEAL, SUMS_SEAL = "sha256", "sums_sha256"
FILE_SEAL = "content_sha256"
END_SEAL = "end_seal"
_END_LINE = re.compile(rb"\nfgaf end (\d{16}) crc32 ([0-9a-f]{8})\n")
_END_BYTES = 42
_BLOCK_BYTES = 1 << 24
Bar = Callable[[Sequence[int]], Iterable[int]]


@dataclass(frozen=True)
class Stretch:
    """Bytes of a file whose CRC-32 is known: offset, length and checksum."""

    offset: int
    length: int
    crc32: int


def seal(
    file: h5py.File, known: Mapping[str, SumsDigest] | None = None, progress: Bar = iter
) -> str:
    """Write the seals of every dataset and of the file; nothing may be added afterwards.

    Parameters
    ----------
    file
        A file open for writing, complete except for its seals.
    known
        Digests taken while writing, by dataset path such as ``"frames"``.
    progress
        Wraps the first rows of the blocks of each dataset that is larger than one.

    Returns
    -------
    str
        The file's content_sha256.
    """
    known = known or {}
    for name, dataset in _datasets(file):
        if name in known:
            write_attribute(dataset, SUMS_SEAL, known[name].hexdigest())
        else:
            write_attribute(dataset, SEAL, _digest(dataset, progress))
    write_attribute(file, END_SEAL, "crc32")
    fingerprint = _content(file)
    write_attribute(file, FILE_SEAL, fingerprint)
    return fingerprint


def seal_end(path: Path, known: Iterable[Stretch] = ()) -> None:
    """Append the line that seals the bytes of a finished, closed file: their number and CRC-32.

    HDF5 ignores bytes beyond the end given in its header, so it ignores this line.

    Parameters
    ----------
    path
        The file.
    known
        Parts of it that need not be read again.
    """
    with path.open("r+b") as handle:
        length = checksum = 0
        for part in (*sorted(known, key=lambda each: each.offset), None):
            until = path.stat().st_size if part is None else part.offset
            handle.seek(length)
            read, checksum = _checksum(handle, until - length, checksum)
            length += read
            if part is not None:
                length += part.length
                checksum = crc32_combine(checksum, part.crc32, part.length)
        handle.write(f"\nfgaf end {length:016} crc32 {checksum:08x}\n".encode())


def end_is_whole(path: Path) -> bool:
    """Compare every byte of a file with the seal in its last line."""
    with path.open("rb") as handle:
        length, checksum = _checksum(handle, path.stat().st_size - _END_BYTES)
        line = _END_LINE.fullmatch(handle.read())
    return line is not None and (int(line[1]), int(line[2], 16)) == (length, checksum)


def broken_seals(file: h5py.File, but: str = "", progress: Bar = iter) -> list[str]:
    """Compare a file with its seals, reading all of it.

    Parameters
    ----------
    file
        The file.
    but
        A dataset that is left out, because the caller checks it.
    progress
        Wraps the first rows of the blocks of each dataset that is larger than one.

    Returns
    -------
    list of str
        What differs: dataset paths, and "the attributes" for the file's own seal. Empty if nothing
        does.
    """
    differing = []
    for name, dataset in _datasets(file):
        if name == but:
            continue
        try:
            whole = _is_sealed(dataset, progress)
        except DAMAGE:
            whole = False
        if not whole:
            differing.append(f"/{name}")
    if not attributes_sealed(file):
        differing.append("the attributes or the list of datasets")
    return differing


def attributes_sealed(file: h5py.File) -> bool:
    """Whether attributes and dataset seals match the file's seal; reads no data."""
    try:
        return read_attribute(file, FILE_SEAL) == _content(file)
    except DAMAGE:
        return False


def fingerprint_of(file: h5py.File) -> str:
    """content_sha256 of an open file; empty if it has none."""
    return str(read_attribute(file, FILE_SEAL) or "")


def attribute_types(file: h5py.File) -> dict[str, dict[str, str]]:
    """Every group and dataset of a file, and type and value of its attributes except the seals."""
    seals = {SEAL, SUMS_SEAL, FILE_SEAL, END_SEAL}
    found: dict[str, dict[str, str]] = {}

    def visit(name: str, item: h5py.Group | h5py.Dataset) -> None:
        found[name] = {key: _typed(item.attrs[key]) for key in item.attrs if key not in seals}

    visit("/", file)
    file.visititems(lambda name, item: visit(f"/{name}", item))
    return found


def verify(file: h5py.File, path: object, but: str = "", progress: Bar = iter) -> None:
    """Check all seals; the parameters are those of `broken_seals`.

    Parameters
    ----------
    file
        The open file.
    path
        Named in the error.
    but
        Dataset that is left out, see `broken_seals`.
    progress
        Wraps the blocks, see `broken_seals`.

    Raises
    ------
    FormatError
        There are none, or a checksum differs; the message says where.
    """
    with reading(path):
        if not fingerprint_of(file):
            raise FormatError(
                f"{path} has no checksum: it is unfinished or damaged; `acq recover` publishes the "
                "planes of a broken run's .part"
            )
        differing = broken_seals(file, but, progress)
    if differing:
        raise FormatError(
            f"{path}: checksum differs in {', '.join(differing)}; the file was altered or damaged, "
            "copy it from its source again"
        )


def _checksum(handle: BinaryIO, length: int, checksum: int = 0) -> tuple[int, int]:
    """Length and CRC-32 of the next `length` bytes; `checksum` is that of the bytes before."""
    read = 0
    while read < length and (block := handle.read(min(_BLOCK_BYTES, length - read))):
        read, checksum = read + len(block), zlib.crc32(block, checksum)
    return read, checksum


def _datasets(file: h5py.File) -> list[tuple[str, h5py.Dataset]]:
    found: list[tuple[str, h5py.Dataset]] = []

    def visit(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset):
            found.append((name, item))

    file.visititems(visit)
    return sorted(found, key=lambda pair: pair[0])


def _is_sealed(dataset: h5py.Dataset, progress: Bar) -> bool:
    if SUMS_SEAL in dataset.attrs:
        return read_attribute(dataset, SUMS_SEAL) == _sums_digest(dataset, progress)
    return read_attribute(dataset, SEAL) == _digest(dataset, progress)


def _sums_digest(dataset: h5py.Dataset, progress: Bar) -> str:
    digest = SumsDigest(dataset.dtype, dataset.shape)
    rows = range(dataset.shape[0])
    for row in progress(rows) if dataset.nbytes > _BLOCK_BYTES else rows:
        digest.update(RowSums.of(dataset[row]))
    return digest.hexdigest()


def _digest(dataset: h5py.Dataset, progress: Bar = iter) -> str:
    text = h5py.check_string_dtype(dataset.dtype) is not None
    digest = Digest(None if text else dataset.dtype, dataset.shape)
    if dataset.ndim == 0:
        digest.update(np.asarray(dataset[()]))
        return digest.hexdigest()
    source = dataset.asstr() if text else dataset
    row_bytes = max(1, dataset.dtype.itemsize * int(np.prod(dataset.shape[1:])))
    step = max(1, _BLOCK_BYTES // row_bytes)
    starts = range(0, dataset.shape[0], step)
    for start in progress(starts) if len(starts) > 1 else starts:
        digest.update(source[start : start + step])
    return digest.hexdigest()


def _content(file: h5py.File) -> str:
    lines = [f"/ {_attributes(file)}"]
    groups: list[str] = []
    file.visititems(
        lambda name, item: groups.append(name) if isinstance(item, h5py.Group) else None
    )
    lines += [f"/{name}/ {_attributes(file[name])}" for name in sorted(groups)]
    lines += [f"/{name} {_attributes(dataset)}" for name, dataset in _datasets(file)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _attributes(item: h5py.Group | h5py.Dataset) -> str:
    values = {name: _canonical(value) for name, value in item.attrs.items() if name != FILE_SEAL}
    return json.dumps(values, sort_keys=True)


def _canonical(value: object) -> list[object]:
    """Type and exact value, so that 1, 1.0 and "1" differ."""
    if isinstance(value, str):
        return ["text", value]
    array = np.asarray(value)
    return [array.dtype.str, list(array.shape), array.tobytes().hex()]


def _typed(value: object) -> str:
    """Type and value as text, for people."""
    if isinstance(value, str | bytes):
        text = value if isinstance(value, str) else value.decode(errors="replace")
        return f"{'text' if isinstance(value, bytes) else 'text of variable length'} {text!r}"
    array = np.asarray(value)
    return f"{array.dtype}{list(array.shape) if array.shape else ''} {array.tolist()!r}"
