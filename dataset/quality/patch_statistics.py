"""One pass over the patches of an archive of any size: statistics for all later checks."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fgaf.dataset.archive import Archive
from fgaf.dataset.quality.patch_descriptor import describe_patch

BLOCK: Final = 512
"""Patches in memory at a time."""
_PLANES_PER_CELL: Final = 3

Bar = Callable[[Sequence[int]], Iterable[int]]


@dataclass(frozen=True)
class PatchStatistics:
    """Statistics from one pass over the pixels, under 200 bytes per patch.

    Attributes
    ----------
    darkest, brightest : (M,) int64
        Extremes of each patch.
    at_brightest : (M,) float32
        Fraction of a patch's pixels at its own maximum.
    digest : (M, 2) uint64
        Checksum of each patch's pixels, equal for copies.
    sharpness : (M, 2) float32
        Logarithm of variance and of gradient energy, both relative to the mean.
    looked : (L,) int64
        Rows with a descriptor: the first, middle and last of every cell.
    look : (L, F) float32
        Their `describe_patch`.
    """

    darkest: NDArray[np.int64]
    brightest: NDArray[np.int64]
    at_brightest: NDArray[np.float32]
    digest: NDArray[np.uint64]
    sharpness: NDArray[np.float32]
    looked: NDArray[np.int64]
    look: NDArray[np.float32]

    @property
    def constant(self) -> NDArray[np.intp]:
        """Rows whose pixels are all equal."""
        return np.flatnonzero(self.darkest == self.brightest)


def survey(archive: Archive, progress: Bar = iter) -> PatchStatistics:
    """Read every patch once.

    Parameters
    ----------
    archive
        Open archive; patches are read `BLOCK` at a time.
    progress
        Wraps the blocks' first rows.
    """
    m = len(archive.images)
    looked = _looked(archive)
    darkest, brightest = np.zeros(m, np.int64), np.zeros(m, np.int64)
    at_brightest = np.zeros(m, np.float32)
    digest = np.zeros((m, 2), np.uint64)
    sharpness = np.zeros((m, 2), np.float32)
    looks = []
    for start in progress(range(0, m, BLOCK)):
        block: NDArray[Any] = archive.images[start : start + BLOCK]
        rows = slice(start, start + len(block))
        flat = block.reshape(len(block), -1)
        darkest[rows], brightest[rows] = flat.min(axis=1), flat.max(axis=1)
        at_brightest[rows] = (flat == flat.max(axis=1, keepdims=True)).mean(axis=1)
        digest[rows] = _digests(flat)
        sharpness[rows] = _sharpness(block)
        first, last = np.searchsorted(looked, (rows.start, rows.stop))
        looks.append(describe_patch(block[looked[first:last] - start]))
    look = np.concatenate(looks) if looks else np.zeros((0, 1), np.float32)
    return PatchStatistics(darkest, brightest, at_brightest, digest, sharpness, looked, look)


def constant_rows(archive: Archive) -> NDArray[np.intp]:
    """Find the patches whose pixels are all equal, with `BLOCK` patches in memory at a time."""
    found = [np.zeros(0, np.intp)]
    for start in range(0, len(archive.images), BLOCK):
        block: NDArray[Any] = archive.images[start : start + BLOCK]
        flat = block.reshape(len(block), -1)
        found.append(start + np.flatnonzero(flat.min(axis=1) == flat.max(axis=1)))
    return np.concatenate(found)


def _looked(archive: Archive) -> NDArray[np.int64]:
    first, count = np.unique(archive.cell, return_index=True, return_counts=True)[1:]
    places = np.linspace(0, 1, _PLANES_PER_CELL)[None] * (count[:, None] - 1)
    return np.unique(first[:, None] + np.rint(places).astype(np.int64))


def _digests(flat: NDArray[Any]) -> NDArray[np.uint64]:
    digests = b"".join(hashlib.sha256(patch).digest()[:16] for patch in flat)
    return np.frombuffer(digests, np.uint64).reshape(-1, 2)


def _sharpness(block: NDArray[Any]) -> NDArray[np.float32]:
    pixels = block.astype(np.float32)
    mean = pixels.mean(axis=(1, 2)).clip(1e-3)
    spread = pixels.std(axis=(1, 2)) / mean
    energy = [_energy(pixels, axis) / mean**2 for axis in (1, 2)]
    return np.log(np.stack([spread**2, sum(energy)], axis=1) + 1e-9)


def _energy(pixels: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """Mean squared difference of pixels at distance 2 along an axis: (B, S, S) to (B,)."""
    ahead = pixels[:, 2:] if axis == 1 else pixels[:, :, 2:]
    behind = pixels[:, :-2] if axis == 1 else pixels[:, :, :-2]
    steps = (ahead - behind).reshape(len(pixels), -1)
    energy: NDArray[np.float32] = np.einsum("ij,ij->i", steps, steps) / max(steps.shape[1], 1)
    return energy
