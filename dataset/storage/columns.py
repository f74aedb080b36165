"""Tables in HDF5: a group whose one-dimensional datasets are equally long columns."""

from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from fgaf.base.errors import FormatError

TEXT = "text"
"""Means UTF-8 strings in a schema; any other entry is a numpy dtype."""

Schema = Mapping[str, str]


def write_columns(group: h5py.Group, schema: Schema, values: Mapping[str, Any]) -> None:
    """Write one dataset per entry of `schema`, taking its values by name.

    Parameters
    ----------
    group
        Group for the datasets.
    schema
        Column name to numpy dtype, or `TEXT`.
    values
        Column name to a one-dimensional sequence.
    """
    for name, kind in schema.items():
        if kind == TEXT:
            data = [str(text).encode() for text in values[name]]
            length = max(map(len, data), default=0)
            # Fixed length, for the same reason as the attributes.
            kept = h5py.string_dtype("utf-8", max(1, length))
            group.create_dataset(name, data=np.array(data, dtype=kept), dtype=kept)
        else:
            group.create_dataset(name, data=np.asarray(values[name], dtype=kind))


def read_columns(
    group: h5py.Group, schema: Schema, length: int, path: object
) -> dict[str, NDArray[Any]]:
    """Read the columns of `schema`, each checked for presence, type and length.

    Parameters
    ----------
    group
        Holds the columns.
    schema
        Name and type of each column.
    length
        Number of rows.
    path
        The file, named in the error.

    Returns
    -------
    dict
        Column name to array; text columns are object arrays of str.

    Raises
    ------
    FormatError
        A column is missing, or has another type or length; the message names column and `path`.
    """
    return {name: _read(group, name, kind, length, path) for name, kind in schema.items()}


def dataset_of(group: h5py.Group, name: str, path: object) -> h5py.Dataset:
    """Find the dataset `name` of `group`.

    Parameters
    ----------
    group
        Holds the dataset.
    name
        Of the dataset.
    path
        The file, named in the error.

    Raises
    ------
    FormatError
        There is none.
    """
    found = group.get(name)
    if not isinstance(found, h5py.Dataset):
        where = f"{group.name.rstrip('/')}/{name}"
        raise FormatError(f"{path}: column {where} is missing; copy the file from its source again")
    return found


def _read(group: h5py.Group, name: str, kind: str, length: int, path: object) -> NDArray[Any]:
    column = dataset_of(group, name, path)
    stored = TEXT if h5py.check_string_dtype(column.dtype) is not None else column.dtype.str
    wanted = kind if kind == TEXT else np.dtype(kind).str
    if stored != wanted or column.shape != (length,):
        raise FormatError(
            f"{path}: column {column.name} is {stored}{list(column.shape or ())}, "
            f"should be {wanted}[{length}]; copy the file from its source again"
        )
    try:
        values: NDArray[Any] = column.asstr()[:] if kind == TEXT else column[:]
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(
            f"{path}: column {column.name} cannot be read; copy the file from its source again"
        ) from error
    return values
