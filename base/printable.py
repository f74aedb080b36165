"""Text that cannot steer a terminal."""

import re

# Control characters but for tab and new line, what turns the direction of writing or cannot be
# seen, and halves of characters, as which Python reads bytes of file names that are not UTF-8.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ud800-\udfff]"
)


def printable(text: str) -> str:
    r"""Show what would steer a terminal, as names in files may hold it, by its escape.

    Examples
    --------
    >>> print(printable("donor \x1b[31m1"))
    donor \x1b[31m1
    """
    return _UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], text)
