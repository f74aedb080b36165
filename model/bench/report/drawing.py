"""Drawing of figures for the report: SVG with the colours of the page.

Figures are drawn in placeholder colours, which are replaced by CSS variables in the SVG, so that
one figure works on light and dark pages and in print. Text is kept as text, in the page's font.
"""

from __future__ import annotations

import io
import re
from typing import Any, Final

import matplotlib as mpl
from markupsafe import Markup, escape
from matplotlib.figure import Figure

COLOURS: Final = {
    "ink": "#0a0b0c",
    "muted": "#1a1b1c",
    "rule": "#2a2b2c",
    "accent": "#3a3b3c",
    "second": "#4a4b4c",
    "rival": "#5a5b5c",
    "other": "#8a8b8c",
    "plain": "#6a6b6c",
    "page": "#7a7b7c",
}
"""Placeholder of each CSS variable of the page."""

WIDTH: Final = 5.0
"""Inches: 360 px at 72 per inch, the width of a phone, so that text keeps its size there."""
STYLE: Final[dict[Any, Any]] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": COLOURS["rule"],
    "axes.labelcolor": COLOURS["muted"],
    "axes.titlesize": 10.0,
    "text.color": COLOURS["ink"],
    "xtick.color": COLOURS["muted"],
    "ytick.color": COLOURS["muted"],
    "grid.color": COLOURS["rule"],
    "grid.linewidth": 0.6,
    "legend.frameon": False,
}


def signed(depth_um: float) -> str:
    """Write a depth for ticks and captions: with its sign and only the decimals it needs."""
    text = f"{round(depth_um, 2):+g}"
    return "0" if float(text) == 0 else text.replace("-", "−")


def colour_of(row: dict[str, Any], reference: str) -> str:
    """Colour name of a method: the reference, a network, a peak search, another, or none.

    Parameters
    ----------
    row
        Row of the results.
    reference
        Id of the method that the others are compared with.
    """
    if row["id"] == reference:
        return "accent"
    if row["settings"].get("rule", "peak") != "peak":
        return "other"
    if row["kind"] in ("classifier", "trained"):
        return "second"
    return "rival" if row["sees"] == "stack" else "plain"


def svg(figure: Figure, description: str) -> Markup:
    """Serialise a figure as one line of a page: colours as variables, nothing external.

    Parameters
    ----------
    figure
        The figure.
    description
        Text description of the figure, for screen readers.
    """
    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": description}):  # ids differ between the figures of a page
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    text = re.sub(r"font: ([0-9.]+px)[^;\"]*", r"font-size: \1", text)
    for name, placeholder in COLOURS.items():
        text = text.replace(placeholder, f"var(--{name})")
    box = re.search(r'viewBox="[^"]*"', text)
    opening = f'<svg {box.group() if box else ""} role="img" aria-label="{escape(description)}">'
    text = " ".join(text[text.index(">") + 1 :].split())
    return Markup(opening + text)  # noqa: S704 - escaped by matplotlib
