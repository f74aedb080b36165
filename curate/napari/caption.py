"""The text around the pictures of a cell: its name, suggestion and decision."""

from __future__ import annotations

from html import escape
from typing import Final

from qtpy.QtCore import QEvent, Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QFrame, QLabel, QScrollArea

from fgaf.base.console import count
from fgaf.curate.napari.colours import MARKS, Colours
from fgaf.curate.session.annotation_controller import AnnotationController

_OUTSIDE: Final = "not in this queue"
_SLACK: Final = 3
"""Height that a line with signs of another font needs beyond that of the font, pixels."""


class Lines(QScrollArea):
    """Text in an area of fixed height: a longer text scrolls, and is the tooltip.

    Parameters
    ----------
    lines
        Height of the area, in lines of text.
    """

    def __init__(self, lines: int) -> None:
        super().__init__()
        self._lines = lines
        self._shown: tuple[str, QColor | None] = "", None
        self._label = QLabel()
        self._label.setWordWrap(True)
        self._label.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setWidgetResizable(True)
        self.setWidget(self._label)
        self._fix()

    def set_text(self, text: str, colour: QColor | None = None) -> None:
        """Show a text, in a colour or in that of the theme.

        Parameters
        ----------
        text
            Plain, or HTML.
        colour
            Its colour; None for that of the theme.
        """
        if (text, colour) == self._shown:
            return
        self._shown = text, colour
        self._label.setText(text if colour is None else coloured(escape(text), colour))
        self.setToolTip(text)
        bar = self.verticalScrollBar()
        if bar is not None:
            bar.setValue(0)

    def changeEvent(self, event: QEvent | None) -> None:  # noqa: N802 - Qt's name
        """Follow the theme's font."""
        super().changeEvent(event)
        self._fix()

    def _fix(self) -> None:
        shown = self._label.text()
        self._label.setText("<br>".join("X" * self._lines))
        self.setFixedHeight(self._label.sizeHint().height() + _SLACK * self._lines)
        self._label.setText(shown)


def title(controller: AnnotationController) -> str:
    """Text with the cell, its position in the queue, and the plane; empty when no cell is shown."""
    cell, ref = controller.cell, controller.stack
    if cell is None or ref is None:
        return ""
    names = controller.names
    place = f"cell {names.index(cell.id) + 1} of {len(names)}" if cell.id in names else _OUTSIDE
    z = f", z {ref.z_um[controller.plane]:+.2f} µm" if ref.z_um else ""
    return (
        f"<b>{cell.id}</b>, {place}, {controller.left} to do, by {controller.annotator}<br>"
        f"plane {controller.plane + 1} of {len(cell.y)}{z}"
    )


def facts(controller: AnnotationController, colours: Colours) -> list[str]:
    """Text with the suggestion, the warnings and the decision of the cell, one line each.

    Parameters
    ----------
    controller
        The controller, whose cell is described.
    colours
        Colours of the lines.
    """
    cell = controller.cell
    lines = []
    suggestion, decision = controller.suggestion, controller.decision
    if controller.queue.blind:
        lines.append("second pass: suggestions and first labels are hidden")
    if suggestion is not None:
        words = (
            f"suggested: {suggestion.focus_um:+.2f} µm by {suggestion.by}, confidence "
            f"{100 * suggestion.confidence:.0f} %"
        )
        lines.append(coloured(words, colours.suggested))
    stays = _why_not_kept(controller)
    if stays:
        lines.append(coloured(f"cannot be kept with this focus: {stays}", colours.warning))
    if suggestion is not None and suggestion.problem:
        lines.append(coloured(suggestion.problem, colours.warning))
    if cell is not None and cell.jump:
        words = f"the path jumps at plane {', '.join(str(p + 1) for p in cell.jump)}: check it"
        lines.append(coloured(words, colours.warning))
    if cell is not None and cell.masks and not controller.queue.blind:
        words = f"the head is drawn in plane {', '.join(str(p + 1) for p in sorted(cell.masks))}"
        lines.append(coloured(words, colours.decided))
    if controller.queue.task == "review" and cell is not None:
        lines += [f"{d.annotator}: {d.words}" for d in (cell.label, cell.second) if d is not None]
        if cell.review is not None:
            words = f"{cell.review.annotator}, review: {cell.review.words}"
            lines.append(coloured(words, colours.decided))
    elif decision is not None:
        words = f"{decision.words}, by {decision.annotator}"
        lines.append(coloured(words, colours.decided))
    return lines


def ending(controller: AnnotationController) -> list[str]:
    """Text for a queue whose cells are all done: the counts, and what comes next.

    Parameters
    ----------
    controller
        The controller, with its queue.
    """
    if controller.queue.blind:
        return [*controller.progress(), "Next: fgaf-curate agreement compares the two passes."]
    counts = controller.session.state.counts()
    found, kept, todo = counts.pop("found"), counts.pop("kept"), counts.pop("open", 0)
    parts = [f"{count(found, 'cell')} in this session: {kept} kept"]
    parts += [f"{number} {reason}" for reason, number in counts.items()]
    parts += [f"{todo} not decided"] if todo else []
    return [
        ", ".join(parts),
        "Next: Export… writes the kept cells into an archive.",
        "To look at them once more: previous cell, undo, or a click on a box in the field.",
    ]


def legend() -> str:
    """Text with the states of a cell, each with its symbol, in the colour of its box."""
    return ", ".join(
        f'<span style="background: #333; color: {mark.colour}">&nbsp;{mark.sign}&nbsp;</span>'
        f" {state}"
        for state, mark in MARKS.items()
    )


def coloured(words: str, colour: QColor) -> str:
    """Give words a colour, as HTML.

    Parameters
    ----------
    words
        The words.
    colour
        Their colour.
    """
    return f'<span style="color: {colour.name()}">{words}</span>'


def _why_not_kept(controller: AnnotationController) -> str:
    """Why the cell cannot be kept with its focus in the plane in view; empty if it can."""
    cell, ref = controller.cell, controller.stack
    if cell is None or ref is None or not ref.z_um:
        return ""
    return controller.session.state.focus_rejection_reason(cell, ref.z_um[controller.plane])
