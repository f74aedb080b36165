"""UNeXt: sizes of the paper, shifts with zeros, any side of the image, gradients, loss."""

from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn

from fgaf.model.networks.backbones import macs, parameters
from fgaf.model.networks.mask_loss import bce_dice, dice_loss
from fgaf.model.networks.unext import SEGMENTERS, UNeXt, shifted


@dataclass(frozen=True)
class Size:
    """A network: parameters, and 10^9 multiply-accumulates for 256 x 256 px."""

    name: str
    inputs: int
    parameters: int
    gigamacs: float


SIZES = (
    Size("unext", 3, 1_471_921, 0.562),
    Size("unext", 1, 1_471_633, 0.543),
    Size("unext_s", 3, 253_561, 0.099),
    Size("unext_s", 1, 253_417, 0.090),
)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size.name}-{size.inputs}")
def test_the_sizes_are_those_of_the_paper_with_three_channels(size: Size) -> None:
    """The paper's 1.47 M and 0.253 M parameters; one channel saves the first layer's other two."""
    network = UNeXt(replace(SEGMENTERS[size.name], inputs=size.inputs))
    assert parameters(network) == size.parameters
    assert round(macs(network, 256, size.inputs) / 1e9, 3) == size.gigamacs


@pytest.mark.parametrize("shape", [(1, 1), (9, 7), (33, 50), (96, 96), (97, 131)])
def test_any_side_and_a_batch_of_one(shape: tuple[int, int]) -> None:
    network = UNeXt(SEGMENTERS["unext_s"]).eval()
    with torch.inference_mode():
        assert network(torch.randn(1, 1, *shape)).shape == (1, 1, *shape)


@pytest.mark.parametrize("dim", [2, 3])
def test_channels_shift_by_group_and_zeros_come_in(dim: int) -> None:
    x = torch.arange(1.0, 5.0).repeat(3, 1)[None, :, :, None]  # three channels along one axis
    if dim == 3:
        x = x.transpose(2, 3)
    moved = shifted(x, (-1, 0, 2), dim).flatten(2)[0]
    assert moved.tolist() == [[2, 3, 4, 0], [1, 2, 3, 4], [0, 0, 1, 2]]


def test_every_weight_has_a_gradient() -> None:
    network = UNeXt(SEGMENTERS["unext_s"])
    network(torch.randn(2, 1, 64, 64)).square().mean().backward()
    for name, weight in network.named_parameters():
        assert weight.grad is not None, name
        assert name.endswith("conv.bias") or weight.grad.abs().sum() > 0, name


def test_it_learns_one_square() -> None:
    """Where a bright square is, at the right pixels."""
    torch.manual_seed(0)
    network: nn.Module = UNeXt(SEGMENTERS["unext_s"])
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    masks = torch.zeros(8, 48, 48)
    for k in range(8):
        masks[k, 4 * k : 4 * k + 12, 10:22] = 1
    images = (masks + 0.1 * torch.randn(masks.shape))[:, None]
    first = bce_dice(network(images), masks).item()
    for _ in range(40):
        loss = bce_dice(network(images), masks)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.3 * first


def test_loss_of_perfect_and_of_opposite_masks() -> None:
    masks = torch.zeros(2, 8, 8)
    masks[:, 2:5, 2:5] = 1
    logits = 40 * (masks - 0.5)[:, None]
    assert bce_dice(logits, masks).item() == pytest.approx(0, abs=1e-4)
    assert bce_dice(-logits, masks, bce_weight=0).item() == pytest.approx(1, abs=1e-4)
    assert bce_dice(-logits, masks).item() == pytest.approx(1 + 0.5 * 20, rel=1e-3)


def test_dice_loss_is_a_mean_over_masks() -> None:
    shares = torch.tensor([[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    truth = torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    assert dice_loss(shares, truth).item() == pytest.approx((1 - 2 / 3) / 2, abs=1e-4)
