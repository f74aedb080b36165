"""Folders of single patches, one folder per depth class, as an archive."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from fgaf.base.errors import FormatError, SettingError
from fgaf.dataset.archive import Archive
from fgaf.dataset.importers.images import IMAGE_SUFFIXES, read_image
from fgaf.dataset.importers.labelled import Labelled, Say, archive_of, count_classes
from fgaf.dataset.importers.patches import PatchSettings, name_from
from fgaf.dataset.importers.zstack import Claim

Labels = Literal["class", "um"]
_SIDES: Final = {"train": 0, "training": 0, "val": 1, "valid": 1, "validation": 1, "test": 2}
_DEPTH: Final = re.compile(r"(?:^|_)([+-]?\d+(?:\.\d+)?)(um|µm|μm)$")
_NUMBER: Final = re.compile(r"[+-]?\d+(?:\.\d+)?")
Progress = Callable[[list[Path]], Iterable[Path]]


def import_class_folders(
    folder: Path,
    settings: PatchSettings | None = None,
    progress: Progress = iter,
    say: Say = lambda _line: None,
) -> Archive:
    """Read ``CLASS/*.png`` or ``SIDE/CLASS/*.png``, one grey square patch to a file.

    The class folders are named by their depth, such as ``-0.5um``, or by plain numbers whose
    meaning ``settings.labels`` gives: "class", counted from 0, the lowest plane, with the
    middle one in focus; or "um", a depth. SIDE is train, val, validation or test.

    Parameters
    ----------
    folder
        Contains the class folders.
    settings
        Further metadata.
    progress
        Wraps the list of files while they are read.
    say
        Prints a line that says what was assumed.

    Raises
    ------
    FormatError
        There are no such folders, a name is not a class, or an image is not a grey patch or
        differs from the others in size or type; the message names it.
    SettingError
        The step is unknown or contradicted, or the meaning of plain numbers is not given.
    """
    settings = settings or PatchSettings()
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
    if not files:
        raise FormatError(f"{folder} holds no images; name the folder of the classes' folders")
    places = [PurePosixPath(file.relative_to(folder).as_posix()) for file in files]
    sides = [_side(folder, place) for place in places]
    if None in sides and len(set(sides)) > 1:
        raise FormatError(
            f"{folder} holds classes both in and beside train, val and test; keep to one of the two"
        )
    depth_class, n_classes, claim = _classes(folder, [p.parent.name for p in places], settings, say)
    cells = [
        name_from("--cell-from", settings.cell_from, place.as_posix(), "cell")
        if settings.cell_from
        else place.with_suffix("").as_posix()
        for place in places
    ]
    samples = [
        name_from("--sample-from", settings.sample_from, place.as_posix(), "sample")
        if settings.sample_from
        else settings.sample_id
        for place in places
    ]
    labelled = Labelled(
        path=folder,
        images=_read(files, progress),
        depth_class=depth_class,
        n_classes=n_classes,
        name=[place.as_posix() for place in places],
        cell=cells,
        sample_id=samples,
        side=None if None in sides else np.array(sides, np.int8),
    )
    return archive_of(labelled, settings, claim)


def _side(folder: Path, place: PurePosixPath) -> int | None:
    above = place.parent.parent
    if place.parent == PurePosixPath("."):
        raise FormatError(
            f"{folder / place} is not in the folder of a class; put it into one, named by its depth"
        )
    if above == PurePosixPath("."):
        return None
    if above.as_posix().lower() in _SIDES:
        return _SIDES[above.as_posix().lower()]
    raise FormatError(
        f"{folder / place}: expected CLASS/image or SIDE/CLASS/image, SIDE one of train, val and "
        "test; name the folder that holds those"
    )


def _classes(
    folder: Path, names: list[str], settings: PatchSettings, say: Say
) -> tuple[NDArray[np.int64], int, Claim | None]:
    """Class of every name, the number of classes, and the step if the names give it."""
    distinct = sorted(set(names))
    depths = {name: match for name in distinct if (match := _DEPTH.search(name))}
    if len(depths) == len(distinct):
        depth_of = {name: float(match[1]) for name, match in depths.items()}
        return _by_depth(folder, names, depth_of, settings.classes)
    odd = [name for name in distinct if not _NUMBER.fullmatch(name)]
    if odd:
        raise FormatError(
            f"{folder}: the folder {odd[0]!r} is not a depth class; name it by its depth, such as "
            "'-0.5um', or by its number"
        )
    if settings.labels is None:
        raise SettingError(
            f"{folder}: its classes are named by plain numbers ({distinct[0]} ... {distinct[-1]}); "
            "pass --labels to say whether these are class numbers (class) or depths (um)"
        )
    if settings.labels == "um":
        return _by_depth(folder, names, {name: float(name) for name in distinct}, settings.classes)
    if any("." in name for name in distinct):
        raise FormatError(f"{folder}: {distinct[0]} is not a class number; pass --labels um")
    numbers = np.array([int(name) for name in names])
    return numbers, count_classes(folder, numbers, settings.classes, say), None


def _by_depth(
    folder: Path, names: list[str], depth_of: dict[str, float], classes: int | None
) -> tuple[NDArray[np.int64], int, Claim | None]:
    depths = sorted(set(depth_of.values()))
    if classes is not None and len(depths) > 1:
        return _on_grid(folder, names, depth_of, classes)
    step = (depths[-1] - depths[0]) / max(len(depths) - 1, 1)
    if (
        len(depths) < 3
        or abs(depths[0] + depths[-1]) > 1e-6
        or not np.allclose(np.diff(depths), step, rtol=0, atol=1e-6)
    ):
        shown = ", ".join(f"{depth:g}" for depth in depths[:12])
        raise FormatError(
            f"{folder} has the depths {shown} µm; classes lie evenly round 0, as many above as "
            "below; if some have no patch, give their number with --classes"
        )
    half = len(depths) // 2
    number = {name: round(depth / step) + half for name, depth in depth_of.items()}
    claim = Claim("the folders' names", round(step, 9))
    return np.array([number[name] for name in names]), len(depths), claim


def _on_grid(
    folder: Path, names: list[str], depth_of: dict[str, float], classes: int
) -> tuple[NDArray[np.int64], int, Claim | None]:
    """Number depths on a grid around 0; some grid points may have no patch."""
    depths = np.array(sorted(set(depth_of.values())))
    step = float(np.diff(depths).min())
    number = {name: depth / step + classes // 2 for name, depth in depth_of.items()}
    if any(abs(n - round(n)) > 1e-4 for n in number.values()):
        shown = ", ".join(f"{depth:g}" for depth in depths[:12])
        raise FormatError(
            f"{folder} has the depths {shown} µm, which are not multiples of their smallest "
            f"distance of {step:g} µm; rename the folders"
        )
    whole = np.array([round(number[name]) for name in names])
    n_classes = count_classes(folder, whole, classes, lambda _line: None)
    return whole, n_classes, Claim("the folders' names", round(step, 9))


def _read(files: list[Path], progress: Progress) -> NDArray[Any]:
    images: NDArray[Any] | None = None
    for k, file in enumerate(progress(files)):
        patch = read_image(file)
        if images is None:
            images = np.empty((len(files), *patch.shape), patch.dtype)
        if patch.shape != images.shape[1:] or patch.dtype != images.dtype:
            rows, columns = images.shape[1:]
            raise FormatError(
                f"{file} is {patch.dtype} of {patch.shape[0]} x {patch.shape[1]} pixels, "
                f"{files[0].name} {images.dtype} of {rows} x {columns}; "
                "all patches must have one size and type"
            )
        images[k] = patch
    if images is None:
        raise FormatError("there are no patches; name another folder")
    return images
