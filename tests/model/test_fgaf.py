"""The module against its equations, written out in numpy."""

import numpy as np
import pytest
import torch

from fgaf.model.networks.fgaf import AF, FG, FGAF, FGAFSettings


def test_scales_weigh_one_together() -> None:
    """Equal branches make the weights visible: they must sum to one, eq. (7)."""
    fg = FG(64).eval()
    for branch in fg.branches:
        torch.nn.init.zeros_(branch.weight)
        k = branch.kernel_size[0] // 2
        with torch.no_grad():
            branch.weight[:, 0, k, k] = 1.0
    y = torch.rand(2, 64, 5, 5)
    parts = fg(y).chunk(4, dim=1)
    scales = [branch(y) for branch in fg.branches]
    weights = [part.mean((2, 3)) / s.mean((2, 3)) for part, s in zip(parts, scales, strict=True)]
    total = sum(weights) * (1 + fg.norm.eps) ** 0.5
    assert torch.allclose(total, torch.ones_like(total), atol=1e-5)


def test_attention_of_scales_is_equation_6() -> None:
    torch.manual_seed(0)
    fg = FG(64).eval()
    y = torch.randn(3, 64, 4, 4)
    scales = np.stack([branch(y).detach().numpy() for branch in fg.branches])
    w1, b1 = fg.squeeze.weight.detach().numpy()[..., 0, 0], fg.squeeze.bias.detach().numpy()
    w2, b2 = fg.excite.weight.detach().numpy()[..., 0, 0], fg.excite.bias.detach().numpy()
    hidden = scales.mean((3, 4)) @ w1.T + b1
    gelu = torch.nn.functional.gelu(torch.from_numpy(hidden)).numpy()
    gate = 1 / (1 + np.exp(-(gelu @ w2.T + b2)))
    weight = np.exp(gate) / np.exp(gate).sum(axis=0)
    expected = np.concatenate(list(weight[..., None, None] * scales), axis=1)
    expected = expected / np.sqrt(1 + fg.norm.eps)
    assert np.allclose(fg(y).detach().numpy(), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("activation", "function"),
    [
        ("sigmoid", lambda t: 1 / (1 + np.exp(-t))),
        ("tanh", lambda t: 1 + np.tanh(t)),
        ("none", lambda t: t),
    ],
)
def test_channel_attention_is_equations_8_to_10(activation: str, function: object) -> None:
    torch.manual_seed(0)
    af = AF(8, activation)
    m = torch.randn(3, 8, 4, 5)
    n = m.numpy()
    seen = np.concatenate([n.mean((2, 3)), n.max((2, 3))], axis=1)
    t = function(seen @ af.fc.weight.detach().numpy().T + af.fc.bias.detach().numpy())
    assert np.allclose(af(m).detach().numpy(), n * t[..., None, None], atol=1e-6)


@pytest.mark.parametrize("branch_input", ["all", "quarter"])
@pytest.mark.parametrize(("fg", "af"), [(True, True), (True, False), (False, True)])
def test_parts_can_be_left_out(branch_input: str, fg: bool, af: bool) -> None:
    settings = FGAFSettings(width=32, fg=fg, af=af, branch_input=branch_input)
    module = FGAF(48, settings)
    assert module(torch.randn(2, 48, 3, 3)).shape == (2, 48, 3, 3)


def test_width_of_the_map_needs_no_projection() -> None:
    assert isinstance(FGAF(64, FGAFSettings(width=64)).project, torch.nn.Identity)


def test_halving_rounds_up() -> None:
    module = FGAF(16, FGAFSettings(width=16, residual=False, pooling="halve"))
    assert module(torch.randn(2, 16, 3, 5)).shape == (2, 16, 2, 3)


def test_residual_of_a_halved_map_is_refused() -> None:
    with pytest.raises(ValueError, match="keeps the map"):
        FGAF(16, FGAFSettings(width=16, pooling="halve"))
