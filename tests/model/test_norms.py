"""CrossNorm and SelfNorm against plain numpy."""

import numpy as np
import pytest
import torch

from fgaf.model.networks.norms import EPS, NormSite, SelfNorm, choose_sites, cross_norm, permutation

X = torch.from_numpy(np.random.default_rng(0).normal(3, 2, (6, 4, 5, 7)).astype(np.float32))


def moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    pixels = x.reshape(*x.shape[:2], -1).astype(np.float64)
    mean = pixels.mean(axis=2)
    variance = ((pixels - mean[..., None]) ** 2).sum(axis=2) / (pixels.shape[2] - 1)
    return mean[..., None, None], np.sqrt(variance + EPS)[..., None, None]


@pytest.mark.parametrize("partner", ["sample", "channel", "depth"])
def test_cross_norm_swaps_the_statistics(partner: str) -> None:
    order = torch.tensor([2, 0, 3, 1] if partner == "channel" else [1, 2, 0, 5, 3, 4])
    n = X.numpy()
    mean, deviation = moments(n)
    if partner == "channel":
        new_mean, new_deviation = mean[:, order], deviation[:, order]
    else:
        new_mean, new_deviation = mean[order], deviation[order]
    expected = new_deviation * (n - mean) / deviation + new_mean
    assert np.allclose(cross_norm(X, partner, order).numpy(), expected, atol=1e-4)


def test_partners_of_the_same_depth() -> None:
    classes = torch.tensor([3, 1, 3, 1, 1, 7])
    for seed in range(20):
        torch.manual_seed(seed)
        order = permutation("depth", X, classes)
        assert sorted(order.tolist()) == list(range(6))
        assert torch.equal(classes[order], classes)


def test_partners_are_permutations() -> None:
    assert sorted(permutation("sample", X, None).tolist()) == list(range(6))
    assert sorted(permutation("channel", X, None).tolist()) == list(range(4))
    with pytest.raises(ValueError, match="depth classes"):
        permutation("depth", X, None)


@pytest.mark.parametrize("training", [True, False])
def test_self_norm_is_equation_14(training: bool) -> None:
    torch.manual_seed(1)
    norm = SelfNorm(4).train(training)
    for gate in (norm.phi_norm, norm.psi_norm):
        torch.nn.init.uniform_(gate.weight)
        torch.nn.init.uniform_(gate.bias)
        gate.running_mean.uniform_()
        gate.running_var.uniform_(0.5, 2)
    n = X.numpy()
    mean, deviation = moments(n)

    def gate_of(layer: torch.nn.Conv1d, bn: torch.nn.BatchNorm1d) -> np.ndarray:
        w = layer.weight.detach().numpy()[:, 0]
        seen = mean[..., 0, 0] * w[:, 0] + deviation[..., 0, 0] * w[:, 1]
        at = seen.mean(0) if training else bn.running_mean.numpy()
        spread = seen.var(0) if training else bn.running_var.numpy()
        z = (seen - at) / np.sqrt(spread + bn.eps)
        z = z * bn.weight.detach().numpy() + bn.bias.detach().numpy()
        return (1 / (1 + np.exp(-z)))[..., None, None]

    phi, psi = gate_of(norm.phi, norm.phi_norm), gate_of(norm.psi, norm.psi_norm)
    expected = phi * deviation * (n - mean) / deviation + psi * mean
    assert np.allclose(norm(X).detach().numpy(), expected, atol=1e-4)


@pytest.mark.parametrize("start", [0.5, 0.95])
def test_gates_start_where_asked(start: float) -> None:
    """Half open, each of ten blocks halves the map; nearly open, most of it passes all ten."""
    torch.manual_seed(0)
    x = torch.randn(64, 8, 5, 5)
    passed = x
    with torch.no_grad():
        for _ in range(10):
            passed = SelfNorm(8, start)(passed)
    assert float(passed.std() / x.std()) ** 0.1 == pytest.approx(start, abs=0.06)


def test_a_map_of_one_pixel_stays_finite() -> None:
    x = torch.randn(4, 3, 1, 1)
    assert SelfNorm(3)(x).isfinite().all()
    assert torch.allclose(cross_norm(x, "sample", torch.tensor([1, 0, 3, 2])), x[[1, 0, 3, 2]])


def test_sites_are_drawn_as_often_as_asked() -> None:
    torch.manual_seed(0)
    sites = [NormSite(2, None, "sample") for _ in range(5)]
    counts = [len(choose_sites(sites, 0.25, 2)) for _ in range(2000)]
    assert np.mean([n > 0 for n in counts]) == pytest.approx(0.25, abs=0.03)
    assert set(counts) == {0, 1, 2}
    assert choose_sites(sites, 0.0, 2) == []
