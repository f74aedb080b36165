"""The cells to show to a person, their order, and when each is done."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from fgaf.base.bounds import LeastShare, Seed, require_bounded
from fgaf.curate.detection.crop import AT_BORDER
from fgaf.curate.session.agreement import disagreements
from fgaf.curate.session.state import AUTO, CellState, Purpose, State

Task = Literal["label", "unsure", "second", "review"]
Order = Literal["position", "uncertainty", "random"]

TASKS: Final[dict[Task, str]] = {
    "label": "all cells, those without a person's label first to do",
    "unsure": "cells that were flagged unsure, once more",
    "second": "a blind second pass over cells that another person labelled",
    "review": "the last word on cells that two persons labelled differently",
}
ORDERS: Final[dict[Order, str]] = {
    "position": "stack by stack, row by row",
    "uncertainty": "the least certain suggestion first",
    "random": "shuffled",
}
_PURPOSES: Final[dict[Task, Purpose]] = {
    "label": "label",
    "unsure": "label",
    "second": "second",
    "review": "review",
}


@dataclass(frozen=True)
class QueueSettings:
    """The cells to show.

    Attributes
    ----------
    task, order
        See `TASKS` and `ORDERS`.
    share
        Show about this share of the cells, chosen by their names: the same every time.
    only
        Show only cells whose name matches one of these patterns, as "donor7*"; none shows all.
    seed
        Random seed of the share and of the order.

    Raises
    ------
    SettingError
        The share or the seed is out of its bounds.
    """

    task: Task = "label"
    order: Order = "position"
    share: LeastShare = 1.0
    only: tuple[str, ...] = ()
    seed: Seed = 0

    def __post_init__(self) -> None:
        require_bounded(self)

    @property
    def purpose(self) -> Purpose:
        """The purpose of decisions made in this queue."""
        return _PURPOSES[self.task]

    @property
    def blind(self) -> bool:
        """Whether suggestions and earlier decisions are hidden."""
        return self.task == "second"


def queue_of(state: State, settings: QueueSettings, annotator: str) -> list[str]:
    """Names of the cells to show, in order.

    Cells that "auto" rejected as cut by the border are left out.

    Parameters
    ----------
    state
        State of the session.
    settings
        The cells and their order.
    annotator
        Person of the queue.
    """
    differing = set(disagreements(state)) if settings.task == "review" else set()
    cells = [
        cell
        for cell in state.cells.values()
        if _belongs(cell, settings, annotator, differing)
        and (settings.share == 1 or _lot(settings.seed, "share", cell.id) < settings.share)
        and (not settings.only or any(fnmatchcase(cell.id, p) for p in settings.only))
    ]
    stacks = {fingerprint: i for i, fingerprint in enumerate(state.stacks)}
    band = state.settings.patch_px

    def place(cell: CellState) -> tuple[float, ...]:
        if settings.order == "uncertainty":
            return (cell.suggestion.confidence if cell.suggestion else 0.0,)
        if settings.order == "random":
            return (_lot(settings.seed, "order", cell.id),)
        return stacks[cell.stack], *reading_order(cell, band)

    return [cell.id for cell in sorted(cells, key=place)]


def reading_order(cell: CellState, band_px: int) -> tuple[float, float]:
    """Position of a cell that sorts the cells of a stack row by row.

    Parameters
    ----------
    cell
        The cell.
    band_px
        Height of a row, pixels.
    """
    middle = len(cell.y) // 2
    return float(cell.y[middle] // band_px), float(cell.x[middle])


def neutral_plane(cell: CellState, seen: npt.NDArray[np.intp] | None = None) -> int:
    """A plane that tells nothing about the focus of a cell, for a blind pass.

    Parameters
    ----------
    cell
        The cell.
    seen
        Planes to choose from; None for all.
    """
    planes = np.arange(len(cell.y)) if seen is None else seen
    return int(planes[hashlib.sha256(cell.id.encode()).digest()[0] % len(planes)])


def is_done(cell: CellState, task: Task) -> bool:
    """Whether a cell is done in a queue.

    Parameters
    ----------
    cell
        The cell.
    task
        Task of the queue.
    """
    if task == "label":
        return cell.by_person
    if task == "unsure":
        return cell.decision is None or cell.decision.verdict != "unsure"
    if task == "second":
        return cell.second is not None
    return cell.reviewed


def _belongs(cell: CellState, settings: QueueSettings, annotator: str, differing: set[str]) -> bool:
    if settings.task == "label":
        decision = cell.decision
        return not (decision and decision.annotator == AUTO and decision.reason == AT_BORDER)
    if settings.task == "unsure":
        return cell.decision is not None and cell.decision.verdict == "unsure"
    if settings.task == "review":
        return cell.id in differing
    label = cell.label
    if label is None or label.annotator in (AUTO, annotator):
        return False
    return cell.second is None or cell.second.annotator == annotator


def _lot(seed: int, use: str, name: str) -> float:
    """A fixed pseudo-random number from 0 to 1 for a name."""
    digest = hashlib.sha256(f"{seed} {use} {name}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48
