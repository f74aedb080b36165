"""Optional packages: the error for a missing one names the extra that installs it."""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from types import ModuleType
from typing import Final

from fgaf.base.errors import FgafError

EXTRAS: Final = {
    "basler": ("pypylon",),
    "cluster": ("dask", "distributed"),
    "serial": ("serial",),
    "mmcore": ("pymmcore", "pymmcore_plus"),
    "interchange": ("imagecodecs", "nd2", "pyarrow", "zarr"),
    "sensapex": ("sensapex",),
    "remote": ("aiohttp", "fsspec", "s3fs"),
    "napari": ("napari", "qtpy"),
    "train": (
        "jinja2",
        "markupsafe",
        "matplotlib",
        "safetensors",
        "sklearn",
        "torch",
        "torchvision",
    ),
    "export": ("onnx", "onnxruntime", "onnxscript"),
}
"""Extras of this package, and the import names of the packages that each installs."""
_QT: Final = "napari[pyqt6]"
"""Installs napari with a Qt; `fgaf[napari]` leaves the choice of Qt to the user."""


class MissingPackageError(FgafError):
    """An optional package is not installed; the message names the extra."""


def optional(module: str) -> ModuleType:
    """Import a module of an optional package.

    Parameters
    ----------
    module
        Its full name, such as ``pypylon.pylon``.

    Raises
    ------
    MissingPackageError
        The package, or one that it needs, is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise missing(error, module) from error


def require(*modules: str) -> None:
    """Check that packages are installed, without importing them.

    Raises
    ------
    MissingPackageError
        One is not installed.
    """
    absent = [module for module in modules if find_spec(module) is None]
    if absent:
        raise MissingPackageError(_line(" and ".join(absent), absent[0]))


def missing(error: ImportError, module: str = "") -> MissingPackageError:
    """Say which extra to install after a failed import.

    Parameters
    ----------
    error
        The import's error.
    module
        The module to import, for an error that does not name it.
    """
    package = module.partition(".")[0]
    absent = (error.name or "").partition(".")[0]
    if not absent:
        return MissingPackageError(_line(f"what {package} needs ({error})", package))
    return MissingPackageError(_line(absent, absent if _extra_of(absent) else package or absent))


def known(error: ImportError) -> bool:
    """Whether some extra installs the package whose import failed."""
    return bool(_extra_of((error.name or "").partition(".")[0]))


def _extra_of(package: str) -> str:
    return next((extra for extra, packages in EXTRAS.items() if package in packages), "")


def _line(absent: str, package: str) -> str:
    extra = _extra_of(package)
    names = [f"fgaf[{extra}]" if extra else package, *([_QT] if extra == "napari" else [])]
    return f"{absent} is missing: pip install {' '.join(map(repr, names))}"
