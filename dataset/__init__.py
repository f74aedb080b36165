"""The file formats on disk: raw stacks, dataset archives, splits, import, export, cards.

Names are imported when first used, so that a command that opens no file starts fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fgaf.dataset.archive import Archive, ArchiveHeader, Cells, write_archive
    from fgaf.dataset.errors import ExistsError, FgafError, FormatError, SettingError
    from fgaf.dataset.exporters.export import ExportSettings, export
    from fgaf.dataset.importers.patch_sets import import_patches
    from fgaf.dataset.importers.patches import PatchSettings
    from fgaf.dataset.importers.plan import ImportSettings
    from fgaf.dataset.importers.stacks import import_stacks
    from fgaf.dataset.optics import Optics
    from fgaf.dataset.raw import RawHeader, RawStack, RawWriter, Recovery, recover
    from fgaf.dataset.sides import Side, load_side
    from fgaf.dataset.split import Split, make_split
    from fgaf.dataset.truth import CellTruth, FrameTruth, StackTruth, read_truth, write_truth
    from fgaf.dataset.url import Url

_MODULES = {
    "archive": ("Archive", "ArchiveHeader", "Cells", "write_archive"),
    "errors": ("ExistsError", "FgafError", "FormatError", "SettingError"),
    "exporters.export": ("ExportSettings", "export"),
    "importers.plan": ("ImportSettings",),
    "importers.stacks": ("import_stacks",),
    "optics": ("Optics",),
    "importers.patch_sets": ("import_patches",),
    "importers.patches": ("PatchSettings",),
    "raw": ("RawHeader", "RawStack", "RawWriter", "Recovery", "recover"),
    "sides": ("Side", "load_side"),
    "split": ("Split", "make_split"),
    "url": ("Url",),
    "truth": ("CellTruth", "FrameTruth", "StackTruth", "read_truth", "write_truth"),
}

__all__ = [
    "Archive",
    "ArchiveHeader",
    "CellTruth",
    "Cells",
    "ExistsError",
    "ExportSettings",
    "FgafError",
    "FormatError",
    "FrameTruth",
    "ImportSettings",
    "Optics",
    "PatchSettings",
    "RawHeader",
    "RawStack",
    "RawWriter",
    "Recovery",
    "SettingError",
    "Side",
    "Split",
    "StackTruth",
    "Url",
    "export",
    "import_patches",
    "import_stacks",
    "load_side",
    "make_split",
    "read_truth",
    "recover",
    "write_archive",
    "write_truth",
]


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
