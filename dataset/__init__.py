"""The file formats on disk: raw stacks, dataset archives, splits, import."""

from fgaf.dataset.archive import Archive, ArchiveHeader, Cells, write_archive
from fgaf.dataset.errors import ExistsError, FgafError, FormatError, SettingError
from fgaf.dataset.importing import ImportSettings, import_stacks
from fgaf.dataset.optics import Optics
from fgaf.dataset.patches import PatchSettings, import_patches
from fgaf.dataset.raw import RawHeader, RawStack, RawWriter, Recovery, recover
from fgaf.dataset.split import Split, make_split
from fgaf.dataset.truth import CellTruth, FrameTruth, StackTruth, read_truth, write_truth

__all__ = [
    "Archive",
    "ArchiveHeader",
    "CellTruth",
    "Cells",
    "ExistsError",
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
    "Split",
    "StackTruth",
    "import_patches",
    "import_stacks",
    "make_split",
    "read_truth",
    "recover",
    "write_archive",
    "write_truth",
]
