from .archive import (
    Archive as Archive,
    ArchiveHeader as ArchiveHeader,
    Cells as Cells,
    write_archive as write_archive,
)
from .exporters.export import ExportSettings as ExportSettings, export as export
from .importers.patch_sets import import_patches as import_patches
from .importers.patches import PatchSettings as PatchSettings
from .importers.plan import ImportSettings as ImportSettings
from .importers.stacks import import_stacks as import_stacks
from .raw.header import RawHeader as RawHeader
from .raw.recovery import Recovery as Recovery, recover as recover
from .raw.stack import RawStack as RawStack
from .raw.writer import RawWriter as RawWriter
from .splits.split import Split as Split, make_split as make_split
from .splits.subset_arrays import Side as Side, load_side as load_side
from .storage.optics import Optics as Optics
from .storage.url import Url as Url
from .truth import (
    CellTruth as CellTruth,
    FrameTruth as FrameTruth,
    StackTruth as StackTruth,
    read_truth as read_truth,
    write_truth as write_truth,
)
