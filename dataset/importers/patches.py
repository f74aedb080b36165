"""Existing patch sets: one multi-page TIFF per cell becomes an archive."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from fgaf.base.bounds import Classes, Seed, StepUm, require_bounded
from fgaf.base.errors import FormatError, SettingError
from fgaf.base.files import sha256_of
from fgaf.dataset.archive import DEFAULT_SPLIT, Archive, ArchiveHeader, Cells
from fgaf.dataset.importers.open_series import read_zstack
from fgaf.dataset.importers.order import step_of, stored_downwards
from fgaf.dataset.importers.plan import stack_name
from fgaf.dataset.importers.tiff_file import is_tiff
from fgaf.dataset.importers.zstack import Claim, ZStack, settle
from fgaf.dataset.splits.split import make_split
from fgaf.dataset.storage.header import utc_now
from fgaf.dataset.storage.optics import Optics

METHOD: Final = "import"


@dataclass(frozen=True)
class PatchSettings:
    """Metadata of a patch set.

    Attributes
    ----------
    step_um : float or None
        Distance of neighbouring pages, drive µm; None if every file's metadata gives it.
    optics : Optics
        Optics of the images.
    sample_id : str
        Sample of every cell.
    sample_from : str
        Regular expression searched in the file's path inside the folder, with ``/`` between
        folders; its group ``sample``, else its first group, is the sample.
    cell_from : str
        The same for the cell, if every patch is a separate file.
    labels : {"class", "um"} or None
        Meaning of plain numbers as names of class folders; None if there are none.
    classes : int or None
        Number of depth classes, if labels are class numbers; None to count the labels.
    ignore_metadata : bool
        Take step, positions, order of planes and pixel size of stacks only from these settings.
    annotator, name, description, license : str
        Free text for the archive.
    seed : int
        Seed of the split "default".
    """

    step_um: StepUm | None = None
    optics: Optics = field(default_factory=Optics)
    sample_id: str = ""
    sample_from: str = ""
    cell_from: str = ""
    labels: Literal["class", "um"] | None = None
    annotator: str = ""
    name: str = ""
    description: str = ""
    license: str = ""
    classes: Classes | None = None
    ignore_metadata: bool = False
    seed: Seed = 0

    def __post_init__(self) -> None:
        require_bounded(self)


def import_cell_stacks(
    folder: Path,
    settings: PatchSettings | None = None,
    progress: Callable[[list[Path]], Iterable[Path]] = iter,
) -> Archive:
    """Read a folder of patch stacks, each cropped around one cell and centred on its focus.

    Parameters
    ----------
    folder
        Contains, at any level, one multi-page TIFF per cell: an odd number of square pages, the
        same in every file, the middle page in focus; the lowest plane first unless the file says
        otherwise.
    settings
        Further metadata.
    progress
        Wraps the list of files while they are read.

    Returns
    -------
    Archive
        In memory, with method "import" and a split "default"; `write_archive` publishes it.

    Raises
    ------
    FormatError
        A file is not such a stack, or differs from the first one in size or type; the message
        names it.
    SettingError
        The z step is unknown or contradicted, or `sample_from` does not match a name.
    """
    settings = settings or PatchSettings()
    for option, given in (
        ("--cell-from", settings.cell_from),
        ("--labels", settings.labels),
        ("--classes", settings.classes),
    ):
        if given:
            raise SettingError(
                f"{option} is for folders of single patches, and {folder} holds a stack per cell; "
                "leave it out"
            )
    files = sorted(p for p in folder.rglob("*") if is_tiff(p))
    if not files:
        raise FormatError(f"{folder} holds no TIFF; name the folder of the cells' patch stacks")
    _require_distinct(files, folder)
    samples = [
        name_from(
            "--sample-from", settings.sample_from, file.relative_to(folder).as_posix(), "sample"
        )
        if settings.sample_from
        else settings.sample_id
        for file in files
    ]

    first = read_zstack(files[0])
    _require_centred(first)
    images = np.empty((len(files), *first.frames.shape), first.frames.dtype)
    step, pixel = _scales(first, settings)
    for k, file in enumerate(progress(files)):
        stack = read_zstack(file)
        _require_like(stack, first)
        down = stored_downwards(stack, ignore_metadata=settings.ignore_metadata)
        _require_same_scales(stack, settings, step, pixel)
        images[k] = stack.frames[::-1] if down else stack.frames
    cells = Cells.from_columns(
        {
            "id": [_cell_id(file, folder) for file in files],
            "source": [file.relative_to(folder).as_posix() for file in files],
            "source_sha256": [sha256_of(file) for file in files],
            "sample_id": samples,
            "field": [""] * len(files),
            "focus_um": np.zeros(len(files)),
            "focus_plane": np.full(len(files), len(first.frames) // 2),
            "annotator": [settings.annotator] * len(files),
            "labelled_utc": [utc_now()] * len(files),
            "method": [METHOD] * len(files),
            "confidence": np.ones(len(files)),
        }
    )
    return _archive(images, cells, step.value, pixel.value if pixel else None, settings)


def _archive(
    images: NDArray[Any],
    cells: Cells,
    step_um: float,
    pixel_size_um: float | None,
    settings: PatchSettings,
) -> Archive:
    k, n_planes, side, _ = images.shape
    half = n_planes // 2
    plane = np.tile(np.arange(n_planes, dtype=np.int32), k)
    cell = np.repeat(np.arange(k, dtype=np.int32), n_planes)
    center = np.full(k * n_planes, side // 2, dtype=np.int32)
    split = make_split(cells, center, center, cell, side, seed=settings.seed)
    return Archive(
        header=ArchiveHeader.new(
            step_um=step_um,
            half_range_um=half * step_um,
            patch_px=side,
            optics=settings.optics.model_copy(update={"pixel_size_um": pixel_size_um}),
            name=settings.name,
            description=settings.description,
            license=settings.license,
        ),
        images=images.reshape(-1, side, side),
        depth_um=(plane - half) * step_um,
        plane=plane,
        cell=cell,
        center_y=center,
        center_x=center.copy(),
        cells=cells,
        splits={DEFAULT_SPLIT: split.sides},
    )


def _cell_id(file: Path, folder: Path) -> str:
    return file.relative_to(folder).with_name(stack_name(file)).as_posix()


def _require_distinct(files: list[Path], folder: Path) -> None:
    seen: dict[str, Path] = {}
    for file in files:
        other = seen.setdefault(_cell_id(file, folder), file)
        if other is not file:
            raise FormatError(f"{file} differs from {other.name} only in its suffix; keep one")


def name_from(option: str, regex: str, path: str, what: str) -> str:
    """Find a name in a file's path: the group `what` of a regular expression, else its first.

    Parameters
    ----------
    option
        The option that gave the expression, named in the error.
    regex
        The expression; it is searched for, not matched from the start.
    path
        The file's path.
    what
        Name of the group, and of the value.

    Raises
    ------
    SettingError
        It is not a regular expression, has no group, or does not match.
    """
    try:
        pattern = re.compile(regex)
    except re.error as error:
        raise SettingError(f"{option} {regex!r} is not a regular expression: {error}") from error
    if pattern.groups == 0:
        raise SettingError(
            f"{option} {regex!r} has no group: put the {what} in parentheses, "
            r"such as '^(\w+)_'"
        )
    match = pattern.search(path)
    name = match and (match[what] if what in pattern.groupindex else match[1])
    if not name:
        raise SettingError(f"{option} {regex!r} finds no {what} in {path}")
    return name


def _require_centred(stack: ZStack) -> None:
    n, rows, columns = stack.frames.shape
    if n % 2 == 0:
        raise FormatError(
            f"{stack.path} holds {n} pages, an even number, so none is the middle one in focus; "
            "a patch stack has as many planes above focus as below"
        )
    if rows != columns:
        raise FormatError(f"{stack.path} is {rows} x {columns} pixels; patches are square")


def _require_like(stack: ZStack, first: ZStack) -> None:
    here, there = _describe(stack), _describe(first)
    if here != there:
        raise FormatError(
            f"{stack.path} is {here}, {first.path.name} is {there}; "
            "all cells must have one size and type"
        )


def _describe(stack: ZStack) -> str:
    n, rows, columns = stack.frames.shape
    return f"{n} pages of {rows} x {columns} {stack.frames.dtype} pixels"


def _scales(stack: ZStack, settings: PatchSettings) -> tuple[Claim, Claim | None]:
    size = settings.optics.pixel_size_um
    given_pixel = Claim("--pixel-size", size) if size is not None else None
    pixel = settle(
        "pixel size",
        stack.path,
        () if settings.ignore_metadata else stack.pixel_sizes_um,
        given_pixel,
    )
    return step_of(stack, settings.step_um, settings.ignore_metadata), pixel


def _require_same_scales(
    stack: ZStack, settings: PatchSettings, step: Claim, pixel: Claim | None
) -> None:
    """Refuse a file whose metadata differ from the first file's, or are missing."""
    own_step, own_pixel = _scales(stack, settings)
    settle("z step", stack.path, [own_step], Claim("the other files", step.value))
    if own_pixel is not None and pixel is not None:
        settle("pixel size", stack.path, [own_pixel], Claim("the other files", pixel.value))
