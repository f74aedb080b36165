"""The file formats on disk: raw stacks, dataset archives, splits, import."""

from fgaf.dataset.archive import Archive, ArchiveHeader, Cells, write_archive
from fgaf.dataset.errors import ExistsError, FgafError, FormatError, SettingError
from fgaf.dataset.optics import Optics
from fgaf.dataset.raw import RawHeader, RawStack, RawWriter, Recovery, recover
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
    "Optics",
    "RawHeader",
    "RawStack",
    "RawWriter",
    "Recovery",
    "SettingError",
    "StackTruth",
    "read_truth",
    "recover",
    "write_archive",
    "write_truth",
]
