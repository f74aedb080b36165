"""HDF5 attributes as plain Python values.

Text is stored with a fixed length. HDF5 stores text of variable length in its global heap, and one
wrong bit there can make the library loop forever; a damaged file must give an error instead.
"""

from __future__ import annotations

import h5py
import numpy as np


def write_attribute(item: h5py.Group | h5py.Dataset, name: str, value: object) -> None:
    """Write text, a number or a bool as an attribute.

    Parameters
    ----------
    item
        A group or dataset of an open file.
    name
        Name of the attribute.
    value
        Its value.
    """
    if isinstance(value, str):
        data = value.encode()
        item.attrs.create(name, data, dtype=h5py.string_dtype("utf-8", max(1, len(data))))
    else:
        item.attrs[name] = value


def read_attribute(item: h5py.Group | h5py.Dataset, name: str) -> object:
    """Read an attribute as str, int, float or bool; None if it does not exist.

    Parameters
    ----------
    item
        A group or dataset of an open file.
    name
        Name of the attribute.
    """
    value = item.attrs.get(name)
    if isinstance(value, bytes):
        return value.decode()
    return value.item() if isinstance(value, np.generic) else value
