"""How grey values become network input, and which patches shine."""

import numpy as np
import pytest
import torch

from fgaf.model.inference.images import Scale, shine
from fgaf.model.networks.settings import Normalise


def disc(light: float, ground: float, radius: float = 4.0) -> np.ndarray:
    """One patch of 32 px: a disc on an even ground."""
    y, x = np.mgrid[:32, :32] - 15.5
    return np.round(ground + light * (np.hypot(y, x) < radius)).astype(np.uint16)


@pytest.mark.parametrize(
    ("normalise", "other", "same"),
    [
        ("level", disc(60, 200), True),
        ("level", disc(60, 100), False),
        ("flux", disc(1200, 100), True),
        ("flux", disc(300, 400), True),
        ("flux", disc(300, 100, radius=6.0), False),
        ("dataset", disc(30, 101), False),
    ],
    ids=["lamp", "contrast", "brighter bead", "brighter ground", "larger disc", "grey values"],
)
def test_what_a_scale_leaves(normalise: Normalise, other: np.ndarray, same: bool) -> None:
    first = {"level": disc(30, 100), "flux": disc(300, 100), "dataset": disc(30, 100)}[normalise]
    a, b = Scale(normalise, 0.0, 1.0)(np.stack([first, other]))
    assert torch.allclose(a, b, atol=1e-4) == same


def test_flux_takes_the_root_on_both_sides_of_the_ground() -> None:
    patch = disc(400, 1000)
    patch[3, 3] = 900
    x = Scale("flux", 0.0, 1.0)(patch[None])[0, 0]
    assert float(x[16, 16] / x[3, 3]) == pytest.approx(-2.0)
    assert float(x[0, 0]) == 0.0


@pytest.mark.parametrize("normalise", ["level", "flux", "dataset"])
def test_an_empty_patch_stays_finite(normalise: Normalise) -> None:
    assert torch.isfinite(Scale(normalise, 0.0, 1.0)(np.zeros((2, 32, 32), np.uint8))).all()


@pytest.mark.parametrize(
    ("patches", "shining"),
    [
        ([disc(300, 100)] * 5, True),
        ([disc(40, 0)] * 5, True),
        ([disc(60, 100)] * 5, False),
        ([disc(300, 100)] * 2 + [disc(0, 100)] * 3, False),
    ],
    ids=["beads", "dark field", "cells", "mostly empty"],
)
def test_which_patches_shine(patches: list[np.ndarray], shining: bool) -> None:
    assert shine(np.stack(patches)) == shining
