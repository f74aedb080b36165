"""What rivals add to a network: regression, importance of places, focus features."""

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from fgaf.model.networks.backbones import DepthNetwork
from fgaf.model.networks.beside import Importance, PlaceHead, focus_features


def test_cross_entropy_of_a_place_is_its_squared_error() -> None:
    """Away from the ends: cross-entropy is half of (place - target)^2 and a constant."""
    places = torch.tensor([3.0, 3.2, 4.6, 5.0])
    target = torch.full((4,), 4)
    loss = F.cross_entropy(PlaceHead(9)(places[:, None] - 4), target, reduction="none")
    squared = (places - 4) ** 2 / 2
    constant = 0.5 * torch.log(torch.tensor(2 * torch.pi))
    assert torch.allclose(loss, squared + constant, atol=0.02)


@pytest.mark.parametrize("place", [-2.0, 0.0, 2.4])
def test_the_expected_class_is_the_place(place: float) -> None:
    logits = PlaceHead(9)(torch.tensor([[place]]))
    expected = float((logits / 0.3).softmax(dim=1) @ torch.arange(9.0))
    assert expected == pytest.approx(4 + place, abs=0.03)


def test_importance_starts_as_the_mean_and_follows_its_scores() -> None:
    torch.manual_seed(0)
    layer, x = Importance(2), torch.randn(3, 2, 4, 5)
    assert torch.allclose(layer(x), x, atol=1e-6)
    layer.score.weight.data[0, 0] = 50.0  # the largest value of the first channel wins
    weighted = layer(x).mean(dim=(2, 3))[:, 0]
    assert torch.allclose(weighted, x[:, 0].amax(dim=(1, 2)), atol=0.1)


def test_focus_features_fall_with_blur_and_follow_contrast() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 1, 48, 48)
    blurred = F.avg_pool2d(x, 3, stride=1, padding=1)
    sharp = focus_features(x)
    assert sharp.shape == (2, 60)
    assert (focus_features(blurred) < sharp).all()
    doubled = focus_features(2 * x) - sharp
    assert torch.allclose(doubled, torch.log(torch.tensor(4.0)).expand_as(doubled), atol=1e-3)
    assert torch.allclose(focus_features(x + 3), sharp, atol=1e-2)


@pytest.mark.parametrize("added", ["place", "importance", "focus_features"])
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "shufflenet_v2_x0_5", "convnext"])
def test_a_network_with_each_has_an_output_per_class(name: str, added: str) -> None:
    torch.manual_seed(0)
    network = DepthNetwork(name, 9, **{added: True})
    logits = network(torch.randn(4, 1, 48, 48))
    assert logits.shape == (4, 9)
    F.cross_entropy(logits, torch.tensor([0, 3, 5, 8])).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
