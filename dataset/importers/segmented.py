"""Images whose heads are outlined, as an archive of patches with masks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fgaf.base.bounds import CropPx, PositionUm, Seed, StepUm, require_bounded
from fgaf.base.console import count
from fgaf.base.errors import FormatError, SettingError
from fgaf.base.files import sha256_of
from fgaf.dataset.archive import DEFAULT_SPLIT, Archive, ArchiveHeader, Cells
from fgaf.dataset.importers.coco import is_coco, read_coco
from fgaf.dataset.importers.folder import depth_in_name
from fgaf.dataset.importers.head_shapes import AnnotatedImage
from fgaf.dataset.importers.images import luminance_notice, read_luminance
from fgaf.dataset.importers.labelme import read_labelme
from fgaf.dataset.importers.mask_images import find_masks
from fgaf.dataset.importers.patches import METHOD, name_from
from fgaf.dataset.splits.split import make_split
from fgaf.dataset.storage.header import utc_now
from fgaf.dataset.storage.masks import OTHER_HEAD, OWN_HEAD
from fgaf.dataset.storage.optics import Optics

_PARTS: Final = ("images", "masks", "center_y", "center_x")


@dataclass(frozen=True)
class SegmentedSettings:
    """Metadata of images with outlined heads.

    Attributes
    ----------
    patch_px : int
        Side of the patches.
    depth_um : float or None
        Depth of the heads in all images, drive µm; None to read it from the files' names.
    step_um : float
        Step of the archive's depth classes, drive µm.
    labels : tuple of str
        Labels or categories that are heads; empty for the only one, or for "head".
    optics : Optics
        Optics of the images.
    sample_id : str
        Sample of every image.
    sample_from : str
        Regular expression that finds it in the image's path; see `name_from`.
    annotator, name, description, license : str
        Free text for the archive.
    seed : int
        Seed of the split "default".
    """

    patch_px: CropPx = 96
    depth_um: PositionUm | None = None
    step_um: StepUm = 0.5
    labels: tuple[str, ...] = ()
    optics: Optics = field(default_factory=Optics)
    sample_id: str = ""
    sample_from: str = ""
    annotator: str = ""
    name: str = ""
    description: str = ""
    license: str = ""
    seed: Seed = 0

    def __post_init__(self) -> None:
        require_bounded(self)


def import_segmented(
    path: Path,
    settings: SegmentedSettings | None = None,
    progress: Callable[[list[AnnotatedImage]], Iterable[AnnotatedImage]] = iter,
    say: Callable[[str], None] = lambda _line: None,
) -> Archive:
    """Cut a patch and its mask around every outlined head.

    Each head is a cell with one patch. Heads of one image share its name as field, by which
    `make_split` keeps them together. Heads too near to the image's border for a whole patch are
    left out, but they are in the masks of others.

    Parameters
    ----------
    path
        A COCO file, or a folder of images with LabelMe files, with mask images, or with a COCO
        file.
    settings
        Further metadata.
    progress
        Wraps the images while they are read.
    say
        Prints lines that say what was assumed or left out.

    Raises
    ------
    FormatError
        A file is damaged, or a mask does not fit its image; the message names file and shape.
    SettingError
        The depth is unknown, no patch fits, or an expression does not match.
    """
    settings = settings or SegmentedSettings()
    found = _annotated(path, settings)
    root = path if path.is_dir() else path.parent
    parts: dict[str, list[Any]] = {name: [] for name in _PARTS}
    rows: list[dict[str, Any]] = []
    depths: list[float] = []
    colour = total = 0
    for each in progress(found):
        image, coloured = read_luminance(each.image)
        colour += coloured
        _require_alike(each.image, image, parts["images"], found[0].image, settings.patch_px)
        depth, heads = _depth(each.image, settings), each.heads(image.shape)
        total += len(heads)
        place = Path(os.path.relpath(each.image, root)).as_posix()
        row = _row(each, place, depth, settings)
        for number, head in enumerate(heads, 1):
            y, x = head.centre
            top, left = y - settings.patch_px // 2, x - settings.patch_px // 2
            bottom, right = top + settings.patch_px, left + settings.patch_px
            if min(top, left) < 0 or bottom > image.shape[0] or right > image.shape[1]:
                continue
            mask = np.zeros((settings.patch_px, settings.patch_px), np.uint8)
            for other in heads:
                other.draw(mask, OTHER_HEAD, top, left)
            head.draw(mask, OWN_HEAD, top, left)
            patch = image[top:bottom, left:right]
            for name, value in zip(_PARTS, (patch, mask, y, x), strict=True):
                parts[name].append(value)
            rows.append(row | {"id": f"{place}#{number}"})
            depths.append(depth)
    if colour:
        say(luminance_notice(colour))
    if not total:
        raise FormatError(f"{path}: no head is outlined in {count(len(found), 'image')}; add some")
    if len(rows) < total:
        say(
            f"{total - len(rows)} of {count(total, 'head')} left out: a patch of "
            f"{settings.patch_px} px does not fit in the image; a smaller --patch keeps more"
        )
    if not rows:
        raise SettingError(
            f"{path}: no head is far enough from its image's border for a patch of "
            f"{settings.patch_px} px; give a smaller --patch"
        )
    return _archive(parts, rows, np.array(depths), settings)


def _annotated(path: Path, settings: SegmentedSettings) -> list[AnnotatedImage]:
    if not path.is_dir():
        found = read_coco(path, settings.labels)
    else:
        files = sorted(p for p in path.rglob("*.json") if not p.name.startswith("."))
        if len(files) == 1 and is_coco(files[0]):
            found = read_coco(files[0], settings.labels)
        elif files:
            found = read_labelme(files, settings.labels, path)
        elif settings.labels:
            raise SettingError(f"--label names labels, and {path} holds mask images; leave it out")
        else:
            found = find_masks(path)
    if not found:
        raise FormatError(
            f"{path} holds no heads: neither LabelMe or COCO files (.json), nor mask images "
            "(NAME_mask.png or masks/NAME.png); name the folder that holds both images and masks"
        )
    return found


def _depth(image: Path, settings: SegmentedSettings) -> float:
    depth = settings.depth_um
    if depth is None:
        depth = depth_in_name(image.stem)
    if depth is None:
        raise SettingError(
            f"{image} does not say its depth: name the images by it, as {image.stem}_z+0.5um"
            f"{image.suffix}, or give --depth; 0 if the heads are in focus"
        )
    return depth


def _require_alike(
    path: Path, image: NDArray[Any], patches: list[Any], first: Path, patch_px: int
) -> None:
    if min(image.shape) < patch_px:
        raise SettingError(
            f"{path} is {image.shape[0]} x {image.shape[1]} pixels; give --patch {min(image.shape)}"
            " or less"
        )
    if patches and patches[0].dtype != image.dtype:
        raise FormatError(
            f"{path} is {image.dtype}, {first.name} {patches[0].dtype}; save all with the same bits"
        )


def _row(
    each: AnnotatedImage, place: str, depth_um: float, settings: SegmentedSettings
) -> dict[str, Any]:
    """Columns that the cells of one image share."""
    sample = settings.sample_id
    if settings.sample_from:
        sample = name_from("--sample-from", settings.sample_from, place, "sample")
    return {
        "source": place,
        "source_sha256": sha256_of(each.image),
        "sample_id": sample,
        "field": place,
        "focus_um": -depth_um,
        "focus_plane": 0,
        "annotator": settings.annotator,
        "labelled_utc": utc_now(),
        "method": METHOD,
        "confidence": 1.0,
    }


def _archive(
    parts: dict[str, list[Any]],
    rows: list[dict[str, Any]],
    depths: NDArray[np.float64],
    settings: SegmentedSettings,
) -> Archive:
    cells = Cells.from_rows(rows)
    center_y, center_x = (np.array(parts[name], np.int32) for name in ("center_y", "center_x"))
    cell = np.arange(len(rows), dtype=np.int32)
    steps = max(1, int(np.ceil(np.abs(depths).max() / settings.step_um - 1e-6)))
    split = make_split(cells, center_y, center_x, cell, settings.patch_px, seed=settings.seed)
    return Archive(
        header=ArchiveHeader.new(
            step_um=settings.step_um,
            half_range_um=steps * settings.step_um,
            patch_px=settings.patch_px,
            optics=settings.optics,
            name=settings.name,
            description=settings.description,
            license=settings.license,
        ),
        images=np.stack(parts["images"]),
        masks=np.stack(parts["masks"]),
        depth_um=depths,
        plane=np.zeros(len(rows), np.int32),
        cell=cell,
        center_y=center_y,
        center_x=center_x,
        cells=cells,
        splits={DEFAULT_SPLIT: split.sides},
    )
