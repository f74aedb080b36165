"""Augmentation that does not change the defocus: whole-pixel moves, gain and noise.

Interpolation blurs, and blur is the label, so nothing here interpolates: quarter turns, flips and
whole-pixel shifts are one gather of the batch.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class AugmentSettings:
    """Amount of each operation.

    Parameters
    ----------
    turns
        Quarter turns and flips, the eight symmetries of the square, equally likely.
    shift_px
        Maximum shift in whole pixels along each axis; the border is mirrored.
    gain, offset, noise
        Standard deviations of a patch's gain - 1 and offset, and of each pixel's noise, all in
        units of the normalised image.
    """

    turns: bool = True
    shift_px: int = 6
    gain: float = 0.1
    offset: float = 0.05
    noise: float = 0.05


def augment(batch: Tensor, settings: AugmentSettings, generator: torch.Generator) -> Tensor:
    """Draw one augmented copy of each patch.

    Parameters
    ----------
    batch
        (B, 1, S, S) normalised.
    settings
        Amount of each operation.
    generator
        Generator on the batch's device; the same state gives the same result.

    Returns
    -------
    (B, 1, S, S)
    """
    if settings.turns or settings.shift_px:
        batch = _gathered(batch, _places(batch, settings, generator))
    return _relit(batch, settings, generator)


def augment_with_masks(
    batch: Tensor, masks: Tensor, settings: AugmentSettings, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw one augmented copy of each patch; its mask makes the same moves.

    Parameters
    ----------
    batch
        (B, 1, S, S) normalised.
    masks
        (B, S, S) of any type.
    settings, generator
        As for `augment`, which draws the same patches.

    Returns
    -------
    (B, 1, S, S) and (B, S, S)
    """
    if settings.turns or settings.shift_px:
        places = _places(batch, settings, generator)
        batch, masks = _gathered(batch, places), _gathered(masks, places)
    return _relit(batch, settings, generator), masks


def symmetries(batch: Tensor) -> Tensor:
    """Stack the eight symmetries of the square of each patch: (B, 1, S, S) to (8, B, 1, S, S)."""
    turned = [batch.rot90(k, dims=(2, 3)) for k in range(4)]
    return torch.stack([*turned, *(t.flip(3) for t in turned)])


def _relit(batch: Tensor, settings: AugmentSettings, generator: torch.Generator) -> Tensor:
    """Change gain and offset of each patch, and add noise."""
    device, n = batch.device, batch.shape[0]

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, device=device, generator=generator)

    if settings.gain:
        batch = batch * (1 + settings.gain * normal(n, 1, 1, 1))
    if settings.offset:
        batch = batch + settings.offset * normal(n, 1, 1, 1)
    if settings.noise:
        batch = batch + settings.noise * normal(*batch.shape)
    return batch


def _places(batch: Tensor, settings: AugmentSettings, generator: torch.Generator) -> Tensor:
    """Draw the moves of each patch: (B, S, S) index of the pixel that comes to each place."""
    n, _, side, _ = batch.shape
    device = batch.device

    def draw(low: int, high: int) -> Tensor:
        return torch.randint(low, high + 1, (n, 1), device=device, generator=generator)

    at = torch.arange(side, device=device)[None]
    reach = min(settings.shift_px, side - 1)
    rows, columns = at - draw(-reach, reach), at - draw(-reach, reach)
    rows, columns = _mirrored(rows, side), _mirrored(columns, side)
    index = rows[:, :, None] * side + columns[:, None, :]
    if settings.turns:
        flip_y, flip_x, swap = (draw(0, 1).bool()[..., None] for _ in range(3))
        index = torch.where(flip_y, index.flip(1), index)
        index = torch.where(flip_x, index.flip(2), index)
        index = torch.where(swap, index.transpose(1, 2), index)
    return index


def _gathered(batch: Tensor, places: Tensor) -> Tensor:
    """Pixels of (B, ..., S, S) at the places."""
    return batch.flatten(1).gather(1, places.flatten(1)).view_as(batch)


def _mirrored(index: Tensor, side: int) -> Tensor:
    """Reflect indices outside 0..side-1 at the border pixel."""
    index = index.abs()
    return torch.where(index >= side, 2 * (side - 1) - index, index)
