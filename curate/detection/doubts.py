"""Doubts about a search for heads: what speaks against its settings, or against its field."""

from __future__ import annotations

from typing import Final

import numpy as np

from fgaf.curate.detection.scale import HEAD_UM, Floats, Scale

_SIZE_OFF: Final = 1.15
"""Ratio of lengths seen and searched, or its inverse, from which the pixel size is in doubt."""
_LEAST_HEADS: Final = 5
_FULL: Final = 0.1
"""Share of a field's area under heads from which they overlap too often to be told apart."""


def doubts(name: str, length: Floats, shape: tuple[int, int], scale: Scale) -> list[str]:
    """Say what is in doubt about the heads of one field.

    Parameters
    ----------
    name
        Of the image or stack.
    length
        (N,) length of each head found, relative to the length searched with.
    shape
        Rows and columns of the image.
    scale
        What was searched for.

    Returns
    -------
    One line per doubt: what was seen, and what to try.
    """
    if not len(length):
        return [
            f"{name}: no head of about {scale.head_um:g} µm found at {scale.pixel_size_um:g} µm "
            "per pixel; check --pixel-size and --head-length, and look at the image with a lower "
            "--least-score"
        ]
    said = []
    seen = float(np.median(length))
    if len(length) >= _LEAST_HEADS and not 1 / _SIZE_OFF < seen < _SIZE_OFF:
        fitting = scale.pixel_size_um / seen
        said.append(
            f"{name}: the {len(length)} heads look {seen:.2f} times as long as {scale.head_um:g} "
            f"µm; check --pixel-size ({fitting:.3g} instead of {scale.pixel_size_um:g} µm would "
            f"fit) or give --head-length {scale.head_um * seen:.2g}"
        )
    one_um2 = np.pi / 4 * scale.head_um**2 * HEAD_UM[1] / HEAD_UM[0]
    area_um2 = shape[0] * shape[1] * scale.pixel_size_um**2
    if len(length) >= _LEAST_HEADS and len(length) * one_um2 > _FULL * area_um2:
        said.append(
            f"{name}: {len(length)} heads cover {len(length) * one_um2 / area_um2:.0%} of the "
            "field; in so full a field heads are missed and cells are mixed up: dilute the sample"
        )
    return said
