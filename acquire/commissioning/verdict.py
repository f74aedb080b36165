"""Findings of a check, one line each, and a text plot of values over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "bad"]

_BLOCKS, _PLAIN = "▁▂▃▄▅▆▇█", "_.-:=+*#"


@dataclass(frozen=True)
class Verdict:
    """One finding of a check.

    Attributes
    ----------
    name
        What was checked.
    level
        "ok", "warning" (works, but check it) or "bad" (stacks would be wrong or fail).
    text
        What was measured.
    mend
        How to fix it; empty when ok.
    """

    name: str
    level: Level
    text: str
    mend: str = ""

    def line(self) -> str:
        """Return level, name, finding and advice as one line of a table."""
        mend = f"; {self.mend}" if self.mend else ""
        return f"{self.level:<9}{self.name:<15}{self.text}{mend}"


def worst(verdicts: Sequence[Verdict]) -> Level:
    """Return the worst level among verdicts."""
    order: tuple[Level, ...] = ("ok", "warning", "bad")
    return max((verdict.level for verdict in verdicts), key=order.index, default="ok")


def sparkline(values: Sequence[float], encoding: str = "utf-8") -> str:
    """Draw values as a row of eight heights, lowest to highest value.

    Parameters
    ----------
    values
        One per character.
    encoding
        Encoding of the terminal; without block characters, ASCII is used.
    """
    low, high = min(values), max(values)
    try:
        _BLOCKS.encode(encoding)
        signs = _BLOCKS
    except (UnicodeEncodeError, LookupError):
        signs = _PLAIN
    scale = (len(signs) - 1) / (high - low) if high > low else 0.0
    return "".join(signs[round((value - low) * scale)] for value in values)
