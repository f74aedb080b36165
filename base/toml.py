"""Write TOML: tables, single values, changed keys in a text; read KEY=VALUE of a command line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from fgaf.base.errors import SettingError
from fgaf.base.inputs import parse_toml


def write_toml(table: Mapping[str, Any]) -> str:
    """Write a table as TOML; empty inner tables are left out."""
    import tomlkit

    return tomlkit.dumps(_plain(table))


def toml_value(value: Any) -> str:
    """Write a bool, a number, a string or a list of these as TOML."""
    import tomlkit

    return str(tomlkit.item(value).as_string())


def set_values(text: str, table: str, values: Mapping[str, Any]) -> str:
    """Set keys of one table in a TOML text and keep everything else, comments too.

    Parameters
    ----------
    text
        The file.
    table
        Name of the table.
    values
        Keys and their new values; missing keys are added.

    Returns
    -------
    str
        The new text; the old one if there is no such table.
    """
    import tomlkit

    document = tomlkit.parse(text)
    if table not in document:
        return text
    for key, value in values.items():
        document[table][key] = value
    return tomlkit.dumps(document)


def parse_assignment(text: str) -> tuple[str, Any]:
    """Split KEY=VALUE of a command line; the value is read as TOML if possible, else as text.

    Raises
    ------
    SettingError
        The key or ``=`` is missing.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise SettingError(f"{text!r} is not a setting; write KEY=VALUE")
    try:
        return key.strip(), parse_toml(f"value = {value.strip()}")["value"]
    except ValueError:
        return key.strip(), value.strip()


def _plain(value: Any) -> Any:
    """Paths as text, and tables without empty inner ones."""
    if isinstance(value, Mapping):
        table = {key: _plain(inner) for key, inner in value.items()}
        return {key: inner for key, inner in table.items() if inner != {}}
    return str(value) if isinstance(value, PurePath) else value
