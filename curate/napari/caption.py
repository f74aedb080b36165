"""The text above the pictures of a cell: its name, suggestion and decision."""

from __future__ import annotations

from qtpy.QtGui import QColor

from fgaf.curate.napari.colours import Colours
from fgaf.curate.session.annotation_controller import AnnotationController


def title(controller: AnnotationController) -> str:
    """Text with the cell, its position in the queue, and the plane; empty when no cell is shown."""
    cell, ref = controller.cell, controller.stack
    if cell is None or ref is None:
        return ""
    number = controller.names.index(cell.id) + 1 if cell.id in controller.names else 0
    z = f", z {ref.z_um[controller.plane]:+.2f} µm" if ref.z_um else ""
    return (
        f"<b>{cell.id}</b>, cell {number} of {len(controller.names)}, {controller.left} to do, by "
        f"{controller.annotator}<br>plane {controller.plane + 1} of {len(cell.y)}{z}"
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
    if suggestion is not None and suggestion.problem:
        lines.append(coloured(suggestion.problem, colours.warning))
    if cell is not None and cell.jump:
        planes = ", ".join(str(plane + 1) for plane in cell.jump)
        lines.append(coloured(f"the path jumps at plane {planes}: check it", colours.warning))
    if controller.queue.task == "review" and cell is not None:
        lines += [
            f"{d.annotator}: {d.words} {'' if d.focus_um is None else f'{d.focus_um:+.2f} µm'}"
            for d in (cell.label, cell.second)
            if d is not None
        ]
    elif decision is not None:
        at = "" if decision.focus_um is None else f" at {decision.focus_um:+.2f} µm"
        words = f"{decision.words}{at}, by {decision.annotator}"
        lines.append(coloured(words, colours.decided))
    return lines


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
