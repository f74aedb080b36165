"""From a session's journal and its raw stacks to a dataset archive.

The same journal gives the same archive, byte for byte, wherever its raw files are and whatever they
are called by now.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fgaf.base.console import count
from fgaf.base.errors import FgafError, FormatError
from fgaf.base.inputs import parse_json
from fgaf.base.workers.progress import steps
from fgaf.curate.detection.crop import (
    AT_BORDER,
    OFF_STACK,
    corner_of,
    crops,
    fits,
    planes_round,
    stride_of,
)
from fgaf.curate.session.masks import nearest_mask, paint, shift
from fgaf.curate.session.places import problem_of
from fgaf.curate.session.state import AUTO, CellState, Decision, StackRef, State
from fgaf.dataset.archive import DEFAULT_SPLIT, Archive, ArchiveHeader, Cells
from fgaf.dataset.history import recorded
from fgaf.dataset.raw import RawStack
from fgaf.dataset.splits.split import DEFAULT_FRACTIONS, make_split
from fgaf.dataset.storage.masks import OTHER_HEAD, OWN_HEAD
from fgaf.dataset.storage.optics import Optics
from fgaf.dataset.storage.outlines import fill
from fgaf.dataset.truth import CellTruth, StackTruth

Kept = tuple[CellState, Decision]
_MISSING: Final = "cells_left_out"
_UNMASKED: Final = "cells_without_mask_left_out"
_LEFT_OUT: Final = {_MISSING: "of missing raw files", _UNMASKED: "without a mask"}
"""Facts of the history, in words."""


def compile_archive(
    state: State,
    *,
    split_seed: int = 0,
    fractions: tuple[float, float, float] = DEFAULT_FRACTIONS,
    created_utc: str | None = None,
    leave_out_missing: bool = False,
    only_masked: bool = False,
    progress: Callable[[list[str]], Iterable[str]] = iter,
    **texts: str,
) -> Archive:
    """Cut and label the patches of every kept cell.

    Parameters
    ----------
    state
        The state of the journal.
    split_seed, fractions
        Parameters of the split "default".
    created_utc
        Creation time of the archive; None for the time of the latest decision.
    leave_out_missing
        Leave out the cells of raw files that are missing, changed or damaged; the archive's history
        says how many, and of which files.
    only_masked
        Leave out the cells without a mask of their head; the history says how many. Otherwise the
        archive has masks if every cell has one.
    progress
        Wraps the list of stacks.
    **texts
        name, description, license of the archive.

    Raises
    ------
    FgafError
        No cell is kept, or none with a mask; a cell cannot be cropped, the stacks do not match, or
        a raw file or a mask cannot be used.
    """
    kept = state.kept()
    if not kept:
        raise FgafError(
            "no cell is kept, so there is nothing to compile; accept some cells, or add stacks"
        )
    by_stack: dict[str, list[Kept]] = {}
    for state_of, decision in kept:
        by_stack.setdefault(state_of.stack, []).append((state_of, decision))
    left_out = _unusable(state, by_stack, leave_out_missing)
    cells_left_out = sum(len(by_stack.pop(fingerprint)) for fingerprint in left_out)
    parts = [
        _part(state, state.stacks[fingerprint], by_stack[fingerprint], only_masked)
        for fingerprint in progress([f for f in state.stacks if f in by_stack])
    ]
    without_mask = sum(map(len, by_stack.values())) - sum(len(part.rows) for part in parts)
    parts = [part for part in parts if part.rows]
    if not parts:
        raise FgafError(
            f"none of {count(without_mask, 'kept cell')} has a mask; draw masks in the window of "
            "fgaf-curate open, or export without --masks"
        )
    _require_alike(parts)

    cells = Cells.from_rows([row for part in parts for row in part.rows])
    per_cell = 2 * state.settings.steps + 1
    cell = np.repeat(np.arange(len(cells), dtype=np.int32), per_cell)
    joined: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("images", "depth_um", "plane", "center_y", "center_x")
    }
    known = [part.truth_um for part in parts if part.truth_um is not None]
    truth = np.concatenate(known) if len(known) == len(parts) else None
    masked = [part.masks for part in parts if part.masks is not None]
    patch = state.settings.patch_px
    split = make_split(
        cells, joined["center_y"], joined["center_x"], cell, patch, fractions, seed=split_seed
    )
    created_utc = created_utc or max(
        made.time_utc
        for cell in state.cells.values()
        for made in (cell.decision, *cell.masks.values())
        if made is not None
    )
    header = ArchiveHeader.new(
        step_um=state.settings.step_um,
        half_range_um=state.settings.half_range_um,
        patch_px=patch,
        optics=_common([part.optics for part in parts]),
        created_utc=created_utc,
        **texts,
    )
    archive = Archive(
        header=header,
        cell=cell,
        cells=cells,
        true_depth_um=truth,
        masks=np.concatenate(masked) if len(masked) == len(parts) else None,
        splits={DEFAULT_SPLIT: split.sides},
        **joined,
    )
    omitted: dict[str, Any] = {}
    if left_out:
        omitted |= {_MISSING: cells_left_out, "source_sha256_left_out": left_out}
    if without_mask:
        omitted |= {_UNMASKED: without_mask}
    return recorded(archive, "export", utc=created_utc, **omitted) if omitted else archive


def compiled_line(state: State, archive: Archive) -> str:
    """Say in one line what an archive that was just compiled holds, and what it lacks.

    Parameters
    ----------
    state
        The state of the journal.
    archive
        What was compiled from it.
    """
    kept = state.kept()
    step = parse_json(archive.history[-1].encode()) if archive.history else {}
    drawn = sum(bool(cell.masks) for cell, _ in kept)
    masks = ", with masks" if archive.masks is not None else ""
    parts = [
        f"{count(archive.n_cells, 'cell')} x {count(archive.n_classes, 'depth')}{masks}",
        *(
            f"left out {count(step[fact], 'kept cell')} {why}"
            for fact, why in _LEFT_OUT.items()
            if fact in step
        ),
    ]
    if drawn and archive.masks is None:
        parts.append(
            f"without masks, as only {drawn} of {count(len(kept), 'kept cell')} have one; --masks "
            "exports these alone"
        )
    return "; ".join(parts)


def _unusable(state: State, by_stack: dict[str, list[Kept]], leave_out_missing: bool) -> list[str]:
    """Fingerprints of the files with kept cells that cannot be used, if they may be left out."""
    problems = {
        fingerprint: problem
        for fingerprint in by_stack
        if (problem := problem_of(state.stacks[fingerprint].path, fingerprint))
    }
    if problems and (not leave_out_missing or len(problems) == len(by_stack)):
        cells = sum(len(by_stack[fingerprint]) for fingerprint in problems)
        told = [f"{state.stacks[f].source} {problem}" for f, problem in problems.items()]
        advice = (
            "" if len(problems) == len(by_stack) else "; --leave-out-missing exports the others"
        )
        raise FgafError(
            f"{count(cells, 'kept cell')} cannot be exported: {', '.join(told)}; give the folder "
            f"of the files with --raw{advice}"
        )
    return list(problems)


class _Part:
    """The patches of one stack."""

    def __init__(self, optics: Optics, name: str) -> None:
        self.optics, self.name = optics, name
        self.rows: list[dict[str, Any]] = []
        self._columns: dict[str, list[npt.NDArray[Any]]] = {
            name: [] for name in ("images", "depth_um", "plane", "center_y", "center_x")
        }
        self._truth: list[npt.NDArray[np.float64] | None] = []
        self._masks: list[npt.NDArray[np.uint8] | None] = []

    def add(
        self,
        row: dict[str, Any],
        truth: npt.NDArray[np.float64] | None,
        masks: npt.NDArray[np.uint8] | None,
        **columns: npt.NDArray[Any],
    ) -> None:
        """Add one cell."""
        self.rows.append(row)
        self._truth.append(truth)
        self._masks.append(masks)
        for name, values in columns.items():
            self._columns[name].append(values)

    def __getattr__(self, name: str) -> npt.NDArray[Any]:
        return np.concatenate(self._columns[name])

    @property
    def truth_um(self) -> npt.NDArray[np.float64] | None:
        """True depths, if known for every cell."""
        return _of_all(self._truth)

    @property
    def masks(self) -> npt.NDArray[np.uint8] | None:
        """Masks of the heads, if there are some for every cell."""
        return _of_all(self._masks)


def _of_all(of_cells: list[npt.NDArray[Any] | None]) -> npt.NDArray[Any] | None:
    """Concatenate the arrays of all cells; None if one is missing."""
    known = [values for values in of_cells if values is not None]
    return np.concatenate(known) if len(known) == len(of_cells) else None


def _part(state: State, ref: StackRef, kept: list[Kept], only_masked: bool) -> _Part:
    settings = state.settings
    with RawStack.open(Path(ref.path), whole=True) as stack:
        z = stack.z_um
        stride = stride_of(settings, stack.header.step_um, stack.path.name)
        truth = _truth_of(stack, ref)
        part = _Part(stack.header.optics, stack.path.name)
        drawn = [
            cell for cell in state.cells.values() if cell.stack == ref.fingerprint and cell.masks
        ]
        for cell, decision in steps(kept):
            focus = decision.focus_um
            if focus is None:
                raise FgafError(f"cell {cell.id} is kept without a focus; set one or reject it")
            planes = planes_round(focus, z, stride, settings.steps)
            if planes is None:
                raise FgafError(f"cell {cell.id}: {OFF_STACK}; reject it or lower --half-range")
            if not fits(cell.y, cell.x, planes, settings.patch_px, stack.shape[1:]):
                raise FgafError(f"cell {cell.id}: {AT_BORDER}; reject it or take a smaller --patch")
            center_y = np.array([round(float(cell.y[p])) for p in planes], dtype=np.int32)
            center_x = np.array([round(float(cell.x[p])) for p in planes], dtype=np.int32)
            masks = _true_masks(truth, planes, center_y, center_x, settings.patch_px)
            if cell.masks:
                masks = _drawn_masks(masks, drawn, cell, planes, settings.patch_px, state.folder)
            if only_masked and masks is None:
                continue
            frames = {int(p): stack.frames[int(p)] for p in planes}
            part.add(
                _row(ref, cell, decision, focus, int(np.argmin(np.abs(z - focus)))),
                _true_depths(truth, planes, center_y, center_x, z, settings.patch_px),
                masks,
                images=crops(frames, cell.y, cell.x, planes, settings.patch_px),
                depth_um=z[planes] - focus,
                plane=planes.astype(np.int32),
                center_y=center_y,
                center_x=center_x,
            )
    return part


def _row(
    ref: StackRef, cell: CellState, decision: Decision, focus_um: float, plane: int
) -> dict[str, Any]:
    by_machine = decision.annotator == AUTO
    suggestion = cell.suggestion
    return {
        "id": cell.id,
        "source": ref.source,
        "source_sha256": ref.fingerprint,
        "sample_id": ref.sample_id,
        "field": ref.field,
        "focus_um": focus_um,
        "focus_plane": plane,
        "annotator": decision.annotator,
        "labelled_utc": decision.time_utc,
        "method": "focus-curve" if by_machine else "person",
        "confidence": suggestion.confidence if by_machine and suggestion is not None else 1.0,
    }


def _truth_of(stack: RawStack, ref: StackRef) -> StackTruth | None:
    """The truth beside a stack, also under the name that the stack had when it was added."""
    truth = stack.truth()
    if truth is None and stack.path.name != ref.source:
        with suppress(FormatError):  # it is of another stack that has the name now
            return replace(stack, path=stack.path.with_name(ref.source)).truth()
    return truth


def _true_depths(
    truth: StackTruth | None,
    planes: npt.NDArray[np.intp],
    center_y: npt.NDArray[np.int32],
    center_x: npt.NDArray[np.int32],
    z_um: npt.NDArray[np.float64],
    patch_px: int,
) -> npt.NDArray[np.float64] | None:
    """Depth of the true cell nearest the crop's centre, plane by plane.

    A sperm is preferred to any nearer object; None where nothing lies in the crop.
    """
    if truth is None:
        return None
    depths = []
    for plane, y, x in zip(planes, center_y, center_x, strict=True):
        cell = _shown(truth.frames[int(plane)].cells, y, x, patch_px)
        if cell is None:
            return None
        depths.append(float(z_um[plane]) - cell.focus_um)
    return np.array(depths)


def _true_masks(
    truth: StackTruth | None,
    planes: npt.NDArray[np.intp],
    center_y: npt.NDArray[np.int32],
    center_x: npt.NDArray[np.int32],
    patch_px: int,
) -> npt.NDArray[np.uint8] | None:
    """Masks (P, S, S) from the true outlines of heads; None where the truth has none."""
    if truth is None:
        return None
    masks = np.zeros((len(planes), patch_px, patch_px), np.uint8)
    for mask, plane, y, x in zip(masks, planes, center_y, center_x, strict=True):
        cells = truth.frames[int(plane)].cells
        if any(cell.kind == "sperm" and not cell.outline_px for cell in cells):
            return None
        own = _shown(cells, y, x, patch_px)
        corner = np.array([y, x]) - patch_px // 2
        for cell in sorted(cells, key=lambda each: each is own):
            if cell.outline_px:
                outline = np.array(cell.outline_px) - corner
                fill(mask, outline, OWN_HEAD if cell is own else OTHER_HEAD)
    return masks


def _drawn_masks(
    true: npt.NDArray[np.uint8] | None,
    drawn: Sequence[CellState],
    own: CellState,
    planes: npt.NDArray[np.intp],
    patch_px: int,
    folder: Path,
) -> npt.NDArray[np.uint8]:
    """Masks (P, S, S) as people drew them; other heads that are known from a truth stay."""
    masks = np.zeros((len(planes), patch_px, patch_px), np.uint8)
    if true is not None:
        masks[true == OTHER_HEAD] = OTHER_HEAD
    for mask, plane in zip(masks, planes.tolist(), strict=True):
        corner = [corner_of(float(way[plane]), patch_px) for way in (own.y, own.x)]
        for cell in sorted(drawn, key=lambda each: each is own):  # its own head lies on top
            if (head := nearest_mask(cell.masks, plane)) is not None:
                dy, dx = shift(cell.y, cell.x, head.plane, plane)
                place = (head.top + dy - corner[0], head.left + dx - corner[1])
                paint(mask, folder, head, place, OWN_HEAD if cell is own else OTHER_HEAD)
    return masks


def _shown(cells: Sequence[CellTruth], y: int, x: int, patch_px: int) -> CellTruth | None:
    """The cell that a crop shows: the sperm nearest its centre, else the nearest other object."""
    inside = [cell for cell in cells if max(abs(cell.y_px - y), abs(cell.x_px - x)) <= patch_px / 2]
    return min(
        inside,
        key=lambda each: (each.kind != "sperm", float(np.hypot(each.y_px - y, each.x_px - x))),
        default=None,
    )


def _require_alike(parts: list[_Part]) -> None:
    first = parts[0]
    for part in parts[1:]:
        if part.images.dtype != first.images.dtype:
            raise FgafError(
                f"{part.name} is {part.images.dtype}, {first.name} {first.images.dtype}: compile "
                "them into separate archives"
            )
        sizes = (part.optics.pixel_size_um, first.optics.pixel_size_um)
        if sizes[0] != sizes[1] and not (
            sizes[0] and sizes[1] and np.isclose(sizes[0], sizes[1], rtol=1e-3)
        ):
            raise FgafError(
                f"{part.name} has pixels of {sizes[0]} µm, {first.name} of {sizes[1]} µm: compile "
                "them into separate archives"
            )


def _common(optics: list[Optics]) -> Optics:
    """The optics common to all stacks; None where they differ."""
    first = optics[0].model_dump()
    same = {k: v for k, v in first.items() if all(getattr(o, k) == v for o in optics)}
    return Optics(**(same | {"pixel_size_um": first["pixel_size_um"]}))
