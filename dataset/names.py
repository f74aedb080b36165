"""Wrong names: which of the known ones was meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


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
