"""Headers: a pydantic model as attributes of an HDF5 file; nested optics are flattened."""

import math
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, TypeVar

import h5py
from pydantic import BaseModel, ValidationError

from fgaf.base.bounds import first_fault
from fgaf.base.errors import FormatError, SettingError
from fgaf.dataset.storage.attributes import read_attribute, write_attribute
from fgaf.dataset.storage.optics import Optics

Header = TypeVar("Header", bound=BaseModel)


def new_header(model: type[Header], **values: Any) -> Header:
    """Make a header, with the time and version of now unless given.

    Parameters
    ----------
    model
        Class of the header.
    **values
        Its fields.

    Raises
    ------
    SettingError
        A value is out of bounds or contradicts another; the message names it.
    """
    try:
        return model(**({"created_utc": utc_now(), "software": software()} | values))
    except ValidationError as error:
        raise SettingError(first_fault(error)) from error


def write_header(file: h5py.File, kind: str, format_version: int, header: BaseModel) -> None:
    """Write format, version and every field of `header` as attributes; None becomes NaN.

    Parameters
    ----------
    file
        The open file.
    kind
        Name of the format.
    format_version
        Its version.
    header
        The fields.
    """
    values = header.model_dump()
    values |= values.pop("optics")
    for name, value in ({"format": kind, "format_version": format_version} | values).items():
        write_attribute(file, name, math.nan if value is None else value)


def read_header(file: h5py.File, model: type[Header], path: object) -> Header:
    """Read the attributes of the fields of `model`.

    Parameters
    ----------
    file
        The open file.
    model
        Class of the header.
    path
        The file, named in the error.

    Raises
    ------
    FormatError
        One is missing, has another type or is out of bounds; the message names it.
    """
    optics = {name: read_attribute(file, name) for name in Optics.model_fields}
    fields = {
        name: read_attribute(file, name)
        for name, field in model.model_fields.items()
        if name != "optics"
        and name in file.attrs
        and not (field.default is None and _is_nan(read_attribute(file, name)))
    }
    known = {name: value for name, value in optics.items() if not _is_nan(value)}
    try:
        return model.model_validate(
            fields | {"optics": Optics.model_validate(known, strict=True)}, strict=True
        )
    except ValidationError as error:
        raise FormatError(
            f"{path}: attribute {first_fault(error)}; copy the file from its source again"
        ) from error


def utc_now() -> str:
    """Now, in ISO 8601 to the second, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def software() -> str:
    """Name and version of this program, as stored in files."""
    return f"fgaf {version('fgaf')}"


def _is_nan(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
