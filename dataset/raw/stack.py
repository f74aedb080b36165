"""A raw stack open for reading."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from fgaf.base.errors import FormatError
from fgaf.dataset.raw.header import RawHeader
from fgaf.dataset.raw.layout import frames_of, open_raw, planes_of
from fgaf.dataset.storage.hdf5 import reading
from fgaf.dataset.storage.header import read_header
from fgaf.dataset.storage.integrity import Bar, fingerprint_of, verify
from fgaf.dataset.storage.url import Location, Url, location
from fgaf.dataset.truth import StackTruth, read_truth

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RawStack:
    """A raw stack open for reading; use ``with RawStack.open(path) as stack``.

    Attributes
    ----------
    path
        The file.
    header
        Plan, optics and provenance.
    frames
        (P, Y, X) pixels, read from disk when indexed.
    planes
        Column name to array (P,), see `PLANE_COLUMNS`.
    fingerprint
        Checksum of the content, content_sha256.
    """

    path: Path
    header: RawHeader
    frames: h5py.Dataset
    planes: dict[str, NDArray[Any]]
    fingerprint: str

    @classmethod
    @contextmanager
    def open(cls, path: Location, whole: bool = False, progress: Bar = iter) -> Iterator[Self]:
        """Open a published stack; attributes and columns are checked.

        Parameters
        ----------
        path
            The file, or its address; pixels are read, or fetched, when they are used.
        whole
            Compare the whole file with its checksums first.
        progress
            Wraps the planes that are compared.

        Raises
        ------
        FormatError
            Not a raw stack, newer, truncated, a column is missing, or a checksum that was compared
            differs.
        """
        path = location(path)
        with open_raw(path) as file:
            if whole:
                verify(file, path, progress=progress)
            with reading(path):
                frames = frames_of(file, path)
                planes = planes_of(file, frames.shape[0], path)
                header = read_header(file, RawHeader, path)
                known = Path(path.name) if isinstance(path, Url) else path
                stack = cls(known, header, frames, planes, fingerprint_of(file))
            _log.debug("opened %s: %d planes, content %s", path, len(frames), stack.fingerprint)
            yield stack

    @property
    def n_planes(self) -> int:
        """Planes in the file."""
        return int(self.frames.shape[0])

    @property
    def shape(self) -> tuple[int, int, int]:
        """(P, Y, X)."""
        planes, rows, columns = self.frames.shape
        return int(planes), int(rows), int(columns)

    @property
    def z_um(self) -> NDArray[np.float64]:
        """(P,) drive positions read back, in µm."""
        return self.planes["z_measured_um"]

    def verify(self) -> None:
        """Compare the whole file with its checksums.

        Raises
        ------
        FormatError
            A checksum differs; the message lists which.
        """
        verify(self.frames.file, self.path)

    def truth(self) -> StackTruth | None:
        """Read the simulation's truth beside the stack; None if there is none.

        Raises
        ------
        FormatError
            The truth is that of another stack, or cannot be read.
        """
        truth = read_truth(self.path)
        if truth is None:
            return None
        if truth.stack_uuid != self.header.uuid or len(truth.frames) < self.n_planes:
            raise FormatError(f"the truth file beside {self.path} is of another stack; delete it")
        return truth
