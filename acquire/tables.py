"""Tables of settings: checked against a frozen model, with errors that name the nearest key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from fgaf.acquire.devices import DeviceError
from fgaf.base.bounds import Bound, first_fault
from fgaf.base.errors import SettingError
from fgaf.base.extras import MissingPackageError, optional
from fgaf.base.names import nearest

Model = TypeVar("Model", bound=BaseModel)


def _meant(value: Any) -> Any:
    if isinstance(value, float) and (fault := _WIDEST.fault(value)):
        raise ValueError(fault)
    return value


_WIDEST = Bound(-1e15, 1e15)
Property = Annotated[bool | int | float | str, AfterValidator(_meant)]
"""A value of a vendor's property, whose bounds only the device knows."""


class Table(BaseModel):
    """Settings from a rig: frozen, without unknown keys; a number is accepted as text."""

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)


def parse_table(model: type[Model], table: Mapping[str, Any], where: str) -> Model:
    """Check a table of settings against a pydantic model that forbids unknown keys.

    Parameters
    ----------
    model
        The model, with ``extra="forbid"``.
    table
        Keys and values from TOML.
    where
        Name of the table, for the error: a file's name, ``stage.options``.

    Raises
    ------
    SettingError
        An unknown key (the nearest valid one is named), or an invalid value. Unknown keys are
        reported first, because a missing required key may only be misspelt.
    """
    try:
        return model.model_validate(table)
    except ValidationError as error:
        found = error.errors()
        first = next((one for one in found if one["type"] == "extra_forbidden"), found[0])
        path = [str(part) for part in first["loc"]]
        key = ".".join(path)
        if first["type"] == "extra_forbidden":
            known = _keys_beside(model, path)
            raise SettingError(f"{where}: unknown key {key}; {nearest(path[-1], known)}") from error
        if first["type"] == "missing":
            raise SettingError(f"{where}: the key {key} is missing; add it") from error
        if first["type"] in ("out_of_bounds", "value_error"):
            raise SettingError(f"{where}: {first_fault(error)}") from error
        raise SettingError(f"{where}: {key} = {first['input']!r}: {first['msg']}") from error


def vendor_module(module: str) -> ModuleType:
    """Import the library a driver needs, such as ``pypylon.pylon``.

    Raises
    ------
    DeviceError
        It is not installed; the error names the command that installs it.
    """
    try:
        return optional(module)
    except MissingPackageError as error:
        raise DeviceError(str(error)) from error


def _keys_beside(model: type[BaseModel], path: list[str]) -> Iterable[str]:
    """Return the valid keys of the table of the last part of `path`."""
    for part in path[:-1]:
        if part.isdigit():  # index of one of several tables
            continue
        field = model.model_fields[part].annotation
        inner = next(kind for kind in (field, *getattr(field, "__args__", ())) if _is_model(kind))
        model = inner
    return model.model_fields


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
