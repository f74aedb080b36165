"""Input files that people name: regular files only, of bounded size, as text, TOML or JSON."""

from __future__ import annotations

import json
import stat
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from fgaf.dataset.errors import FgafError, FormatError, SettingError

MOST_TEXT_BYTES: Final = 1 << 26
"""Largest text file that is read, in bytes."""
_KINDS: Final = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def require_file(path: Path) -> None:
    """Refuse what is no regular file; opening a pipe would wait for ever.

    Raises
    ------
    FormatError
        `path` is missing, a folder, a pipe, a socket or a device.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FormatError(f"{path} is not there; check the name") from error
    except ValueError as error:  # a zero byte in the name
        raise FormatError(f"{path} is no name of a file; check the name") from error
    if stat.S_ISDIR(mode):
        raise FormatError(f"{path} is a folder; name the files in it")
    if not stat.S_ISREG(mode):
        what = _KINDS.get(stat.S_IFMT(mode), "no regular file")
        raise FormatError(f"{path} is {what} and no file; copy its contents into a file")


def read_text(path: Path) -> str:
    """Read a text file in UTF-8; a byte order mark is left out.

    Raises
    ------
    FormatError
        No regular file, larger than `MOST_TEXT_BYTES`, or not in UTF-8; the line names the first
        wrong byte.
    OSError
        It may not be read.
    """
    require_file(path)
    with path.open("rb") as handle:
        data = handle.read(MOST_TEXT_BYTES + 1)
    if len(data) > MOST_TEXT_BYTES:
        raise FormatError(
            f"{path} is larger than {MOST_TEXT_BYTES >> 20} MB, too large for its kind; name "
            "another file"
        )
    return decoded(data, path)


def decoded(data: bytes, where: object) -> str:
    """Decode UTF-8, with line ends as in any text file; a byte order mark is left out.

    Raises
    ------
    FormatError
        Not UTF-8; the line names `where` and the first wrong byte.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError(
            f"{where} is not UTF-8 text (byte {error.start} is 0x{data[error.start]:02x}); save it "
            "as UTF-8"
        ) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file of settings; see `read_text` and `parse_toml` for the errors."""
    return parse_toml(read_text(path), path)


def parse_toml(text: str, where: object) -> dict[str, Any]:
    """Parse TOML.

    Raises
    ------
    SettingError
        It is none, or nested too deeply; the line begins with `where`.
    """
    parsed: dict[str, Any] = _parsed(tomllib.loads, text, where, "TOML", SettingError)
    return parsed


def read_json(path: Path) -> Any:
    """Read a JSON file; see `read_text` and `parse_json` for the errors."""
    return parse_json(read_text(path), path)


def parse_json(text: str, where: object) -> Any:
    """Parse JSON.

    Raises
    ------
    FormatError
        It is none, or nested too deeply; the line begins with `where`.
    """
    return _parsed(json.loads, text, where, "JSON", FormatError)


def _parsed(
    parse: Callable[[str], Any],
    text: str,
    where: object,
    kind: str,
    failure: type[FgafError],
) -> Any:
    try:
        return parse(text)
    except RecursionError as error:
        raise failure(f"{where}: nested too deeply for {kind}; take it from its source") from error
    except ValueError as error:
        said = " ".join(str(error).split())[:200]
        raise failure(f"{where}: no {kind} ({said}); correct it there") from error
