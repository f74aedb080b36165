from .base.errors import (
    ExistsError as ExistsError,
    FgafError as FgafError,
    FormatError as FormatError,
    SettingError as SettingError,
)
from .base.version import __version__ as __version__
