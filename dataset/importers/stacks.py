"""Z-stacks of other programs become raw stack files."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fgaf.dataset.errors import FgafError, SettingError
from fgaf.dataset.files import require_new, sha256_of
from fgaf.dataset.importers.ndtiff import ndtiff_folder
from fgaf.dataset.importers.ome_zarr import is_zarr
from fgaf.dataset.importers.zstack import (
    AXES,
    IMAGE_SUFFIXES,
    Claim,
    ZStack,
    held_bit_depth,
    open_series,
    settle,
)
from fgaf.dataset.optics import Optics
from fgaf.dataset.raw import SUFFIX, RawHeader
from fgaf.dataset.record import restore_stack
from fgaf.dataset.whole_stack import write_whole_stack

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
    planes
        Of TIFFs whose pages run through z again and again without saying so: planes of one pass,
        which are a time point then.
    take
        Of files with several positions, time points or channels: which. Axis name, as in `AXES`,
        to a number, a range ``start:stop:step`` or ``all``, counted from 0.
    """

    step_um: float | None = None
    center_um: float | None = None
    optics: Optics = dataclasses.field(default_factory=Optics)
    sample_id: str = ""
    operator: str = ""
    field: str = ""
    ignore_metadata: bool = False
    planes: int | None = None
    take: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True)
class Planned:
    """One stack to import: which of its source's, and the file it becomes.

    Attributes
    ----------
    source
        File or folder.
    index
        Axis name to number, for the axes along which the source has several stacks.
    target
        The raw stack file.
    field
        Name of the field of view; empty for a field of its own.
    """

    source: Path
    index: dict[str, int]
    target: Path
    field: str


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
    """Write every stack of every source as ``NAME.stack.h5``, one by one as they are drawn.

    Parameters
    ----------
    sources
        Files, or folders of numbered images.
    folder
        Where the raw stack files go.
    settings
        What is known besides the metadata.
    overwrite
        Whether existing files may be replaced.

    Yields
    ------
    Imported
        One per stack.

    Raises
    ------
    SettingError
        The z step is neither in the metadata nor given, or they differ; two stacks have one name;
        a source has several stacks and the settings do not say which.
    FormatError
        A source is no z-stack of grey counts; see `open_series`.
    ExistsError
        An output exists and `overwrite` is false. Nothing has been written then.
    """
    settings = settings or ImportSettings()
    yield from import_planned(plan_stacks(sources, folder, settings, overwrite), settings)


def plan_stacks(
    sources: Iterable[Path], folder: Path, settings: ImportSettings, overwrite: bool = False
) -> list[Planned]:
    """List what an import would write, without writing; see `import_stacks` for the errors."""
    planned = [plan for source in sources for plan in _plans_of(source, folder, settings)]
    times = Counter(plan.target for plan in planned)
    twice = [target.name for target, n in times.items() if n > 1]
    if twice:
        raise SettingError(
            f"several sources would become {twice[0]}; rename one or import them into two folders"
        )
    for plan in planned:
        require_new(plan.target, overwrite)
    return planned


def import_planned(planned: Iterable[Planned], settings: ImportSettings) -> Iterator[Imported]:
    """Write what `plan_stacks` listed; whether a target may be replaced was settled there."""
    for source, plans in itertools.groupby(planned, key=lambda plan: plan.source):
        with open_series(source, settings.planes) as series:
            for plan in plans:
                yield _write(series.read(plan.index), plan, settings)


def _plans_of(source: Path, folder: Path, settings: ImportSettings) -> list[Planned]:
    with open_series(source, settings.planes) as series:
        sizes, described = series.sizes, str(series)
    for axis, which in settings.take.items():
        if axis not in sizes and which not in ("0", "all"):
            raise SettingError(f"--take {axis}={which}: {source} has only one {axis}; leave it out")
    untold = [axis for axis in sizes if axis not in settings.take]
    if untold:
        told = " ".join(f"--take {axis}=0" for axis in untold)
        raise SettingError(
            f"{source} holds several z-stacks ({described}); say which with {told}, or all, each a "
            "stack of its own"
        )
    chosen = {axis: _numbers(source, axis, settings.take[axis], n) for axis, n in sizes.items()}
    name = stack_name(source)
    found = []
    for numbers in itertools.product(*chosen.values()):
        index = dict(zip(chosen, numbers, strict=True))
        tags = {
            axis: f"_{axis[0]}{number:0{len(str(sizes[axis] - 1))}}"
            for axis, number in index.items()
        }
        target = folder / f"{name}{''.join(tags.values())}{SUFFIX}"
        # Times and channels of one position show one field; positions are fields of their own.
        repeats = any(len(chosen[axis]) > 1 for axis in index if axis != "position")
        place = tags.get("position", "") if len(chosen.get("position", ())) > 1 else ""
        own = name + tags.get("position", "") if repeats else ""
        field = settings.field + place if settings.field else own
        found.append(Planned(source, index, target, field))
    return found


def _numbers(source: Path, axis: str, which: str, n: int) -> range:
    """Resolve ``3``, ``0:10:2`` or ``all`` among n."""
    try:
        if which == "all":
            return range(n)
        if ":" in which:
            found = range(n)[slice(*(int(part) if part else None for part in which.split(":")))]
        else:
            found = range(n)[int(which) : int(which) + 1 or None]
    except (ValueError, TypeError) as error:
        raise SettingError(
            f"--take {axis}={which}: give a number, a range such as 0:10 or 0:100:5, or all"
        ) from error
    if not found:
        raise SettingError(
            f"--take {axis}={which}: {source} has {n} {AXES[axis]}, numbered 0 to {n - 1}"
        )
    return found


def _write(stack: ZStack, plan: Planned, settings: ImportSettings) -> Imported:
    """Write one z-stack as a raw stack file.

    Planes are stored with z ascending. Times and exposures are those of the metadata, 0 where it
    has none.
    """
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
        field=plan.field,
        camera="imported",
        stage="imported",
        rig=_provenance(stack, step, pixel, z_source, down),
    )
    device_ns, host_ns = _times(stack, order)
    planes: dict[str, NDArray[Any]] = {
        "z_requested_um": z_um,
        "z_measured_um": z_um,
        "time_device_ns": device_ns,
        "time_host_ns": host_ns,
        "frame_id": np.arange(n),
        "exposure_us": _column(stack.exposure_us, order, n),
    }
    kept = restore_stack(stack.record, stack.frames) if stack.record else None
    if kept is not None and not settings.ignore_metadata:
        frames, planes = stack.frames, kept[1]
        header = _with_settings(kept[0], settings, plan)
    write_whole_stack(plan.target, header, frames, planes)
    return Imported(
        path=plan.target,
        source=plan.source,
        shape=(n, int(frames.shape[1]), int(frames.shape[2])),
        step_um=step.value,
        step_source=step.source,
        pixel_size_um=header.optics.pixel_size_um,
        bit_depth=header.bit_depth,
    )


def _with_settings(header: RawHeader, settings: ImportSettings, plan: Planned) -> RawHeader:
    """Restore a stack as it was exported, but for what the person importing says otherwise."""
    given = {
        "sample_id": settings.sample_id,
        "operator": settings.operator,
        "field": plan.field,
    }
    changes: dict[str, Any] = {
        name: value for name, value in given.items() if value and value != getattr(header, name)
    }
    optics = settings.optics.model_dump(exclude_none=True)
    if optics.items() - header.optics.model_dump().items():
        changes["optics"] = header.optics.model_copy(update=optics)
    if changes:
        changes["uuid"] = str(uuid.uuid4())
    return header.model_copy(update=changes)


def find_sources(paths: Iterable[Path]) -> list[Path]:
    """Resolve what was named: what is one stack or file stays; a folder of such stands for them.

    A folder of TIFFs of several pages each stands for those files; of images of one page each, it
    is one stack.

    Raises
    ------
    FgafError
        A folder holds no images.
    """
    found: list[Path] = []
    for path in paths:
        found += _inside(path) if path.is_dir() and not _is_one(path) else [path]
    return found


def _inside(folder: Path) -> list[Path]:
    inside = sorted(p for p in folder.iterdir() if not p.name.startswith("."))
    images = [p for p in inside if p.suffix.lower() in IMAGE_SUFFIXES]
    stacks = [p for p in inside if (p.is_dir() and _is_one(p)) or p.suffix.lower() == ".nd2"]
    if images and _holds_stacks(images):
        return sorted(stacks + images)
    if stacks:
        return stacks
    if not images:
        raise FgafError(
            f"{folder} holds no images ({', '.join(IMAGE_SUFFIXES)}); name another folder"
        )
    return [folder]


def _is_one(folder: Path) -> bool:
    """Whether a folder is one image in itself."""
    return is_zarr(folder) or ndtiff_folder(folder) is not None


def stack_name(source: Path) -> str:
    """Name of the stack of a source: without ``.ome.tif``, ``.tiff`` and the like."""
    name = source.resolve().name if source.is_dir() else source.stem
    for ending in (".zarr", ".ome"):
        if name.lower().endswith(ending):
            name = name[: -len(ending)]
    return name


def _holds_stacks(images: Sequence[Path]) -> bool:
    from fgaf.dataset.importers.tiff import holds_pages

    return all(p.suffix.lower() in (".tif", ".tiff") for p in images) and holds_pages(images[0])


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
