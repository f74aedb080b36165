"""The networks: sizes of the paper's nine, places of the module, shapes, gradients."""

from dataclasses import dataclass

import pytest
import torch

from fgaf.model.networks.backbones import BACKBONES, DepthNetwork, macs, parameters
from fgaf.model.networks.fgaf import FGAF, FGAFSettings
from fgaf.model.networks.norms import NormSite
from fgaf.model.networks.settings import BACKBONE_NAMES


@dataclass(frozen=True)
class Case:
    """A network of Table I: its millions of parameters with 1000 classes, and its blocks."""

    name: str
    paper_millions: float
    blocks: int
    last_channels: int


CASES = (
    Case("resnet18", 11.7, 8, 512),
    Case("resnet34", 21.8, 16, 512),
    Case("resnet50", 25.6, 16, 2048),
    Case("mobilenet_v2", 3.5, 17, 1280),
    Case("googlenet", 13.0, 9, 1024),
    Case("shufflenet_v2_x0_5", 1.4, 16, 1024),
    Case("shufflenet_v2_x1_0", 2.3, 16, 1024),
    Case("shufflenet_v2_x1_5", 3.5, 16, 1024),
    Case("shufflenet_v2_x2_0", 7.4, 16, 2048),
)
every_network = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
# The others differ from these in their widths and in how often a block is repeated.
FAMILIES = ("resnet18", "resnet50", "mobilenet_v2", "googlenet", "shufflenet_v2_x0_5")
each_family = pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=[] if case.name in FAMILIES else pytest.mark.slow, id=case.name)
        for case in CASES
    ],
)


def test_the_settings_name_the_same_networks() -> None:
    of_the_paper = tuple(case.name for case in CASES)
    assert tuple(BACKBONES) == BACKBONE_NAMES == (*of_the_paper, "convnext")


def test_convnext_takes_the_module() -> None:
    network = DepthNetwork("convnext", 9, module=FGAFSettings(width=64), insertion="every")
    assert sum(isinstance(m, FGAF) for m in network.modules()) == 3
    assert network(torch.randn(2, 1, 48, 48)).shape == (2, 9)


@every_network
def test_parameters_are_the_papers(case: Case) -> None:
    """Table I counts 1000-class heads and a colour stem, GoogLeNet's auxiliary heads too."""
    total = parameters(BACKBONES[case.name].build(1000))
    assert round(total / 1e6, 1) == case.paper_millions


@every_network
def test_module_and_sites_are_where_they_should_be(case: Case) -> None:
    network = DepthNetwork(
        case.name, 9, module=FGAFSettings(width=64), self_norm=True, cross_norm="sample"
    )
    (module,) = (m for m in network.modules() if isinstance(m, FGAF))
    assert module.norm.num_features == case.last_channels
    assert sum(isinstance(m, NormSite) for m in network.modules()) == case.blocks
    assert BACKBONES[case.name].insertions("last")[0][1] == case.last_channels


@pytest.mark.parametrize("side", [48, 96, 224])
@each_family
def test_shapes(case: Case, side: int) -> None:
    network = DepthNetwork(case.name, 9, module=FGAFSettings(width=64)).eval()
    with torch.inference_mode():
        assert network(torch.zeros(1, 1, side, side)).shape == (1, 9)


@pytest.mark.parametrize("insertion", ["last", "third", "every"])
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "googlenet", "shufflenet_v2_x0_5"])
def test_insertions_of_the_halving_module(name: str, insertion: str) -> None:
    settings = FGAFSettings(width=64, residual=False, pooling="halve")
    network = DepthNetwork(name, 9, module=settings, insertion=insertion).eval()
    found = sum(isinstance(m, FGAF) for m in network.modules())
    assert found == len(BACKBONES[name].insertions(insertion))
    with torch.inference_mode():
        assert network(torch.zeros(1, 1, 48, 48)).shape == (1, 9)


@each_family
def test_bfloat16_gradients_are_finite(case: Case) -> None:
    torch.manual_seed(0)
    network = DepthNetwork(
        case.name, 9, module=FGAFSettings(width=64), self_norm=True, cross_norm="depth",
        cross_norm_p=1.0,
    )  # fmt: skip
    classes = torch.tensor([0, 0, 5, 5])
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(torch.randn(4, 1, 48, 48), classes)
    torch.nn.functional.cross_entropy(logits.float(), classes).backward()
    missing = [name for name, p in network.named_parameters() if p.grad is None]
    assert missing == []
    assert all(p.grad.isfinite().all() for p in network.parameters() if p.grad is not None)


def test_residual_module_starts_as_the_bare_network() -> None:
    torch.manual_seed(0)
    bare = DepthNetwork("shufflenet_v2_x0_5", 9).eval()
    torch.manual_seed(0)
    with_module = DepthNetwork("shufflenet_v2_x0_5", 9, module=FGAFSettings(width=64)).eval()
    x = torch.randn(2, 1, 48, 48)
    with torch.inference_mode():
        assert torch.equal(bare(x), with_module(x))


def test_stem_is_grey_and_of_the_stride_asked() -> None:
    network = DepthNetwork("shufflenet_v2_x0_5", 9, stem_stride=1)
    stem = network.network.get_submodule("conv1.0")
    assert (stem.in_channels, stem.stride) == (1, (1, 1))


def test_cross_norm_acts_in_training_only() -> None:
    torch.manual_seed(0)
    network = DepthNetwork("resnet18", 9, cross_norm="sample", cross_norm_p=1.0)
    x = torch.randn(4, 1, 32, 32)
    with torch.inference_mode():
        assert not torch.equal(network(x), network(x))
        assert torch.equal(network.eval()(x), network(x))


@pytest.mark.parametrize("counts", [True, False])
def test_swapped_batches_enter_the_running_statistics_only_where_asked(counts: bool) -> None:
    torch.manual_seed(0)
    network = DepthNetwork(
        "resnet18", 9, self_norm=True, cross_norm="channel", cross_norm_p=1.0,
        cross_norm_counts=counts,
    )  # fmt: skip
    before = {name: value.clone() for name, value in network.named_buffers() if "mean" in name}
    x = torch.randn(4, 1, 32, 32)
    network(x)
    own = dict(network.named_buffers())
    assert all(torch.equal(own[name], value) for name, value in before.items()) is not counts
    network.cross_norm_p = 0.0
    network(x)
    assert not any(torch.equal(own[name], value) for name, value in before.items())


def test_macs_of_a_known_layer() -> None:
    """A 1 -> 4 convolution of 3 x 3 at 8 x 8 without padding, 6 -> 5 on each row, then 120 -> 2."""
    layers = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3),
        torch.nn.Linear(6, 5),
        torch.nn.Flatten(),
        torch.nn.Linear(4 * 30, 2),
    )
    assert macs(layers, 8) == 36 * 36 + 24 * 30 + 120 * 2
