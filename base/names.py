"""Names: which of the known ones was meant, which no file may have, and how any is shown."""

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
"""File systems take 255; the rest is for the endings of what is not finished."""
# Control characters but for tab and new line, what turns the direction of writing or cannot be
# seen, and halves of characters, as which Python reads bytes of file names that are not UTF-8.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ud800-\udfff]"
)


def nearest(name: str, known: Iterable[str]) -> str:
    """Name the known name nearest to a wrong one, or all of them where none is near.

    Parameters
    ----------
    name
        What a person wrote.
    known
        What could have been meant.

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
    """Refuse a name that a file cannot have on Windows: the data may go there, or come from there.

    Parameters
    ----------
    name
        Of a file or a folder, without its path.

    Raises
    ------
    SettingError
        A device of Windows (CON, NUL, COM1, ..., whatever the ending), a character that it
        forbids, a dot or a space at the end, nothing, or more than 240 bytes.

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
    """Refuse names that some file system takes for one: equal, or equal but for case or accents.

    Windows and macOS do not tell ``A`` from ``a``, macOS not the two ways to write ``ä``.

    Raises
    ------
    SettingError
        Two are alike; the line names both.

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
    """Write a name as file systems that ignore case and ways of writing compare it."""
    return unicodedata.normalize("NFC", name.casefold())


def alike(one: str, other: str) -> str:
    """Say that two names cannot lie beside each other.

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
    r"""Show what would steer a terminal, as names in files may hold it, by its escape.

    Examples
    --------
    >>> print(printable("donor \x1b[31m1"))
    donor \x1b[31m1
    """
    return _UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], text)
