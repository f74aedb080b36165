"""Z-stacks of other programs become raw stack files."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fgaf.dataset.errors import FgafError, SettingError
from fgaf.dataset.files import require_new, sha256_of
from fgaf.dataset.importers.zstack import (
    IMAGE_SUFFIXES,
    Claim,
    ZStack,
    held_bit_depth,
    read_zstack,
    settle,
)
from fgaf.dataset.optics import Optics
from fgaf.dataset.raw import SUFFIX, RawHeader, RawWriter

_SPACING_TOLERANCE: Final = 0.1


@dataclass(frozen=True)
class ImportSettings:
    """What the person importing knows; None or empty where the files are to tell.

    Attributes
    ----------
    step_um
        Distance of neighbouring planes, in drive µm.
    center_um
        Drive position of the middle plane, for files without recorded positions; 0 by default.
    optics
        Optics; overrides nothing, a file that says otherwise is refused.
    sample_id, operator, field
        Recorded with every stack. `field` names the field of view that repeats share.
    ignore_metadata
        Take z step, positions and pixel size from these settings alone.
    """

    step_um: float | None = None
    center_um: float | None = None
    optics: Optics = dataclasses.field(default_factory=Optics)
    sample_id: str = ""
    operator: str = ""
    field: str = ""
    ignore_metadata: bool = False


@dataclass(frozen=True)
class Imported:
    """One stack that `import_stacks` wrote."""

    path: Path
    source: Path
    shape: tuple[int, int, int]
    step_um: float
    step_source: str
    pixel_size_um: float | None
    bit_depth: int


def import_stacks(
    sources: Iterable[Path],
    folder: Path,
    settings: ImportSettings | None = None,
    overwrite: bool = False,
) -> Iterator[Imported]:
    """Write every source as ``NAME.stack.h5`` into a folder, one by one as they are drawn.

    Parameters
    ----------
    sources
        TIFF files, or folders of numbered images.
    folder
        Where the raw stack files go.
    settings
        What is known besides the metadata.
    overwrite
        Whether existing files may be replaced.

    Yields
    ------
    Imported
        One per source.

    Raises
    ------
    SettingError
        The z step is neither in the metadata nor given, or they differ; two sources have one name.
    FormatError
        A source is no z-stack of grey counts; see `read_zstack`.
    ExistsError
        An output exists and `overwrite` is false. Nothing has been written then.
    """
    settings = settings or ImportSettings()
    listed = list(sources)
    targets = [folder / (stack_name(source) + SUFFIX) for source in listed]
    twice = [target.name for target, times in Counter(targets).items() if times > 1]
    if twice:
        raise SettingError(
            f"several sources would become {twice[0]}; rename one or import them into two folders"
        )
    for target in targets:
        require_new(target, overwrite)
    for source, target in zip(listed, targets, strict=True):
        yield import_stack(source, target, settings, overwrite)


def import_stack(
    source: Path, target: Path, settings: ImportSettings, overwrite: bool = False
) -> Imported:
    """Write one z-stack as a raw stack file; see `import_stacks`.

    Planes are stored with z ascending. Times and exposures are those of the metadata, 0 where it
    has none.
    """
    stack = read_zstack(source)
    step = _step(stack, settings)
    pixel = _pixel_size(stack, settings)
    z_um, z_source = _positions(stack, settings, step.value)
    down = bool(z_um[0] > z_um[-1])
    order = slice(None, None, -1 if down else 1)
    frames, z_um = stack.frames[order], z_um[order]
    n = len(frames)
    header = RawHeader.new(
        step_um=step.value,
        half_range_um=step.value * (n - 1) / 2,
        center_um=float(z_um[(n - 1) // 2] + z_um[n // 2]) / 2,
        optics=_optics(stack, settings, pixel),
        bit_depth=held_bit_depth(frames, stack.bit_depth),
        sample_id=settings.sample_id,
        operator=settings.operator,
        field=settings.field,
        camera="imported",
        stage="imported",
        rig=_provenance(stack, step, pixel, z_source, down),
    )
    device_ns, host_ns = _times(stack, order)
    exposure_us = _column(stack.exposure_us, order, n)
    shape = (n, int(frames.shape[1]), int(frames.shape[2]))
    with RawWriter(target, header, shape, frames.dtype, overwrite) as writer:
        try:
            for k in range(n):
                writer.write(
                    k,
                    np.ascontiguousarray(frames[k]),
                    z_requested_um=float(z_um[k]),
                    z_measured_um=float(z_um[k]),
                    time_device_ns=int(device_ns[k]),
                    time_host_ns=int(host_ns[k]),
                    frame_id=k,
                    exposure_us=float(exposure_us[k]),
                )
            writer.publish()
        except BaseException:
            # The source still has the planes: nothing here is worth recovering.
            writer.discard()
            raise
    return Imported(
        path=target,
        source=source,
        shape=shape,
        step_um=step.value,
        step_source=step.source,
        pixel_size_um=header.optics.pixel_size_um,
        bit_depth=header.bit_depth,
    )


def find_sources(paths: Iterable[Path]) -> list[Path]:
    """Resolve what was named: files as they are; a folder is one stack, or a folder of TIFF stacks.

    A folder whose TIFFs hold several pages each stands for those files.

    Raises
    ------
    FgafError
        A folder holds no images.
    """
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        images = sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
        if not images:
            raise FgafError(
                f"{path} holds no images ({', '.join(IMAGE_SUFFIXES)}); name another folder"
            )
        found += images if _holds_stacks(images) else [path]
    return found


def stack_name(source: Path) -> str:
    """Name of the stack of a source: without ``.ome.tif``, ``.tiff`` and the like."""
    if source.is_dir():
        return source.resolve().name
    stem = source.stem
    return stem[:-4] if stem.lower().endswith(".ome") else stem


def _holds_stacks(images: Sequence[Path]) -> bool:
    import tifffile

    if any(image.suffix.lower() not in (".tif", ".tiff") for image in images):
        return False
    try:
        with tifffile.TiffFile(images[0]) as tiff:
            return len(tiff.pages) > 1
    except (tifffile.TiffFileError, OSError, ValueError):
        return False


def _step(stack: ZStack, settings: ImportSettings) -> Claim:
    given = Claim("--step", settings.step_um) if settings.step_um is not None else None
    claims = () if settings.ignore_metadata else stack.steps_um
    step = settle("z step", stack.path, claims, given)
    z = None if settings.ignore_metadata else stack.z_um
    if z is None:
        if step is None:
            raise SettingError(f"{stack.path} does not say its z step; give it with --step (µm)")
        return step
    spacing = np.diff(z)
    if not ((spacing > 0).all() or (spacing < 0).all()):
        raise SettingError(
            f"{stack.path}: the positions by {stack.z_source} go up and down; sort the planes, or "
            "give --step with --ignore-metadata"
        )
    mean = abs(float(spacing.mean()))
    if step is None:
        return Claim(stack.z_source, round(mean, 4))
    if abs(mean - step.value) > _SPACING_TOLERANCE * step.value:
        raise SettingError(
            f"{stack.path}: the z step is {step.value:g} µm by {step.source} and {mean:g} µm by "
            f"{stack.z_source}; leave the wrong one out, or pass --ignore-metadata to go by the "
            "options alone"
        )
    return step


def _pixel_size(stack: ZStack, settings: ImportSettings) -> Claim | None:
    size = settings.optics.pixel_size_um
    given = Claim("--pixel-size", size) if size is not None else None
    claims = () if settings.ignore_metadata else stack.pixel_sizes_um
    return settle("pixel size", stack.path, claims, given)


def _positions(
    stack: ZStack, settings: ImportSettings, step_um: float
) -> tuple[NDArray[np.float64], str]:
    if stack.z_um is not None and not settings.ignore_metadata:
        middle = float(np.median(stack.z_um))
        given = settings.center_um
        if given is not None and abs(given - middle) > step_um / 2:
            raise SettingError(
                f"{stack.path}: the centre is {middle:g} µm by {stack.z_source} and {given:g} µm "
                "by --center; leave --center out"
            )
        return stack.z_um, stack.z_source
    n = len(stack.frames)
    steps = np.arange(n, dtype=np.float64) - (n - 1) / 2
    return (settings.center_um or 0.0) + steps * step_um, "step"


def _optics(stack: ZStack, settings: ImportSettings, pixel: Claim | None) -> Optics:
    """Given optics, filled up with what the file describes."""
    read = {
        "numerical_aperture": stack.numerical_aperture,
        "magnification": stack.magnification,
        "medium_index": stack.medium_index,
    }
    given = {k: v for k, v in settings.optics.model_dump().items() if v is not None}
    size = {"pixel_size_um": pixel.value if pixel else None}
    return Optics(**(read | given | size))


def _times(stack: ZStack, order: slice) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    n = len(stack.frames)
    taken = np.zeros(n, np.int64) if stack.time_ns is None else stack.time_ns[order]
    return taken, taken if stack.time_is_absolute else np.zeros(n, np.int64)


def _column(values: NDArray[np.float64] | None, order: slice, n: int) -> NDArray[np.float64]:
    return np.zeros(n) if values is None else values[order]


def _provenance(stack: ZStack, step: Claim, pixel: Claim | None, z_source: str, down: bool) -> str:
    """Where a stack came from, as TOML, kept in the place of the rig's settings."""
    entries: dict[str, Any] = {
        "reader": stack.reader,
        "step_from": step.source,
        "pixel_size_from": pixel.source if pixel else "",
        "z_from": z_source,
        "planes_reversed": down,
        "n_files": len(stack.files),
        "first_file": stack.files[0].name,
        "last_file": stack.files[-1].name,
        "sha256": _digest(stack.files),
    }
    # JSON's strings, numbers and booleans are TOML's.
    lines = [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in entries.items()]
    return "\n".join(["[import]", *lines]) + "\n"


def _digest(files: Sequence[Path]) -> str:
    """SHA-256 of a file; of several, that of their digests, one a line."""
    digests = [sha256_of(file) for file in files]
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()
