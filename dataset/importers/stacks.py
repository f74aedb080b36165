"""Z-stacks of other programs become raw stack files."""

from __future__ import annotations

import hashlib
import itertools
import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from fgaf.base.bounds import first_fault
from fgaf.base.errors import FormatError, SettingError
from fgaf.base.files import sha256_of
from fgaf.dataset.importers.open_series import open_series
from fgaf.dataset.importers.order import stated_step, step_of, stored_downwards
from fgaf.dataset.importers.pixels import held_bit_depth, shifted_bits
from fgaf.dataset.importers.plan import ImportSettings, Planned, plan_stacks
from fgaf.dataset.importers.zstack import Claim, ZStack, settle
from fgaf.dataset.raw import RawHeader
from fgaf.dataset.record import restore_stack
from fgaf.dataset.storage.integrity import Bar
from fgaf.dataset.storage.optics import Optics
from fgaf.dataset.whole_stack import write_whole_stack


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
    planes_reversed: bool
    shifted_bits: int


def import_stacks(
    sources: Iterable[Path],
    folder: Path,
    settings: ImportSettings | None = None,
    overwrite: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> Iterator[Imported]:
    """Write every stack of every source as ``NAME.stack.h5``, one at each iteration.

    Parameters
    ----------
    sources
        Files, or folders of numbered images.
    folder
        Folder for the raw stack files.
    settings
        Metadata from the user.
    overwrite
        Whether existing files may be replaced.
    tell
        See `plan_stacks`.

    Yields
    ------
    Imported
        One per stack.

    Raises
    ------
    SettingError
        The z step is neither in the metadata nor given, or the two differ; two stacks have one
        name; a source has several stacks and the settings do not say which to take.
    FormatError
        A source is not a z-stack of grey counts; see `open_series`.
    ExistsError
        An output exists and `overwrite` is false. Nothing is written.
    """
    settings = settings or ImportSettings()
    planned = plan_stacks(sources, folder, settings, overwrite, tell)
    yield from import_planned(planned, settings)


def import_planned(
    planned: Iterable[Planned], settings: ImportSettings, progress: Bar = iter
) -> Iterator[Imported]:
    """Write what `plan_stacks` listed.

    Parameters
    ----------
    planned
        The stacks to write.
    settings
        How to read the sources.
    progress
        Wraps the planes of each stack.
    """
    for source, plans in itertools.groupby(planned, key=lambda plan: plan.source):
        with open_series(source, settings.planes, settings.axes) as series:
            for plan in plans:
                yield _write(series.read(plan.index), plan, settings, progress)


def _write(stack: ZStack, plan: Planned, settings: ImportSettings, progress: Bar) -> Imported:
    """Write one z-stack as a raw stack file.

    Planes are stored with z ascending. Times and exposures come from the metadata, or are 0.
    """
    kept = restore_stack(stack.record, stack.frames) if stack.record else None
    if kept is not None and not settings.ignore_metadata:
        return _restored(stack, plan, settings, progress, *kept)
    step = step_of(stack, settings.step_um, settings.ignore_metadata)
    pixel = _pixel_size(stack, settings)
    z_um, z_source = _positions(stack, settings, step.value)
    down = stored_downwards(stack, settings.highest_first, settings.ignore_metadata)
    order = slice(None, None, -1 if down else 1)
    z_um = np.sort(z_um)
    shift = shifted_bits(stack.frames, stack.bit_depth)
    frames = stack.frames[order] >> shift
    n = len(frames)
    header = RawHeader.new(
        step_um=step.value,
        half_range_um=step.value * (n - 1) / 2,
        center_um=float(z_um[(n - 1) // 2] + z_um[n // 2]) / 2,
        optics=_optics(stack, settings, pixel),
        bit_depth=16 - shift if shift else held_bit_depth(frames, stack.bit_depth),
        sample_id=settings.sample_id,
        operator=settings.operator,
        field=plan.field,
        camera="imported",
        stage="imported",
        rig=_provenance(stack, step, pixel, z_source, down, shift),
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
    write_whole_stack(plan.target, header, frames, planes, plan.overwrite, progress)
    return _imported(plan, frames, header, step, down, shift)


def _restored(
    stack: ZStack,
    plan: Planned,
    settings: ImportSettings,
    progress: Bar,
    header: RawHeader,
    planes: dict[str, NDArray[Any]],
) -> Imported:
    """Restore a stack that fgaf exported."""
    step = stated_step(stack, settings.step_um, settings.ignore_metadata) or Claim(
        "the export's record", header.step_um
    )
    _pixel_size(stack, settings)
    header = _with_settings(header, settings, plan)
    write_whole_stack(plan.target, header, stack.frames, planes, plan.overwrite, progress)
    return _imported(plan, stack.frames, header, step)


def _imported(
    plan: Planned,
    frames: NDArray[Any],
    header: RawHeader,
    step: Claim,
    down: bool = False,
    shift: int = 0,
) -> Imported:
    n, rows, columns = frames.shape
    return Imported(
        path=plan.target,
        source=plan.source,
        shape=(n, rows, columns),
        step_um=step.value,
        step_source=step.source,
        pixel_size_um=header.optics.pixel_size_um,
        bit_depth=header.bit_depth,
        planes_reversed=down,
        shifted_bits=shift,
    )


def _with_settings(header: RawHeader, settings: ImportSettings, plan: Planned) -> RawHeader:
    """Restore a stack as it was exported, except for what the user overrides."""
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
    """The given optics, completed from the file's metadata."""
    read = {
        "numerical_aperture": stack.numerical_aperture,
        "magnification": stack.magnification,
        "medium_index": stack.medium_index,
    }
    given = {k: v for k, v in settings.optics.model_dump().items() if v is not None}
    size = {"pixel_size_um": pixel.value if pixel else None}
    try:
        return Optics(**(read | given | size))
    except ValidationError as error:
        raise FormatError(f"{stack.path}: {first_fault(error)}, as an option") from error


def _times(stack: ZStack, order: slice) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    n = len(stack.frames)
    taken = np.zeros(n, np.int64) if stack.time_ns is None else stack.time_ns[order]
    return taken, taken if stack.time_is_absolute else np.zeros(n, np.int64)


def _column(values: NDArray[np.float64] | None, order: slice, n: int) -> NDArray[np.float64]:
    return np.zeros(n) if values is None else values[order]


def _provenance(
    stack: ZStack, step: Claim, pixel: Claim | None, z_source: str, down: bool, shift: int
) -> str:
    """The source of a stack, as TOML, stored in place of the rig's settings."""
    entries: dict[str, Any] = {
        "reader": stack.reader,
        "step_from": step.source,
        "pixel_size_from": pixel.source if pixel else "",
        "z_from": z_source,
        "planes_reversed": down,
        "shifted_bits": shift,
        "n_files": len(stack.files),
        "first_file": stack.files[0].name,
        "last_file": stack.files[-1].name,
        "sha256": _digest(stack.files),
    }
    # JSON strings, numbers and booleans are valid TOML.
    lines = [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in entries.items()]
    return "\n".join(["[import]", *lines]) + "\n"


def _digest(files: Sequence[Path]) -> str:
    """SHA-256 of a file; for several files, SHA-256 of their digests, one per line."""
    digests = [sha256_of(file) for file in files]
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()
