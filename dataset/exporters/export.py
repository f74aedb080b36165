"""Export of raw stacks and archives to all supported formats."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fgaf.base.bounds import Count, Seed, require_bounded
from fgaf.base.errors import SettingError
from fgaf.base.files import require_all_new
from fgaf.base.workers.progress import part, steps
from fgaf.dataset.archive import DEFAULT_SPLIT, FORMAT as ARCHIVE_FORMAT, Archive
from fgaf.dataset.cards.card_metadata import CardMetadata
from fgaf.dataset.exporters.folders import require_new_folder
from fgaf.dataset.raw import SUFFIX as RAW_SUFFIX, RawStack
from fgaf.dataset.storage.hdf5 import format_of


@dataclass(frozen=True)
class ExportSettings:
    """How to export.

    Attributes
    ----------
    split
        Split whose sides divide an archive's export.
    ome_zarr
        Version of OME-Zarr.
    shard_patches, seed
        Patches in a WebDataset shard, and the order of the training side in them.
    about
        Further facts for the card of a Hugging Face export.
    overwrite
        Whether earlier exports may be replaced.
    """

    split: str = DEFAULT_SPLIT
    ome_zarr: str = "0.5"
    shard_patches: Count = 10_000
    seed: Seed = 0
    about: CardMetadata | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        require_bounded(self)


STACK_FORMATS: Final = {"ome-tiff": ".ome.tif", "ome-zarr": ".ome.zarr"}
ARCHIVE_FORMATS: Final = ("npz", "imagefolder", "webdataset", "huggingface")
FORMATS: Final = (*STACK_FORMATS, *ARCHIVE_FORMATS)
_VERIFYING_SHARE: Final = 0.1
"""Of the time of an export of an archive, for its bar."""
Progress = Callable[[Sequence[Any]], Any]


def usual_output(source: Path, kind: str) -> Path:
    """Default name of an export.

    Parameters
    ----------
    source
        The first file to export.
    kind
        Name of the format.
    """
    if kind in ARCHIVE_FORMATS:
        return Path(f"{source.stem}.npz" if kind == "npz" else f"{source.stem}-{kind}")
    return Path(kind)


def export(
    sources: Sequence[Path],
    kind: str,
    out: Path,
    settings: ExportSettings | None = None,
    progress: Progress = iter,
) -> list[Path]:
    """Write raw stacks, or one archive, in another format.

    Parameters
    ----------
    sources
        Raw stacks for the formats of `STACK_FORMATS`; one archive for those of `ARCHIVE_FORMATS`.
    kind
        Name of the format.
    out
        For stacks a folder, which gets one file or folder ``NAME.ome.tif``, ... per stack; for an
        archive the file or folder itself.
    settings
        How to export.
    progress
        Wraps the list of what is written.

    Returns
    -------
    list of Path
        What was written.

    Raises
    ------
    SettingError
        The format is unknown or for the other kind of source, or two stacks have one name.
    FormatError
        A source is damaged, or is neither a raw stack nor an archive.
    ExistsError
        An output exists and may not be overwritten. Nothing is written.
    FgafError
        A package is missing, or the disk cannot be written.
    """
    settings = settings or ExportSettings()
    if kind in STACK_FORMATS:
        return _export_stacks(sources, kind, out, settings, progress)
    if kind not in ARCHIVE_FORMATS:
        raise SettingError(f"there is no format {kind!r}; choose from {', '.join(FORMATS)}")
    if len(sources) != 1:
        raise SettingError(f"{kind} takes one archive at a time, not {len(sources)} files")
    (source,) = sources
    _require(source, ARCHIVE_FORMAT, kind)
    for target in progress([out]):
        with ExitStack() as held:
            with part(_VERIFYING_SHARE):
                archive = held.enter_context(Archive.open(source, whole=True, progress=steps))
            with part(1):
                _write_archive(archive, kind, target, settings)
    return [out]


def _export_stacks(
    sources: Sequence[Path], kind: str, out: Path, settings: ExportSettings, progress: Progress
) -> list[Path]:
    from fgaf.dataset.raw import FORMAT as RAW_FORMAT

    targets = [out / (s.name.removesuffix(RAW_SUFFIX) + STACK_FORMATS[kind]) for s in sources]
    twice = {target.name for target in targets if targets.count(target) > 1}
    if twice:
        raise SettingError(
            f"several stacks would become {min(twice)}; export them into two folders"
        )
    require_all_new(targets, overwrite=settings.overwrite or kind == "ome-zarr")
    for source, target in zip(sources, targets, strict=True):
        _require(source, RAW_FORMAT, kind)
        if kind == "ome-zarr":
            require_new_folder(target, settings.overwrite)
    for source, target in progress(list(zip(sources, targets, strict=True))):
        with RawStack.open(source) as stack:
            _write_stack(stack, kind, target, settings)
    return targets


def _require(source: Path, wanted: str, kind: str) -> None:
    found = format_of(source)
    if found != wanted:
        fitting = ", ".join(ARCHIVE_FORMATS if found == ARCHIVE_FORMAT else STACK_FORMATS)
        raise SettingError(
            f"{source} is of format {found!r}, which cannot be exported to {kind}; choose {fitting}"
        )


def _write_stack(stack: RawStack, kind: str, target: Path, settings: ExportSettings) -> None:
    if kind == "ome-tiff":
        from fgaf.dataset.exporters.ome_tiff import write_ome_tiff

        write_ome_tiff(stack, target, settings.overwrite)
    else:
        from fgaf.dataset.exporters.ome_zarr import write_ome_zarr

        write_ome_zarr(stack, target, settings.overwrite, settings.ome_zarr)


def _write_archive(archive: Archive, kind: str, out: Path, settings: ExportSettings) -> None:
    if kind == "npz":
        from fgaf.dataset.exporters.npz import write_npz

        write_npz(archive, out, settings.split, settings.overwrite)
    elif kind == "imagefolder":
        from fgaf.dataset.exporters.image_folder import write_image_folder

        write_image_folder(archive, out, settings.split, settings.overwrite)
    elif kind == "webdataset":
        from fgaf.dataset.exporters.webdataset import write_webdataset

        patches, seed = settings.shard_patches, settings.seed
        write_webdataset(archive, out, settings.split, settings.overwrite, patches, seed)
    else:
        from fgaf.dataset.exporters.huggingface import write_huggingface

        write_huggingface(archive, out, settings.split, settings.overwrite, settings.about)
