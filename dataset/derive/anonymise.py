"""Copies of raw stacks and archives that name neither donors nor people, paths nor dates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fgaf.base.errors import FgafError, SettingError
from fgaf.base.files import require_all_new
from fgaf.base.workers.progress import steps
from fgaf.dataset.archive import (
    FORMAT as ARCHIVE_FORMAT,
    Archive,
    ArchiveHeader,
    Cells,
    write_archive,
)
from fgaf.dataset.derive.pseudonyms import Pseudonyms
from fgaf.dataset.history import recorded
from fgaf.dataset.raw import SUFFIX, RawHeader, RawStack
from fgaf.dataset.storage.hdf5 import format_of
from fgaf.dataset.storage.header import software, utc_now
from fgaf.dataset.whole_stack import write_whole_stack

ARCHIVE_SUFFIX: Final = ".h5"


@dataclass(frozen=True)
class AnonymiseSettings:
    """What to keep, and text to replace the removed text.

    Attributes
    ----------
    keep_times
        Keep dates and clock times; otherwise only the time between the planes of a stack is kept.
    name, description
        New name and description of the archive.
    """

    keep_times: bool = False
    name: str = ""
    description: str = ""


def anonymise(
    sources: Sequence[Path],
    out: Path,
    pseudonyms: Pseudonyms,
    settings: AnonymiseSettings | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """Write copies of raw stacks and archives without names, paths, free text and dates.

    Samples, fields, operators and annotators, cells and source files get pseudonyms, the same in
    all files made with one key. Device names, the rig, texts, the history and unknown attributes
    are dropped. Pixels, masks, positions, optics, labels, splits (also their names) and the licence
    stay.

    Parameters
    ----------
    sources
        Raw stacks and archives; they stay unchanged.
    out
        A folder for files named by pseudonyms; for a single archive, a file ``NAME.h5``.
    pseudonyms
        Made with the key.
    settings
        What to keep.
    overwrite
        Whether existing outputs may be replaced.

    Returns
    -------
    list of Path
        The copies.

    Raises
    ------
    FormatError
        A source is damaged, or is neither a raw stack nor an archive.
    ExistsError
        An output exists and may not be replaced. Nothing is written.
    SettingError
        An output would replace its source.
    """
    return [
        write_copy(source, target, pseudonyms, settings or AnonymiseSettings())
        for source, target in plan_copies(sources, out, pseudonyms, overwrite)
    ]


def plan_copies(
    sources: Sequence[Path], out: Path, pseudonyms: Pseudonyms, overwrite: bool = False
) -> list[tuple[Path, Path]]:
    """Pair every source with its copy, without writing; see `anonymise` for the errors.

    Parameters
    ----------
    sources
        Raw stacks and archives.
    out
        A folder, or the copy of a single archive.
    pseudonyms
        Names the copies.
    overwrite
        Whether existing files may be replaced.
    """
    pairs = [(source, _target(source, sources, out, pseudonyms)) for source in sources]
    for source, target in pairs:
        if target.resolve() == source.resolve():
            raise SettingError(f"{target} is the source, which stays unchanged; name another --out")
    require_all_new((target for _, target in pairs), overwrite)
    return pairs


def write_copy(
    source: Path, target: Path, pseudonyms: Pseudonyms, settings: AnonymiseSettings
) -> Path:
    """Write one copy; `plan_copies` checked whether the target may be replaced.

    Parameters
    ----------
    source
        A raw stack or an archive.
    target
        The copy.
    pseudonyms
        Replace the names.
    settings
        What else is kept.
    """
    if format_of(source) == ARCHIVE_FORMAT:
        with Archive.open(source, whole=True) as archive:
            copy = anonymous_archive(archive, pseudonyms, settings)
            return write_archive(target, copy, overwrite=True)
    with RawStack.open(source, whole=True) as stack:
        header, planes = anonymous_stack(stack, pseudonyms, settings)
        return write_whole_stack(target, header, stack.frames, planes, progress=steps)


def anonymous_archive(
    archive: Archive, pseudonyms: Pseudonyms, settings: AnonymiseSettings
) -> Archive:
    """Replace names, places and times in an archive; see `anonymise`.

    Parameters
    ----------
    archive
        It stays as it is.
    pseudonyms
        Replace the names.
    settings
        What else is kept.
    """
    header, cells = archive.header, archive.cells
    columns: dict[str, Any] = {
        "id": _each(cells.id, lambda value: pseudonyms.name("cell", value)),
        "source": _each(cells.source, lambda value: _source(value, pseudonyms)),
        "source_sha256": _each(cells.source_sha256, pseudonyms.checksum),
        "sample_id": _each(cells.sample_id, lambda value: pseudonyms.name("sample", value)),
        "field": _each(cells.field, lambda value: pseudonyms.name("field", value)),
        "focus_um": cells.focus_um,
        "focus_plane": cells.focus_plane,
        "annotator": _each(cells.annotator, lambda value: pseudonyms.name("person", value)),
        "labelled_utc": cells.labelled_utc if settings.keep_times else [""] * len(cells),
        "method": cells.method,
        "confidence": cells.confidence,
    }
    times = {"created_utc": header.created_utc} if settings.keep_times else {}
    copy = Archive(
        header=ArchiveHeader.new(
            step_um=header.step_um,
            half_range_um=header.half_range_um,
            patch_px=header.patch_px,
            optics=header.optics,
            name=settings.name,
            description=settings.description,
            license=header.license,
            **times,
        ),
        images=archive.images,
        depth_um=archive.depth_um,
        plane=archive.plane,
        cell=archive.cell,
        center_y=archive.center_y,
        center_x=archive.center_x,
        cells=Cells.from_columns(columns),
        true_depth_um=archive.true_depth_um,
        masks=archive.masks,
        splits=archive.splits,
        refinement=archive.refinement,
    )
    # The fingerprints of earlier steps are unkeyed checksums of names: anyone could test guesses.
    return recorded(copy, "anonymise")


def anonymous_stack(
    stack: RawStack, pseudonyms: Pseudonyms, settings: AnonymiseSettings
) -> tuple[RawHeader, dict[str, NDArray[Any]]]:
    """Replace names, places and times in a raw stack; see `anonymise`.

    Parameters
    ----------
    stack
        It stays as it is.
    pseudonyms
        Replace the names.
    settings
        What else is kept.

    Returns
    -------
    header : RawHeader
        The header of the copy.
    planes : dict
        Its plane columns.
    """
    old = stack.header
    header = RawHeader(
        uuid=pseudonyms.identity(old.uuid),
        created_utc=old.created_utc if settings.keep_times else utc_now(),
        software=software(),
        step_um=old.step_um,
        half_range_um=old.half_range_um,
        center_um=old.center_um,
        planned_planes=old.planned_planes,
        optics=old.optics,
        bit_depth=old.bit_depth,
        sample_id=pseudonyms.name("sample", old.sample_id),
        operator=pseudonyms.name("person", old.operator),
        field=pseudonyms.name("field", old.field),
        complete=old.complete,
    )
    planes = {name: column for name, column in stack.planes.items() if name != "crc32"}
    if not settings.keep_times and stack.n_planes:
        planes["time_device_ns"] = planes["time_device_ns"] - planes["time_device_ns"].min()
        planes["time_host_ns"] = np.zeros_like(planes["time_host_ns"])
        planes["frame_id"] = planes["frame_id"] - planes["frame_id"].min()
    return header, planes


def _target(source: Path, sources: Sequence[Path], out: Path, pseudonyms: Pseudonyms) -> Path:
    kind = format_of(source)
    if out.suffix == ARCHIVE_SUFFIX:
        if len(sources) > 1 or kind != ARCHIVE_FORMAT:
            raise FgafError(f"--out {out} takes a single archive; name a folder for other files")
        return out
    if kind == ARCHIVE_FORMAT:
        return out / (pseudonyms.name("archive", source.name) + ARCHIVE_SUFFIX)
    return out / _source(source.name, pseudonyms)


def _source(name: str, pseudonyms: Pseudonyms) -> str:
    """Replace a source's name; that of a raw stack as `anonymise` names its copy."""
    return pseudonyms.name("stack", name) + (SUFFIX if name.endswith(SUFFIX) else "")


def _each(values: NDArray[Any], replace: Callable[[str], str]) -> list[str]:
    known = {value: replace(value) for value in set(values.tolist())}
    return [known[value] for value in values.tolist()]
