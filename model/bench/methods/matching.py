"""Similarity of patches by normalised cross-correlation, and the depth that follows from it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from fgaf.model.bench.methods.features import radial_profiles
from fgaf.model.bench.methods.method import Floats, Integers
from fgaf.model.bench.methods.search import cells_of, vertex

_BLOCK: Final = 2
"""Windows are compared after averaging blocks of this many pixels, to reduce noise."""
_AT_ONCE: Final = 512
_USUAL_SHARPNESS: Final = 20.0
_SHARPNESSES: Final = (0.0, 8.0)
"""Bounds of the logarithm."""


def match_profiles(
    images: NDArray[Any], references: NDArray[Any], labels: Integers, n_classes: int
) -> Floats:
    """Correlate radial profiles with the mean profile of every depth class.

    Parameters
    ----------
    images
        (N, S, S) patches to predict.
    references, labels
        (T, S, S) training patches and their classes (T,).
    n_classes
        C.

    Returns
    -------
    (N, C) correlation, -1 to 1; -1 for a class without a reference. A profile holds the mean and
    the standard deviation on each ring.
    """
    rings = images.shape[-1] // 4
    asked = _unit(np.concatenate(radial_profiles(images, rings), axis=1))
    known = _unit(np.concatenate(radial_profiles(references, rings), axis=1))
    scores = np.full((len(images), n_classes), -1.0)
    for k in np.unique(labels):
        mean = known[labels == k].mean(axis=0)
        scores[:, k] = asked @ (mean / max(float(np.linalg.norm(mean)), 1e-12))
    return scores


def match_images(
    images: NDArray[Any], references: NDArray[Any], window_px: int, shift_px: int
) -> NDArray[np.float32]:
    """Correlate patches with every reference, rotated, mirrored and shifted for the best match.

    Each of the reference's eight symmetries is compared with each whole-pixel shift of the patch;
    every correlation is normalised within its own window. All are computed together as matrix
    products.

    Parameters
    ----------
    images, references
        (N, S, S) and (T, S, S)
    window_px, shift_px
        Side of the central window, and the maximum shift.

    Returns
    -------
    (N, T) the highest correlation, -1 to 1.
    """
    library = [_unit(_window(view, window_px, 0, 0)) for view in _symmetries(references)]
    likeness = np.full((len(images), len(references)), -1.0, dtype=np.float32)
    shifts = range(-shift_px, shift_px + 1)
    for start in range(0, len(images), _AT_ONCE):
        part = images[start : start + _AT_ONCE]
        best = likeness[start : start + _AT_ONCE]
        for dy in shifts:
            for dx in shifts:
                asked = _unit(_window(part, window_px, dy, dx))
                for known in library:
                    np.maximum(best, asked @ known.T, out=best)
    return likeness


def best_of_class(likeness: NDArray[Any], labels: Integers, n_classes: int) -> Floats:
    """Highest correlation with a reference of each class, (N, C); -1 for a class without one.

    Parameters
    ----------
    likeness
        (N, R) correlation of each patch with each reference.
    labels
        (R,) class of each reference.
    n_classes
        C.
    """
    scores = np.full((len(likeness), n_classes), -1.0)
    for k in np.unique(labels):
        scores[:, k] = likeness[:, labels == k].max(axis=1)
    return scores


def depth_along_best(likeness: NDArray[Any], depth_um: Floats, cell: NDArray[Any]) -> Floats:
    """Depth of each patch between the planes of the reference cell that matches best.

    Parameters
    ----------
    likeness
        (N, T) correlation with each reference.
    depth_um, cell
        (T,) depth and cell of the references.

    Returns
    -------
    (N,) vertex of the parabola through the best reference and its neighbours in its stack, µm.
    """
    found = np.empty(len(likeness), dtype=np.float64)
    stacks = [here[np.argsort(depth_um[here])] for here in cells_of(cell)]
    stack_of = np.empty(cell.size, dtype=np.int64)
    for number, stack in enumerate(stacks):
        stack_of[stack] = number
    for k, (row, best) in enumerate(zip(likeness, likeness.argmax(axis=1), strict=True)):
        stack = stacks[stack_of[best]]
        found[k] = vertex(depth_um[stack], row[stack].astype(np.float64))
    return found


def peak_depth(scores: Floats, class_depths_um: Floats) -> Floats:
    """Vertex of the parabola through each row's highest score and its neighbours, (N,) µm.

    Parameters
    ----------
    scores
        (N, C) score of each class.
    class_depths_um
        (C,) depth of each class, µm, ascending.
    """
    return np.array([vertex(class_depths_um, row) for row in scores])


def shares_of(scores: Floats, sharpness: float | None = None) -> Floats:
    """Probabilities from correlations (N, C): a softmax.

    Parameters
    ----------
    scores
        (N, C) correlations.
    sharpness
        Factor of the correlations; None for the default.
    """
    factor = _USUAL_SHARPNESS if sharpness is None else sharpness
    return np.asarray(softmax(factor * scores, axis=1))


def fit_sharpness(scores: Floats, labels: Integers) -> float:
    """Find the sharpness of maximum likelihood for held-out labels (N,).

    Parameters
    ----------
    scores
        (N, C) correlations of held-out patches.
    labels
        (N,) their classes.
    """

    def surprise(log_sharpness: float) -> float:
        log = log_softmax(np.exp(log_sharpness) * scores, axis=1)
        return -float(log[np.arange(labels.size), labels].mean())

    found = minimize_scalar(surprise, bounds=_SHARPNESSES, method="bounded")
    return float(np.exp(found.x))


def _symmetries(images: NDArray[Any]) -> Iterator[NDArray[Any]]:
    for view in (images, images[:, :, ::-1]):
        for turns in range(4):
            yield np.rot90(view, turns, axes=(1, 2))


def _window(images: NDArray[Any], side: int, dy: int, dx: int) -> NDArray[np.float32]:
    """Block means of the central square of (N, S, S) images, (N, pixels)."""
    top = (images.shape[-1] - side) // 2
    part = images[:, top + dy : top + dy + side, top + dx : top + dx + side].astype(np.float32)
    n = side // _BLOCK
    blocks = part.reshape(len(part), n, _BLOCK, n, _BLOCK).mean(axis=(2, 4))
    return np.asarray(blocks.reshape(len(part), -1))


def _unit(rows: NDArray[Any]) -> NDArray[Any]:
    """Rows (N, F) minus their mean, scaled to length 1."""
    centred = rows - rows.mean(axis=1, keepdims=True)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.asarray(centred / np.maximum(length, 1e-12))
