"""Ready patches of any layout, as an archive."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from fgaf.base.errors import FormatError
from fgaf.dataset.archive import Archive
from fgaf.dataset.importers.class_folders import import_class_folders
from fgaf.dataset.importers.exported import import_export, is_export
from fgaf.dataset.importers.images import IMAGE_SUFFIXES
from fgaf.dataset.importers.npz import import_npz
from fgaf.dataset.importers.patches import PatchSettings, import_cell_stacks
from fgaf.dataset.importers.tiff_file import holds_pages


def import_patches(
    path: Path,
    settings: PatchSettings | None = None,
    progress: Callable[[list[Path]], Iterable[Path]] = iter,
    say: Callable[[str], None] = lambda _line: None,
) -> Archive:
    """Read ready patches: an export, .npz, class folders of single patches, a stack per cell.

    The kind is found from the files; see `import_export`, `import_npz`, `import_class_folders`
    and `import_cell_stacks`, also for the errors.

    Parameters
    ----------
    path
        A folder or an .npz file.
    settings
        Metadata that the files lack; None for the defaults.
    progress
        Wraps the list of files.
    say
        Prints lines that say what was assumed.
    """
    if path.suffix.lower() == ".npz":
        return import_npz(path, settings, say)
    if not path.is_dir():
        raise FormatError(f"{path} is neither a folder nor an .npz; name one of the two")
    if is_export(path):
        return import_export(path)
    if _holds_stacks(path):
        return import_cell_stacks(path, settings, progress)
    return import_class_folders(path, settings, progress, say)


def _holds_stacks(folder: Path) -> bool:
    """Whether the folder's images are stacks; also true for a folder without images."""
    images = (p for p in sorted(folder.rglob("*")) if p.suffix.lower() in IMAGE_SUFFIXES)
    first = next(images, None)
    return first is None or holds_pages(first)
