"""Norms and shifts of tokens as convolutions: the numbers of the network, on borders too."""

import pytest
import torch
from torch import nn

from fgaf.model.deploy.tokens import fold_tokens
from fgaf.model.networks.unext import ChannelNorm, Shift, UNeXt, UNeXtSettings


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize(
    ("width", "shifts"), [(8, (-2, -1, 0, 1, 2)), (7, (1, -3)), (2, (0, 1, 2))], ids=str
)
def test_a_shift_moves_the_same_pixels(width: int, shifts: tuple[int, ...], dim: int) -> None:
    network = nn.Sequential(Shift(width, shifts, dim))
    x = torch.randn(2, width, 4, 5)
    true = network(x)
    fold_tokens(network)
    assert isinstance(network[0], nn.Conv2d)
    assert torch.equal(network(x), true)


@torch.no_grad()
def test_the_network_gives_the_same_numbers() -> None:
    torch.manual_seed(0)
    network = UNeXt(UNeXtSettings(channels=(4, 4, 8, 10, 12))).eval()
    for parameter in network.parameters():
        parameter += 0.1 * torch.randn_like(parameter)
    x = torch.randn(2, 1, 64, 40)
    true = network(x)
    fold_tokens(network)
    assert not any(isinstance(layer, ChannelNorm | Shift) for layer in network.modules())
    assert torch.allclose(network(x), true, atol=1e-4 * float(true.abs().max()))
