"""Raw stack files ``NAME.stack.h5``: the planes as the camera gave them, one file per stack."""

from fgaf.dataset.raw.header import RawHeader as RawHeader
from fgaf.dataset.raw.layout import (
    FORMAT as FORMAT,
    FORMAT_VERSION as FORMAT_VERSION,
    PLANE_COLUMNS as PLANE_COLUMNS,
    SUFFIX as SUFFIX,
    content_of as content_of,
    stack_of as stack_of,
)
from fgaf.dataset.raw.recovery import (
    Recovery as Recovery,
    broken_runs as broken_runs,
    recover as recover,
)
from fgaf.dataset.raw.stack import RawStack as RawStack
from fgaf.dataset.raw.writer import RawWriter as RawWriter, require_no_part as require_no_part
