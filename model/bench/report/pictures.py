"""Pictures of cells inside a page: their planes as PNG, with one common contrast."""

from __future__ import annotations

import base64
import io
from typing import Any, Final

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from fgaf.dataset.archive import Archive
from fgaf.model.bench.report.drawing import signed

MOST_PICTURES: Final = 9
"""Number of planes shown per cell."""


def pictured(cell: dict[str, Any], archive: Archive) -> list[dict[str, Any]]:
    """Draw the planes of a cell.

    Parameters
    ----------
    cell
        With `rows` of the archive, `depth_um`, `said_um` and `right` of each, (P,).
    archive
        Which holds the patches.

    Returns
    -------
    list of dict
        Per plane `src` (a data URL), `depth` and `said` as text, and `right`.
    """
    rows = cell["rows"]
    shown = np.unique(np.linspace(0, len(rows) - 1, MOST_PICTURES).round().astype(int)).tolist()
    pixels = np.stack([archive.images[rows[k]] for k in shown]).astype(np.float64)
    low, high = np.percentile(pixels, [0.5, 99.5])
    grey = np.clip((pixels - low) / max(high - low, 1e-9), 0, 1)
    return [
        {
            "src": Markup(as_source(picture)),  # noqa: S704 - base64
            "depth": signed(cell["depth_um"][k]),
            "said": signed(cell["said_um"][k]),
            "right": cell["right"][k],
        }
        for k, picture in zip(shown, (255 * grey).round().astype(np.uint8), strict=True)
    ]


def as_source(grey: NDArray[np.uint8]) -> str:
    """Write a grey picture, (H, W), as the data URL of a PNG."""
    buffer = io.BytesIO()
    Image.fromarray(grey).save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
