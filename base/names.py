"""Names: find the one that was meant, refuse invalid ones, escape unprintable characters."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable
from typing import Final

from fgaf.base.errors import SettingError

_DEVICE: Final = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[1-9¹²³])", re.IGNORECASE)
_FORBIDDEN: Final = re.compile(r'[<>:"/\\|?*\x00-\x1f]')
_MOST_BYTES: Final = 240
"""File systems allow 255; the rest is for the suffixes of unfinished files."""
# Control characters except tab and new line, characters that change the writing direction or are
# invisible, and surrogates, as which Python reads bytes of file names that are not UTF-8.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ud800-\udfff]"
)


def nearest(name: str, known: Iterable[str]) -> str:
    """Find the known name nearest to a wrong one, or list all of them if none is near.

    Parameters
    ----------
    name
        What the user wrote.
    known
        The valid names.

    Returns
    -------
    str
        The end of an error message, without a full stop.

    Examples
    --------
    >>> nearest("epoch", ["epochs", "seed"])
    'did you mean epochs?'
    >>> nearest("xyz", ["epochs", "seed"])
    'choose from epochs, seed'
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"did you mean {close[0]}?"
    return f"choose from {', '.join(names)}" if names else "there is none to choose from"


def require_portable(name: str) -> None:
    """Refuse a name that a file cannot have on Windows, so that data can be copied to any system.

    Parameters
    ----------
    name
        Name of a file or folder, without its path.

    Raises
    ------
    SettingError
        It is a Windows device (CON, NUL, COM1, ..., with any suffix), has a character that Windows
        forbids, ends in a dot or a space, is empty, or is longer than 240 bytes.

    Examples
    --------
    >>> require_portable("nul.stack.h5")
    Traceback (most recent call last):
    fgaf.base.errors.SettingError: 'nul.stack.h5' is a device on Windows; choose another name
    """
    forbidden = _FORBIDDEN.search(name)
    if not name:
        problem = "is empty"
    elif forbidden:
        problem = f"has a {forbidden[0]!r}, which Windows forbids in names"
    elif _DEVICE.fullmatch(name.split(".")[0].rstrip()):
        problem = "is a device on Windows"
    elif name[-1] in ". ":
        problem = "ends in a dot or a space, which Windows forbids"
    elif len(name.encode(errors="surrogateescape")) > _MOST_BYTES:
        problem = f"is longer than {_MOST_BYTES} bytes"
    else:
        return
    raise SettingError(f"{name!r} {problem}; choose another name")


def require_distinct(names: Iterable[str]) -> None:
    """Refuse names that are equal, or that differ only by case or Unicode form.

    Windows and macOS treat ``A`` and ``a`` as equal, macOS also the two encodings of ``ä``.

    Raises
    ------
    SettingError
        Two are equal; the message names both.

    Examples
    --------
    >>> require_distinct(["donor7", "Donor7"])
    Traceback (most recent call last):
    fgaf.base.errors.SettingError: 'Donor7' and 'donor7' are one name on Windows and macOS, ...
    """
    seen: dict[str, str] = {}
    for name in names:
        key = folded(name)
        if key in seen:
            raise SettingError(alike(seen[key], name))
        seen[key] = name


def folded(name: str) -> str:
    """Normalise a name as file systems do that ignore case and Unicode form."""
    return unicodedata.normalize("NFC", name.casefold())


def alike(one: str, other: str) -> str:
    """Say that two names cannot be in one folder.

    Parameters
    ----------
    one, other
        The names.
    """
    if one == other:
        return f"two are named {one!r}; give each a name of its own"
    first, second = sorted((one, other))
    return (
        f"{first!r} and {second!r} are one name on Windows and macOS, which ignore case; give each "
        "a name of its own"
    )


def printable(text: str) -> str:
    r"""Escape characters that control a terminal; names in files may contain them.

    Examples
    --------
    >>> print(printable("donor \x1b[31m1"))
    donor \x1b[31m1
    """
    return _UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], text)
