"""Colours of the panel, which match napari's theme, and of the boxes in the field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from qtpy.QtGui import QColor


@dataclass(frozen=True)
class Mark:
    """How a cell of one state is drawn in the field.

    Attributes
    ----------
    colour
        Colour of its box.
    symbol
        Symbol at the corner of its box, as napari names it; empty for none.
    sign
        The same symbol in a text.
    """

    colour: str
    symbol: str
    sign: str


MARKS: Final[dict[str, Mark]] = {
    "open": Mark("#ffe14d", "", "□"),
    "kept": Mark("#80ffca", "disc", "●"),
    "rejected": Mark("#aaaaaa", "x", "✖"),
    "unsure": Mark("#e69973", "diamond", "◆"),
    "auto": Mark("#95b0e6", "triangle_up", "▲"),
}
"""Colours that differ also for the colour-blind; all have a luminance of at least 0.4."""
EDGE: Final = "#000000"
"""Drawn on both sides of the coloured line: on any grey one of the two has a contrast of 3."""


@dataclass(frozen=True)
class Colours:
    """Colours of the panel.

    Attributes
    ----------
    text, faint, ground, frame
        Text, less important text, background, and lines.
    here, suggested, decided, warning
        The plane in view, the suggestion, the decision, and a warning.
    """

    text: QColor
    faint: QColor
    ground: QColor
    frame: QColor
    here: QColor
    suggested: QColor
    decided: QColor
    warning: QColor

    @classmethod
    def of(cls, theme: str) -> Colours:
        """Choose them by a theme's name."""
        from napari.utils.theme import get_theme

        given = get_theme(theme)
        text = QColor(given.text.as_hex())
        ground = QColor(given.background.as_hex())
        dark = ground.lightness() < 128
        return cls(
            text=text,
            faint=_between(text, ground, 0.25),
            ground=ground,
            frame=QColor(given.secondary.as_hex()),
            here=text,
            suggested=QColor("#4fb3ff" if dark else "#0a62b5"),
            decided=QColor("#5ad17a" if dark else "#0f6b2d"),
            warning=QColor("#ffb347" if dark else "#8f4a00"),
        )


def _between(first: QColor, second: QColor, share: float) -> QColor:
    mixed = [
        round((1 - share) * a + share * b)
        for a, b in zip(first.getRgb()[:3], second.getRgb()[:3], strict=True)
    ]
    return QColor(*mixed)
