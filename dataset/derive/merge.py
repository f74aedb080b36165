"""Merge archives that have equal settings, or whose differences the options handle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from fgaf.base.bounds import Seed, require_bounded
from fgaf.base.errors import FgafError, SettingError
from fgaf.dataset.archive import (
    CELL_COLUMNS,
    DEFAULT_SPLIT,
    ROW_COLUMNS,
    Archive,
    ArchiveHeader,
    Cells,
)
from fgaf.dataset.derive.resample import Scaling
from fgaf.dataset.derive.subset import take_rows
from fgaf.dataset.findings import some
from fgaf.dataset.history import recorded
from fgaf.dataset.splits.groups import divided_groups
from fgaf.dataset.splits.split import group_cells, make_split
from fgaf.dataset.storage.optics import Optics
from fgaf.dataset.storage.refinement import Refinement
from fgaf.dataset.storage.virtual_images import JoinedImages, PickedImages

Resample = Literal["crop", "scale"]
Relabel = Literal["thin", "nearest"]

_SAME: Final = 1e-3


@dataclass(frozen=True)
class MergeSettings:
    """How to handle differences; a difference without a setting is refused.

    Attributes
    ----------
    resample : {"crop", "scale"} or None
        Patch sizes: "crop" crops larger patches to the smallest size; "scale" also interpolates
        other pixel sizes to the first archive's. Both allow 8-bit patches beside 16-bit ones;
        counts are unchanged.
    relabel : {"thin", "nearest"} or None
        Steps and half ranges: the first archive's step and the smallest half range are used.
        "thin" keeps, for each cell, the plane nearest to each class; "nearest" keeps every plane
        in range.
    mixed_optics : bool
        Whether other optics may differ or be unknown; the merged archive then lists them as
        unknown.
    keep_splits : tuple of str
        Splits of all archives that the merged one keeps; otherwise only a new "default" is
        drawn.
    name, description : str
        Of the merged archive.
    license : str
        Of the merged archive; required if the archives' licences differ.
    drop_masks : bool
        Whether masks are left out; otherwise all archives must have masks, or none.
    seed : int
        Of the split "default".
    """

    resample: Resample | None = None
    relabel: Relabel | None = None
    mixed_optics: bool = False
    keep_splits: tuple[str, ...] = ()
    name: str = ""
    description: str = ""
    license: str = ""
    drop_masks: bool = False
    seed: Seed = 0

    def __post_init__(self) -> None:
        require_bounded(self)


@dataclass(frozen=True)
class Merged:
    """Result of a merge.

    Attributes
    ----------
    archive : Archive
        Lazy: patches are read from the archives when they are used.
    twice : int
        Cells with equal name and pixels in two archives; taken once.
    renamed : int
        Cells renamed because another cell had the same name.
    dropped_patches : int
        Patches outside the common range, or removed by "thin".
    """

    archive: Archive
    twice: int
    renamed: int
    dropped_patches: int


def merge(archives: Sequence[Archive], settings: MergeSettings | None = None) -> Merged:
    """Merge several archives into one.

    Parameters
    ----------
    archives
        Two or more, in memory or open.
    settings
        How to handle differences.

    Raises
    ------
    SettingError
        They differ, and `settings` does not say how to handle it; the message names the option.
    FgafError
        A split to keep would have leakage.
    """
    settings = settings or MergeSettings()
    if len(archives) < 2:
        raise SettingError("one archive cannot be merged; give two or more")
    archives = _with_masks_or_without(archives, settings)
    header = _header(archives, settings)
    scalings = _scalings(archives, settings)
    header = header.model_copy(update={"patch_px": scalings[0].target_px})
    kinds: list[np.dtype[Any]] = [np.dtype(archive.images.dtype) for archive in archives]
    kind = max(kinds, key=lambda each: each.itemsize)
    taken, twice = _once_each(archives)
    parts = [
        _part(archive, rows, scaling, header, settings, kind)
        for archive, rows, scaling in zip(archives, taken, scalings, strict=True)
    ]
    dropped = sum(len(rows) - len(part.cell) for rows, part in zip(taken, parts, strict=True))
    parts = [part for part in parts if len(part.cell)]
    cells, renamed = _cells(parts)
    first = np.cumsum([0, *(part.n_cells for part in parts)])
    columns: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts]) for name in ROW_COLUMNS
    }
    columns["cell"] = np.concatenate(
        [part.cell + start for part, start in zip(parts, first[:-1], strict=True)]
    ).astype(np.int32)
    truths = [part.true_depth_um for part in parts]
    known = [truth for truth in truths if truth is not None]
    masks = [part.masks for part in parts]
    whole = Archive(
        header=header,
        images=JoinedImages([part.images for part in parts]),
        masks=None if masks[0] is None else JoinedImages(masks),
        cells=cells,
        true_depth_um=np.concatenate(known) if len(known) == len(parts) else None,
        refinement=_refinement(parts),
        history=tuple(line for archive in archives for line in archive.history),
        **columns,
    )
    whole = replace(whole, splits=_splits(whole, archives, parts, settings))
    facts = {
        "sources": [_facts(archive) for archive in archives],
        "resample": settings.resample or "",
        "relabel": settings.relabel or "",
        "mixed_optics": settings.mixed_optics,
        "kept_splits": list(settings.keep_splits),
        "dropped_masks": settings.drop_masks,
        "twice": twice,
        "renamed": renamed,
        "dropped_patches": dropped,
    }
    return Merged(recorded(whole, "merge", **facts), twice, renamed, dropped)


def _refinement(parts: Sequence[Archive]) -> Refinement | None:
    """Corrections of the labels, if some part has any."""
    if all(part.refinement is None for part in parts):
        return None
    return Refinement.joined(
        [
            part.refinement
            or Refinement.of_none(part.depth_um, part.cells.focus_um, part.cells.method)
            for part in parts
        ]
    )


def _with_masks_or_without(
    archives: Sequence[Archive], settings: MergeSettings
) -> Sequence[Archive]:
    if settings.drop_masks:
        return [replace(archive, masks=None) for archive in archives]
    without = [_name(archive) for archive in archives if archive.masks is None]
    if without and len(without) < len(archives):
        raise SettingError(
            f"{some(without)} without masks beside archives with masks; add masks, or pass "
            "--drop-masks to merge without any"
        )
    return archives


def _header(archives: Sequence[Archive], settings: MergeSettings) -> ArchiveHeader:
    headers = [archive.header for archive in archives]
    first = headers[0]
    half = first.half_range_um
    for header, archive in zip(headers, archives, strict=True):
        same = _equal(header.step_um, first.step_um) and _equal(header.half_range_um, half)
        if not same and settings.relabel is None:
            raise SettingError(
                f"{_name(archive)} has depths of ±{header.half_range_um:g} µm in steps of "
                f"{header.step_um:g} µm, {_name(archives[0])} ±{half:g} µm in steps of "
                f"{first.step_um:g} µm; pass --relabel thin or --relabel nearest"
            )
    steps = int(min(header.half_range_um for header in headers) / first.step_um + _SAME)
    if steps < 1:
        raise SettingError(
            f"the common range is under one step of {first.step_um:g} µm; name the archive with "
            "the finest step first"
        )
    licenses = {header.license for header in headers}
    if len(licenses) > 1 and not settings.license:
        raise SettingError(
            f"the licences differ: {some(repr(text) for text in sorted(licenses))}; "
            "give the licence of the merged archive with --license"
        )
    return ArchiveHeader.new(
        step_um=first.step_um,
        half_range_um=steps * first.step_um,
        patch_px=first.patch_px,
        optics=_optics(archives, settings),
        name=settings.name or first.name,
        description=settings.description or first.description,
        license=settings.license or first.license,
    )


def _optics(archives: Sequence[Archive], settings: MergeSettings) -> Optics:
    first = archives[0].header.optics
    known = first.model_dump()
    for archive in archives[1:]:
        for name, value in archive.header.optics.model_dump().items():
            both = (value, known[name])
            if _equal(*both) or (name == "pixel_size_um" and None not in both):
                continue
            if not settings.mixed_optics:
                here, there = ("unknown" if v is None else f"{v:g}" for v in both)
                raise SettingError(
                    f"{_name(archive)} has {name} {here}, {_name(archives[0])} {there}: the same "
                    "depth gives different images; pass --mixed-optics to mix them anyway"
                )
            known[name] = None
    return Optics(**known)


def _scalings(archives: Sequence[Archive], settings: MergeSettings) -> list[Scaling]:
    first = archives[0]
    pixel = first.header.optics.pixel_size_um
    factors = []
    for archive in archives:
        own = archive.header.optics.pixel_size_um
        factor = 1.0 if own is None or pixel is None or _equal(own, pixel) else own / pixel
        if factor != 1 and settings.resample != "scale":
            raise SettingError(
                f"{_name(archive)} has pixels of {own:g} µm, {_name(first)} of {pixel:g} µm; "
                "pass --resample scale to interpolate"
            )
        if archive.header.patch_px != first.header.patch_px and settings.resample is None:
            raise SettingError(
                f"{_name(archive)} has patches of {archive.header.patch_px} px, {_name(first)} of "
                f"{first.header.patch_px} px; pass --resample crop to crop the larger ones"
            )
        if archive.images.dtype != first.images.dtype and settings.resample is None:
            raise SettingError(
                f"{_name(archive)} holds {archive.images.dtype}, {_name(first)} "
                f"{first.images.dtype}; pass --resample crop to keep the counts in 16 bits"
            )
        factors.append(factor)
    sides = [
        int(archive.header.patch_px * factor + _SAME)
        for archive, factor in zip(archives, factors, strict=True)
    ]
    return [
        Scaling(archive.header.patch_px, factor, min(sides))
        for archive, factor in zip(archives, factors, strict=True)
    ]


def _once_each(archives: Sequence[Archive]) -> tuple[list[NDArray[np.intp]], int]:
    """Rows of each archive, without cells whose name and pixels an earlier archive has."""
    places: dict[str, tuple[Archive, int]] = {}
    taken, twice = [], 0
    for archive in archives:
        keep = np.ones(archive.n_cells, bool)
        for cell, name in enumerate(archive.cells.id):
            other = places.setdefault(name, (archive, cell))
            if other[0] is not archive and _same_pixels(*other, archive, cell):
                keep[cell] = False
                twice += 1
        taken.append(np.flatnonzero(keep[archive.cell]))
    return taken, twice


def _same_pixels(a: Archive, cell: int, b: Archive, other: int) -> bool:
    return np.array_equal(a.images[a.rows_of(cell)], b.images[b.rows_of(other)])


def _part(
    archive: Archive,
    rows: NDArray[np.intp],
    scaling: Scaling,
    header: ArchiveHeader,
    settings: MergeSettings,
    kind: np.dtype[Any],
) -> Archive:
    rows = rows[_in_range(archive, rows, header, settings)]
    part = take_rows(archive, rows)
    images = PickedImages(
        archive.images, rows, lambda patches: scaling(patches).astype(kind), scaling.target_px, kind
    )
    masks = archive.masks
    if masks is not None:
        masks = PickedImages(masks, rows, scaling.masks, scaling.target_px)
    return replace(
        part,
        images=images,
        masks=masks,
        center_y=np.rint(part.center_y * scaling.factor).astype(np.int32),
        center_x=np.rint(part.center_x * scaling.factor).astype(np.int32),
    )


def _in_range(
    archive: Archive, rows: NDArray[np.intp], header: ArchiveHeader, settings: MergeSettings
) -> NDArray[np.bool_]:
    """Which rows stay on the common depth grid."""
    step, half = header.step_um, header.half_range_um
    if _equal(archive.header.step_um, step) and _equal(archive.header.half_range_um, half):
        return np.ones(len(rows), bool)
    depth, cell = archive.depth_um[rows], archive.cell[rows]
    classes = np.rint(depth / step).astype(np.int64)
    inside = np.abs(classes) <= round(half / step)
    if settings.relabel == "thin":
        order = np.lexsort((np.abs(depth - classes * step), classes, cell))
        again = np.zeros(len(rows), bool)
        same = (np.diff(cell[order]) == 0) & (np.diff(classes[order]) == 0)
        again[order[1:][same]] = True
        inside &= ~again
    return np.asarray(inside)


def _cells(parts: Sequence[Archive]) -> tuple[Cells, int]:
    columns = {
        name: np.concatenate([getattr(part.cells, name) for part in parts]) for name in CELL_COLUMNS
    }
    seen: set[str] = set()
    renamed = 0
    for k, name in enumerate(columns["id"]):
        again, new = 2, name
        while new in seen:
            new, again = f"{name}#{again}", again + 1
        renamed += new != name
        columns["id"][k] = new
        seen.add(new)
    return Cells.from_columns(columns), renamed


def _splits(
    whole: Archive, archives: Sequence[Archive], parts: Sequence[Archive], settings: MergeSettings
) -> dict[str, NDArray[np.int8]]:
    places = (whole.cells, whole.center_y, whole.center_x, whole.cell, whole.header.patch_px)
    kept = {}
    for name in settings.keep_splits:
        for archive in archives:
            if name not in archive.splits:
                raise SettingError(f"{_name(archive)} has no split {name!r} to keep")
        sides = np.concatenate([part.splits[name] for part in parts])
        group, by = group_cells(*places)
        divided = divided_groups(group, sides)
        if len(divided):
            members = whole.cells.id[np.isin(group, divided)]
            raise FgafError(
                f"split {name!r} of the archives together has cells of one {by} on two sides: "
                f"{some(members)}; omit --keep-split and make another"
            )
        kept[name] = sides
    if DEFAULT_SPLIT not in kept:
        kept[DEFAULT_SPLIT] = make_split(*places, seed=settings.seed).sides
    return kept


def _facts(archive: Archive) -> dict[str, Any]:
    header = archive.header
    return {
        "fingerprint": archive.fingerprint,
        "step_um": header.step_um,
        "half_range_um": header.half_range_um,
        "patch_px": header.patch_px,
        "dtype": str(archive.images.dtype),
        "optics": header.optics.model_dump(),
    }


def _name(archive: Archive) -> str:
    return str(archive.path or "an archive in memory")


def _equal(a: float | None, b: float | None) -> bool:
    if a is None or b is None:
        return a is b
    return abs(a - b) <= _SAME * max(abs(a), abs(b))
