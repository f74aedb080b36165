"""Input files that users name: only regular files of limited size, read as text, TOML or JSON."""

from __future__ import annotations

import json
import re
import stat
import tomllib
from pathlib import Path
from typing import Any, Final

from fgaf.base.errors import FormatError, SettingError

MOST_TEXT_BYTES: Final = 1 << 26
"""Largest text file that is read, in bytes."""
SPARE_BYTES: Final = 1 << 26
"""Size in bytes that a file may declare without storing it: too small to do harm."""
MOST_PACKED: Final = 100
"""Largest expansion of a stored byte, in bytes; images reach ten."""
_MOST_TOML_BYTES: Final = 1 << 20
# The TOML reader's time grows with the square of a dotted key's length.
_ENDLESS_KEY: Final = re.compile(r"""(?<![\w"'-])(?:[\w"'-]+[ \t]*\.[ \t]*){64}""")
_KINDS: Final = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def require_file(path: Path) -> None:
    """Refuse a path that is not a regular file; opening a pipe would wait forever.

    Raises
    ------
    FormatError
        `path` is missing, a folder, a pipe, a socket or a device.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FormatError(f"{path} does not exist; check the name") from error
    except ValueError as error:  # a zero byte in the name
        raise FormatError(f"{path} is not a valid file name; check the name") from error
    if stat.S_ISDIR(mode):
        raise FormatError(f"{path} is a folder; give the files in it")
    if not stat.S_ISREG(mode):
        what = _KINDS.get(stat.S_IFMT(mode), "a special file")
        raise FormatError(f"{path} is {what}, not a regular file; copy its contents into a file")


def require_stored(path: object, declared: int, stored: int) -> None:
    """Refuse data that would unpack to far more than is stored: a malicious or a truncated file.

    Parameters
    ----------
    path
        The file, named in the error.
    declared
        Bytes that it declares.
    stored
        Bytes that are stored, compressed or not.

    Raises
    ------
    FormatError
        More than 64 MB, and more than a hundred times what is stored.
    """
    if declared > SPARE_BYTES and declared > MOST_PACKED * stored:
        raise FormatError(
            f"{path} declares {declared >> 20} MB but stores {stored} bytes; take it from "
            "its source again"
        )


def read_bytes(path: Path, most: int = MOST_TEXT_BYTES) -> bytes:
    """Read a file of at most `most` bytes.

    Parameters
    ----------
    path
        The file.
    most
        Largest allowed size, bytes.

    Raises
    ------
    FormatError
        It is not a regular file, or is larger.
    OSError
        It cannot be read.
    """
    require_file(path)
    with path.open("rb") as handle:
        data = handle.read(most + 1)
    if len(data) > most:
        raise FormatError(
            f"{path} is larger than {most >> 20} MB, too large for such a file; give another one"
        )
    return data


def read_text(path: Path, most: int = MOST_TEXT_BYTES) -> str:
    """Read a UTF-8 text file of at most `most` bytes; a byte order mark is removed.

    Parameters
    ----------
    path
        The file.
    most
        Largest allowed size, bytes.

    Raises
    ------
    FormatError
        It is not a regular file, is larger, or is not UTF-8; the message names the first wrong
        byte.
    OSError
        It cannot be read.
    """
    data = read_bytes(path, most)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError(
            f"{path} is not UTF-8 text (byte {error.start} is 0x{data[error.start]:02x}); save it "
            "as UTF-8"
        ) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file of settings, of at most 1 MB.

    Raises
    ------
    SettingError
        As `read_text`, or it is not TOML; the message names the file.
    OSError
        It cannot be read.
    """
    try:
        text = read_text(path, _MOST_TOML_BYTES)
    except FormatError as error:
        raise SettingError(str(error)) from error
    try:
        return parse_toml(text)
    except ValueError as error:
        raise SettingError(f"{path} is not valid TOML: {error}; correct it there") from error


def parse_toml(text: str) -> dict[str, Any]:
    """Parse TOML.

    Raises
    ------
    ValueError
        It is none, or nested too deeply.
    """
    if _ENDLESS_KEY.search(text):
        raise ValueError("a key has more than 64 parts")
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def parse_json(text: str | bytes) -> Any:
    """Parse JSON.

    Raises
    ------
    ValueError
        It is none, or nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
