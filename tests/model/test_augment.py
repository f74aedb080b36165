"""Augmentation moves whole pixels and nothing else."""

import pytest
import torch

from fgaf.model.networks.augment import AugmentSettings, augment, symmetries

STILL = AugmentSettings(turns=False, shift_px=0, gain=0.0, offset=0.0, noise=0.0)


def drawn(batch: torch.Tensor, seed: int = 0, **values: float) -> torch.Tensor:
    settings = AugmentSettings(**{**STILL.__dict__, **values})
    return augment(batch, settings, torch.Generator().manual_seed(seed))


def test_nothing_asked_nothing_done() -> None:
    x = torch.randn(3, 1, 8, 8)
    assert torch.equal(drawn(x), x)


def test_turns_are_the_eight_symmetries_equally() -> None:
    x = torch.arange(9.0).view(1, 1, 3, 3)
    eight = symmetries(x)[:, 0, 0].flatten(1)
    assert len(eight.unique(dim=0)) == 8
    found = drawn(x.expand(4000, 1, 3, 3), turns=True)[:, 0].flatten(1)
    counts = [(found == one).all(dim=1).sum().item() for one in eight]
    assert sum(counts) == 4000
    assert min(counts) > 400


def test_shifts_move_whole_pixels_and_mirror_the_border() -> None:
    x = torch.arange(6.0).expand(6, 6)[None, None]
    found = drawn(x.expand(200, 1, 6, 6), shift_px=2)[:, 0, 0]
    rows = {tuple(row.tolist()) for row in found}
    assert rows == {
        (0, 1, 2, 3, 4, 5),
        (1, 2, 3, 4, 5, 4),
        (2, 3, 4, 5, 4, 3),
        (1, 0, 1, 2, 3, 4),
        (2, 1, 0, 1, 2, 3),
    }


def test_moves_make_no_new_grey_value() -> None:
    x = torch.randn(20, 1, 16, 16)
    found = drawn(x, turns=True, shift_px=5)
    assert torch.isin(found, x).all()


def test_gain_and_offset_are_one_per_patch() -> None:
    x = torch.tensor([1.0, 2.0]).repeat(500, 1, 4, 2)
    found = drawn(x, gain=0.2)
    ratio = found / x
    assert torch.allclose(ratio, ratio[:, :, :1, :1].expand_as(ratio))
    assert ratio[:, 0, 0, 0].std().item() == pytest.approx(0.2, rel=0.15)
    moved = drawn(x, offset=0.3) - x
    assert torch.allclose(moved, moved[:, :, :1, :1].expand_as(moved), atol=1e-6)
    assert drawn(torch.zeros(10, 1, 32, 32), noise=0.5).std().item() == pytest.approx(0.5, rel=0.05)


def test_a_seed_repeats() -> None:
    x = torch.randn(4, 1, 8, 8)
    values = {"turns": True, "shift_px": 2, "gain": 0.1, "offset": 0.1, "noise": 0.1}
    assert torch.equal(drawn(x, 3, **values), drawn(x, 3, **values))
    assert not torch.equal(drawn(x, 3, **values), drawn(x, 4, **values))
