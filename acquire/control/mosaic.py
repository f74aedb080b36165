"""Positions of a mosaic: overlapping fields in rows and columns of the image."""

from __future__ import annotations

from fgaf.acquire.control.positions import Position
from fgaf.acquire.control.stage_map import StageMap
from fgaf.base.bounds import Overlap, Tiles, require


def mosaic(
    stage_map: StageMap,
    shape: tuple[int, int],
    centre_um: tuple[float, float],
    rows: int,
    columns: int,
    overlap: float = 0.1,
) -> tuple[Position, ...]:
    """List the positions of a mosaic, row by row, every second row backwards.

    Parameters
    ----------
    stage_map
        How moves of the stage shift the image, so that the fields join although the camera may be
        turned.
    shape
        Rows and columns (Y, X) of a frame.
    centre_um
        Position of the middle of the mosaic, x and y of the stage.
    rows, columns
        Number of fields along y and along x of the image.
    overlap
        Share of a field that its neighbour also shows.

    Returns
    -------
    tuple of Position
        Named by row and column from the top left of the image: ``r01c01``.

    Raises
    ------
    SettingError
        A number is out of bounds.
    """
    require(Tiles, rows, "--rows")
    require(Tiles, columns, "--columns")
    require(Overlap, overlap, "--overlap")
    height, width = (side * (1 - overlap) for side in shape)
    digits = max(2, len(str(max(rows, columns))))
    found = []
    for row in range(rows):
        across = range(columns) if row % 2 == 0 else reversed(range(columns))
        for column in across:
            # what lies to the right comes into view when the image moves to the left
            shift = (-(column - (columns - 1) / 2) * width, -(row - (rows - 1) / 2) * height)
            x_um, y_um = stage_map.move_um(shift)
            name = f"r{row + 1:0{digits}}c{column + 1:0{digits}}"
            x, y = round(centre_um[0] + x_um, 3), round(centre_um[1] + y_um, 3)
            found.append(Position(name, x, y))
    return tuple(found)
