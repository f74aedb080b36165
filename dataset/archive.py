"""Dataset archives ``dataset.h5``: labelled patches of many cells, to train on and to share."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final, Self

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, model_validator

from fgaf.base.bounds import HalfRangeUm, PatchPx, StepUm
from fgaf.base.errors import FgafError, FormatError
from fgaf.base.files import publishing, require_free
from fgaf.dataset.storage.columns import TEXT, Schema, dataset_of, read_columns, write_columns
from fgaf.dataset.storage.deferred_error_file import writing_hdf5
from fgaf.dataset.storage.hdf5 import open_format, reading
from fgaf.dataset.storage.header import new_header, read_header, write_header
from fgaf.dataset.storage.integrity import (
    Bar,
    fingerprint_of,
    seal,
    seal_end,
    verify,
)
from fgaf.dataset.storage.masks import masks_in, masks_problem, write_masks
from fgaf.dataset.storage.optics import Optics
from fgaf.dataset.storage.refinement import (
    METHOD,
    Refinement,
    refinement_in,
    write_refinement,
)
from fgaf.dataset.storage.url import Location, Url, location

_log = logging.getLogger(__name__)

FORMAT, FORMAT_VERSION = "fgaf-dataset", 2
_WITHOUT_MASKS = 1

ROW_COLUMNS: Schema = {
    "depth_um": "<f8",
    "plane": "<i4",
    "cell": "<i4",
    "center_y": "<i4",
    "center_x": "<i4",
}
CELL_COLUMNS: Schema = {
    "id": TEXT,
    "source": TEXT,
    "source_sha256": TEXT,
    "sample_id": TEXT,
    "field": TEXT,
    "focus_um": "<f8",
    "focus_plane": "<i4",
    "annotator": TEXT,
    "labelled_utc": TEXT,
    "method": TEXT,
    "confidence": "<f8",
}
METHODS: Final[Mapping[str, str]] = {
    "person": "a person marked the plane where the cell is sharpest",
    "focus-curve": "the peak of a focus measure over the planes, not confirmed by a person",
    "steps": "the steps of the drive, and the focus that fits what a network reads in all planes, "
    "not confirmed by a person",
    "simulation": "the truth of a simulation",
    METHOD: "corrected by what networks read in all planes, learned from other cells",
    "import": "the labels of the provider of the patches",
}
"""How a cell can have got its label, and what that means."""
UNCONFIRMED: Final = ("focus-curve", "steps")
"""Methods by which a program labels what no person has looked at."""
DEFAULT_SPLIT = "default"
HISTORY = "history"
_CHUNK_BYTES = 1 << 18
_SPARE_BYTES = 1 << 20


class ArchiveHeader(BaseModel):
    """Metadata of an archive.

    Attributes
    ----------
    step_um, half_range_um
        The depth classes: from -half range to +half range in steps, in drive µm.
    patch_px
        Side of a patch in pixels.
    optics
        Optics; None if unknown.
    name, description, license
        Free text for users of the archive.
    created_utc, software
        ISO 8601 time and program version when it was compiled; of an archive from a session, the
        time of the latest decision.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    step_um: StepUm
    half_range_um: HalfRangeUm
    patch_px: PatchPx
    optics: Optics = Optics()
    name: str = ""
    description: str = ""
    license: str = ""
    created_utc: str
    software: str

    @model_validator(mode="after")
    def _whole_steps(self) -> Self:
        steps = self.half_range_um / self.step_um
        if round(steps) < 1 or abs(steps - round(steps)) > 1e-6:
            raise ValueError("half_range_um is not a multiple of step_um")
        return self

    @classmethod
    def new(cls, **values: Any) -> Self:
        """Make a header, with the time and version of now unless given.

        See `new_header` for the errors.
        """
        return new_header(cls, **values)


@dataclass(frozen=True)
class Cells:
    """The table of cells, one array (K,) per column.

    Attributes
    ----------
    id
        Name of the cell, unique in the archive.
    source, source_sha256
        Name of its source file, and the checksum of that file's content.
    sample_id, field
        Sample and field of view; empty if unknown. Cells of one field share `field`.
    focus_um, focus_plane
        Drive position in µm, and raw plane index, at which the cell is in focus.
    annotator, labelled_utc
        Who or what labelled it, and when.
    method
        How, one of `METHODS`; `annotator` and `labelled_utc` of "refined" are of the label before.
    confidence
        0 to 1.
    """

    id: NDArray[Any]
    source: NDArray[Any]
    source_sha256: NDArray[Any]
    sample_id: NDArray[Any]
    field: NDArray[Any]
    focus_um: NDArray[Any]
    focus_plane: NDArray[Any]
    annotator: NDArray[Any]
    labelled_utc: NDArray[Any]
    method: NDArray[Any]
    confidence: NDArray[Any]

    def __len__(self) -> int:
        return len(self.id)

    @classmethod
    def from_rows(cls, rows: list[dict[str, Any]]) -> Self:
        """Make the table from one dictionary per cell."""
        return cls.from_columns({name: [row[name] for row in rows] for name in CELL_COLUMNS})

    @classmethod
    def from_columns(cls, columns: Mapping[str, ArrayLike]) -> Self:
        """Make the table from its columns."""
        return cls(
            **{
                name: np.array(columns[name], dtype=object if kind == TEXT else kind)
                for name, kind in CELL_COLUMNS.items()
            }
        )

    def take(self, index: ArrayLike) -> Self:
        """The table of the cells in `index`."""
        return type(self)(**{f.name: getattr(self, f.name)[index] for f in fields(self)})


def class_depths(half_range_um: float, step_um: float) -> NDArray[np.float64]:
    """List the depths of the classes from minus to plus half a range, ascending: (C,) µm.

    Parameters
    ----------
    half_range_um, step_um
        The range, and the distance of the classes, in µm.
    """
    half = round(half_range_um / step_um)
    return np.arange(-half, half + 1, dtype=np.float64) * step_um


@dataclass(frozen=True)
class Archive:
    """An archive in memory or open for reading.

    Rows of one cell are contiguous, z ascending.

    Attributes
    ----------
    header
        Depth grid, patch size, optics, texts.
    images
        (M, S, S) uint8 or uint16; an `h5py.Dataset` when opened lazily.
    depth_um
        (M,) label: z of the plane minus z of the cell's focus, in µm.
    plane, cell
        (M,) raw plane index and index into `cells`.
    center_y, center_x
        (M,) centre pixel of the crop in the raw frame.
    cells
        The table of K cells.
    true_depth_um
        (M,) the true depth, if simulated; for evaluation, never for training.
    masks
        (M, S, S) uint8: 0 background, 1 the head of the patch's own cell, 2 heads of other cells;
        an `h5py.Dataset` when opened lazily, None where there are none. ``masks[rows] > 0`` are all
        heads.
    splits
        Name to (K,) int8: 0 train, 1 validation, 2 test.
    refinement
        Labels before `fgaf-refine` corrected them, and its standard errors; None where it did not.
    history
        Steps since it was compiled, see `fgaf.dataset.history`.
    path, fingerprint
        Its file, and the checksum of its content; None and empty for a new archive.
    """

    header: ArchiveHeader
    images: Any
    depth_um: NDArray[np.float64]
    plane: NDArray[np.int32]
    cell: NDArray[np.int32]
    center_y: NDArray[np.int32]
    center_x: NDArray[np.int32]
    cells: Cells
    true_depth_um: NDArray[np.float64] | None = None
    masks: Any = None
    splits: dict[str, NDArray[np.int8]] = field(default_factory=dict)
    refinement: Refinement | None = None
    history: tuple[str, ...] = ()
    path: Path | None = None
    fingerprint: str = ""

    @classmethod
    @contextmanager
    def open(cls, path: Location, whole: bool = False, progress: Bar = iter) -> Iterator[Self]:
        """Open an archive; tables are read, images and masks stay on disk until indexed.

        Parameters
        ----------
        path
            The file, or its address; from an address only the parts that are used are fetched.
        whole
            Compare the whole file with its checksums first.
        progress
            Wraps the blocks that are compared.

        Raises
        ------
        FormatError
            It is not an archive, is newer or truncated, a column is missing or contradicts another,
            or a compared checksum differs.
        """
        path = location(path)
        with open_format(path, FORMAT, FORMAT_VERSION) as file:
            if whole:
                verify(file, path, progress=progress)
            with reading(path):
                archive = cls._from_file(file, path)
            _log.debug("opened %s: %d cells, %d patches", path, archive.n_cells, len(archive.cell))
            yield archive

    @classmethod
    def read(cls, path: Location, progress: Bar = iter) -> Self:
        """Read a whole archive into memory and compare its checksums; see `open` for the errors.

        Parameters
        ----------
        path
            The file, or its address.
        progress
            Wraps the blocks that are compared.
        """
        with cls.open(path, whole=True, progress=progress) as archive:
            return archive.loaded()

    def loaded(self) -> Self:
        """The same with its images and masks in memory."""
        with reading(self.path or "the archive"):
            masks = None if self.masks is None else self.masks[:]
            return replace(self, images=self.images[:], masks=masks)

    @classmethod
    def _from_file(cls, file: h5py.File, path: Path | Url) -> Self:
        images = dataset_of(file, "images", path)
        header = read_header(file, ArchiveHeader, path)
        side = header.patch_px
        if images.dtype not in (np.dtype("u1"), np.dtype("u2")) or images.shape[1:] != (side, side):
            raise FormatError(
                f"{path}: /images is {images.dtype}{list(images.shape or ())}, should be uint8 or "
                f"uint16 (patches, {side}, {side}); copy the file from its source again"
            )
        table = _group(file, "cells", path)
        n_rows, n_cells = images.shape[0], dataset_of(table, "id", path).shape[0]
        rows = read_columns(file, ROW_COLUMNS, n_rows, path)
        cells = Cells(**read_columns(table, CELL_COLUMNS, n_cells, path))
        truth = None
        if "true_depth_um" in file:
            truth = read_columns(file, {"true_depth_um": "<f8"}, n_rows, path)["true_depth_um"]
        names = sorted(_group(file, "splits", path))
        sides = read_columns(file["splits"], dict.fromkeys(names, "|i1"), n_cells, path)
        history: tuple[str, ...] = ()
        if HISTORY in file:
            steps = dataset_of(file, HISTORY, path).size
            history = tuple(read_columns(file, {HISTORY: TEXT}, steps, path)[HISTORY])
        archive = cls(
            header=header,
            images=images,
            cells=cells,
            true_depth_um=truth,
            masks=masks_in(file, images.shape, path),
            splits=sides,
            refinement=refinement_in(file, n_rows, n_cells, path),
            history=history,
            path=None if isinstance(path, Url) else path,
            fingerprint=fingerprint_of(file),
            **rows,
        )
        if problem := archive.problem():
            raise FormatError(f"{path}: {problem}; copy the file from its source again")
        return archive

    @property
    def format_version(self) -> int:
        """Version of the format that holds it: 2 with masks, else 1."""
        return _WITHOUT_MASKS if self.masks is None else FORMAT_VERSION

    @property
    def n_cells(self) -> int:
        """Number of cells, K."""
        return len(self.cells)

    @property
    def n_classes(self) -> int:
        """Number of depth classes, C."""
        return 2 * round(self.header.half_range_um / self.header.step_um) + 1

    @property
    def class_depths_um(self) -> NDArray[np.float64]:
        """(C,) depth of each class, ascending, in µm."""
        return class_depths(self.header.half_range_um, self.header.step_um)

    @property
    def depth_class(self) -> NDArray[np.int64]:
        """(M,) depth class of every label, 0 the lowest."""
        return self.classes_of(self.depth_um)

    @property
    def true_class(self) -> NDArray[np.int64] | None:
        """(M,) depth class of the true depth, clipped to the range; None if unknown."""
        return None if self.true_depth_um is None else self.classes_of(self.true_depth_um)

    def classes_of(self, depth_um: NDArray[np.float64]) -> NDArray[np.int64]:
        """Nearest depth class of each depth, clipped to the range."""
        half = self.n_classes // 2
        steps = np.rint(depth_um / self.header.step_um).astype(np.int64)
        return np.clip(steps, -half, half) + half

    def rows_of(self, cell: int) -> slice:
        """Rows of one cell, z ascending."""
        start, stop = np.searchsorted(self.cell, [cell, cell + 1])
        return slice(int(start), int(stop))

    def split_of_rows(self, name: str = DEFAULT_SPLIT) -> NDArray[np.int8]:
        """(M,) side of every row: 0 train, 1 validation, 2 test.

        Raises
        ------
        FgafError
            The archive has no split of that name.
        """
        if name not in self.splits:
            known = ", ".join(sorted(self.splits)) or "none"
            raise FgafError(
                f"the archive has no split {name!r} (it has: {known}); "
                "make one with `fgaf-data split`"
            )
        return self.splits[name][self.cell]

    def problem(self) -> str:
        """What contradicts the format in the tables; empty if they are valid."""
        m, k = len(self.images), self.n_cells
        columns = {name: getattr(self, name) for name in ROW_COLUMNS}
        if self.true_depth_um is not None:
            columns["true_depth_um"] = self.true_depth_um
        for name, values in columns.items():
            if len(values) != m:
                return f"/{name} has {len(values)} rows, /images {m}"
        if self.masks is not None and (problem := masks_problem(self.masks, self.images.shape)):
            return problem
        if self.refinement is not None and (problem := self.refinement.problem(m, k)):
            return problem
        for name, sides in self.splits.items():
            if len(sides) != k or not np.isin(sides, (0, 1, 2)).all():
                return f"/splits/{name} is not 0, 1 or 2 for each of the {k} cells"
        for name in ("depth_um", "true_depth_um"):
            if name in columns and not np.isfinite(columns[name]).all():
                return f"/{name} holds numbers that are not finite"
        if not np.array_equal(np.unique(self.cell), np.arange(k)):
            return "/cell does not refer to every cell of /cells, and to no other"
        if (np.diff(self.cell) < 0).any():
            return "the rows of one cell are not contiguous"
        same = np.diff(self.cell) == 0
        if (np.diff(self.depth_um)[same] <= 0).any():
            return "/depth_um does not ascend within a cell"
        if len(set(self.cells.id)) != k:
            return "/cells/id names a cell twice"
        return ""


def write_archive(
    path: Path, archive: Archive, overwrite: bool = False, progress: Bar = iter
) -> Path:
    """Compile an archive: built beside `path`, synced, reopened, verified, then published.

    Parameters
    ----------
    path
        The target.
    archive
        What to write; its `path` and `fingerprint` are ignored.
    overwrite
        Whether an existing `path` may be replaced.
    progress
        Wraps the blocks of images that are written, sealed and compared, one after the other.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    ExistsError
        `path` exists and `overwrite` is false.
    FgafError
        The tables contradict each other, or the disk is full or cannot be written.
    """
    if problem := archive.problem():
        raise FgafError(f"the archive is not valid: {problem}; correct its tables")
    pixels = int(np.prod(archive.images.shape))
    n_bytes = pixels * (archive.images.dtype.itemsize + (archive.masks is not None))
    require_free(path, n_bytes + _SPARE_BYTES)
    with publishing(path, overwrite) as part:
        with writing_hdf5(part) as file:
            _write(file, archive, progress)
            seal(file, progress=progress)
        seal_end(part)
        with open_format(part, FORMAT, FORMAT_VERSION) as file:
            verify(file, path, progress=progress)
    return path


def _write(file: h5py.File, archive: Archive, progress: Bar) -> None:
    write_header(file, FORMAT, archive.format_version, archive.header)
    m, *patch = archive.images.shape
    row_bytes = archive.images.dtype.itemsize * int(np.prod(patch))
    rows = max(1, min(m, _CHUNK_BYTES // row_bytes))
    kind = archive.images.dtype
    chunks = (rows, *patch) if m else None
    images = file.create_dataset("images", (m, *patch), kind, chunks=chunks)
    starts = range(0, m, rows)
    for start in progress(starts) if len(starts) > 1 else starts:
        images[start : start + rows] = archive.images[start : start + rows]
    if archive.masks is not None:
        write_masks(file, archive.masks, rows)
    write_columns(file, ROW_COLUMNS, archive.__dict__)
    if archive.true_depth_um is not None:
        write_columns(file, {"true_depth_um": "<f8"}, archive.__dict__)
    write_columns(file.create_group("cells"), CELL_COLUMNS, archive.cells.__dict__)
    write_columns(file.create_group("splits"), dict.fromkeys(archive.splits, "|i1"), archive.splits)
    if archive.refinement is not None:
        write_refinement(file, archive.refinement)
    if archive.history:
        write_columns(file, {HISTORY: TEXT}, archive.__dict__)


def _group(file: h5py.File, name: str, path: Path | Url) -> h5py.Group:
    group = file.get(name)
    if not isinstance(group, h5py.Group):
        raise FormatError(
            f"{path}: the table /{name} is missing; copy the file from its source again"
        )
    return group
