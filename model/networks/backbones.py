"""The nine torchvision networks of Table I and a small ConvNeXt, and where the module goes in each.

A `DepthNetwork` is one of them with a grayscale stem, the module after one or more of its maps, and
CrossNorm and SelfNorm, both optional, after every block.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torchvision.models import ConvNeXt, GoogLeNet, MobileNetV2, ResNet, ShuffleNetV2
from torchvision.models.convnext import CNBlockConfig
from torchvision.models.googlenet import BasicConv2d, Inception, InceptionAux
from torchvision.models.mobilenetv2 import InvertedResidual as MobileBlock
from torchvision.models.resnet import BasicBlock, Bottleneck
from torchvision.models.shufflenetv2 import InvertedResidual as ShuffleBlock

from fgaf.model.networks.beside import FocusFeatures, Importance, PlaceHead
from fgaf.model.networks.fgaf import FGAF, FGAFSettings
from fgaf.model.networks.norms import NormSite, Partner, choose_sites

Insertion = Literal["last", "third", "second", "every"]


class SiteBasicBlock(BasicBlock):  # type: ignore[misc]
    """ResNet's two-layer block with optional norms before its last ReLU."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.site: nn.Module = nn.Identity()
        self.site_channels: int = self.conv2.out_channels

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to (B, C, H, W)."""
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out = out + (x if self.downsample is None else self.downsample(x))
        activated: Tensor = self.relu(self.site(out))
        return activated


class SiteBottleneck(Bottleneck):  # type: ignore[misc]
    """ResNet's three-layer block with optional norms before its last ReLU."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.site: nn.Module = nn.Identity()
        self.site_channels: int = self.conv3.out_channels

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to (B, C, H, W)."""
        out = self.relu(self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x))))))
        out = self.bn3(self.conv3(out))
        out = out + (x if self.downsample is None else self.downsample(x))
        activated: Tensor = self.relu(self.site(out))
        return activated


class SiteMobileBlock(MobileBlock):  # type: ignore[misc]
    """MobileNetV2's block, which ends without a ReLU, with optional norms after it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.site: nn.Module = nn.Identity()
        self.site_channels: int = self.out_channels

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to (B, C, H, W)."""
        out: Tensor = self.site(super().forward(x))
        return out


class SiteShuffleBlock(ShuffleBlock):  # type: ignore[misc]
    """ShuffleNetV2's block with optional norms after the shuffle."""

    def __init__(self, inp: int, oup: int, stride: int) -> None:
        super().__init__(inp, oup, stride)
        self.site: nn.Module = nn.Identity()
        self.site_channels: int = 2 * (oup // 2)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to (B, C, H, W)."""
        out: Tensor = self.site(super().forward(x))
        return out


class SiteInception(Inception):  # type: ignore[misc]
    """GoogLeNet's block with optional norms after its branches are joined."""

    def __init__(
        self,
        in_channels: int,
        ch1x1: int,
        ch3x3red: int,
        ch3x3: int,
        ch5x5red: int,
        ch5x5: int,
        pool_proj: int,
    ) -> None:
        super().__init__(in_channels, ch1x1, ch3x3red, ch3x3, ch5x5red, ch5x5, pool_proj)
        self.site: nn.Module = nn.Identity()
        self.site_channels: int = ch1x1 + ch3x3 + ch5x5 + pool_proj

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to (B, C, H, W)."""
        out: Tensor = self.site(super().forward(x))
        return out


_SITED = (SiteBasicBlock, SiteBottleneck, SiteMobileBlock, SiteShuffleBlock, SiteInception)


@dataclass(frozen=True)
class Backbone:
    """One network: of Table I, or a rival.

    Parameters
    ----------
    name
        Name in torchvision and on the command line.
    build
        torchvision's function that builds it for a number of classes.
    stem
        Path of its first convolution.
    head
        Path of its last linear layer.
    stages
        Path and channels of the map at 1/4 (if there is one), 1/8, 1/16 and, last, 1/32 of the
        input's size; of ConvNeXt at 1/2, 1/4 and 1/8.
    """

    name: str
    build: Callable[[int], nn.Module]
    stem: str
    head: str
    stages: tuple[tuple[str, int], ...]

    def insertions(self, where: Insertion) -> tuple[tuple[str, int], ...]:
        """List path and channels of the maps the module follows."""
        return {
            "last": self.stages[-1:],
            "third": self.stages[-2:-1],
            "second": self.stages[-3:-2],
            "every": self.stages,
        }[where]


def _resnet(name: str, block: type[nn.Module], layers: list[int], expansion: int) -> Backbone:
    def build(classes: int) -> nn.Module:
        network: nn.Module = ResNet(block, layers, num_classes=classes)
        return network

    stages = tuple((f"layer{k}", 32 * 2**k * expansion) for k in (1, 2, 3, 4))
    return Backbone(name, build, "conv1", "fc", stages)


def _mobilenet(classes: int) -> nn.Module:
    network: nn.Module = MobileNetV2(num_classes=classes, block=SiteMobileBlock)
    return network


def _googlenet(classes: int) -> nn.Module:
    blocks = [BasicConv2d, SiteInception, InceptionAux]
    network: nn.Module = GoogLeNet(num_classes=classes, init_weights=False, blocks=blocks)
    return network


def _shufflenet(name: str, channels: list[int]) -> Backbone:
    def build(classes: int) -> nn.Module:
        network: nn.Module = ShuffleNetV2(
            [4, 8, 4], channels, num_classes=classes, inverted_residual=SiteShuffleBlock
        )
        return network

    stages = (("stage2", channels[1]), ("stage3", channels[2]), ("conv5", channels[4]))
    return Backbone(name, build, "conv1.0", "fc", stages)


def _convnext(classes: int) -> nn.Module:
    stages = [CNBlockConfig(64, 128, 2), CNBlockConfig(128, 256, 4), CNBlockConfig(256, None, 2)]
    network: nn.Module = ConvNeXt(stages, num_classes=classes, layer_scale=0.1)
    return network


_ALL = (
    _resnet("resnet18", SiteBasicBlock, [2, 2, 2, 2], 1),
    _resnet("resnet34", SiteBasicBlock, [3, 4, 6, 3], 1),
    _resnet("resnet50", SiteBottleneck, [3, 4, 6, 3], 4),
    Backbone(
        "mobilenet_v2",
        _mobilenet,
        "features.0.0",
        "classifier.1",
        (("features.3", 24), ("features.6", 32), ("features.13", 96), ("features.18", 1280)),
    ),
    Backbone(
        "googlenet",
        _googlenet,
        "conv1.conv",
        "fc",
        (("conv3", 192), ("inception3b", 480), ("inception4e", 832), ("inception5b", 1024)),
    ),
    _shufflenet("shufflenet_v2_x0_5", [24, 48, 96, 192, 1024]),
    _shufflenet("shufflenet_v2_x1_0", [24, 116, 232, 464, 1024]),
    _shufflenet("shufflenet_v2_x1_5", [24, 176, 352, 704, 1024]),
    _shufflenet("shufflenet_v2_x2_0", [24, 244, 488, 976, 2048]),
    Backbone(
        "convnext",
        _convnext,
        "features.0.0",
        "classifier.2",
        (("features.1", 64), ("features.3", 128), ("features.5", 256)),
    ),
)
BACKBONES: dict[str, Backbone] = {backbone.name: backbone for backbone in _ALL}


class DepthNetwork(nn.Module):
    """A backbone on one-channel patches: (B, 1, S, S) normalised to (B, outputs) logits.

    Parameters
    ----------
    backbone
        A key of `BACKBONES`.
    outputs
        Outputs per patch; for most losses the number of depth classes.
    module
        Settings of the FGAF module; None for the bare network.
    insertion
        After the last map, the third stage's, or every stage's.
    view
        Share of the patch's side that is used, around the centre; 0 for all of it, as in old
        checkpoints.
    stem_stride
        Stride of the first convolution, 2 as published or 1.
    self_norm
        Whether SelfNorm follows every block.
    cross_norm
        The partner of CrossNorm; None for none.
    cross_norm_p
        Probability that a training batch is swapped.
    cross_norm_sites
        Maximum number of blocks that swap in one batch.
    cross_norm_counts
        Whether swapped batches enter the running statistics of batch normalisation.
    self_norm_start
        Value of SelfNorm's gates at the start, between 0 and 1.
    place
        Whether one number is regressed and turned into the outputs, see
        `fgaf.model.networks.beside`.
    importance
        Whether the places of the last map are weighed.
    focus_features
        Whether outputs from focus measures of the patch are added.
    """

    def __init__(
        self,
        backbone: str,
        outputs: int,
        *,
        module: FGAFSettings | None = None,
        insertion: Insertion = "last",
        view: float = 1.0,
        stem_stride: int = 2,
        self_norm: bool = False,
        cross_norm: Partner | None = None,
        cross_norm_p: float = 0.5,
        cross_norm_sites: int = 2,
        cross_norm_counts: bool = True,
        self_norm_start: float = 0.95,
        place: bool = False,
        importance: bool = False,
        focus_features: bool = False,
    ) -> None:
        super().__init__()
        chosen = BACKBONES[backbone]
        numbers = 1 if place else outputs
        network = chosen.build(numbers)
        if isinstance(network, GoogLeNet):
            network.aux_logits, network.aux1, network.aux2 = False, None, None
        _grayscale(network, chosen.stem, stem_stride)
        self.view = view or 1.0
        self.cross_norm_p = cross_norm_p
        self.cross_norm_sites = cross_norm_sites
        self.cross_norm_counts = cross_norm_counts
        self._sites: list[NormSite] = []
        if self_norm or cross_norm:
            self._sites = _add_sites(network, self_norm_start if self_norm else None, cross_norm)
        added: dict[str, list[nn.Module]] = {}
        if module is not None:
            for path, channels in chosen.insertions(insertion):
                added.setdefault(path, []).append(FGAF(channels, module))
        if importance:
            path, channels = chosen.stages[-1]
            added.setdefault(path, []).append(Importance(channels))
        for path, layers in added.items():
            network.set_submodule(path, nn.Sequential(network.get_submodule(path), *layers))
        self.network = network
        self.beside = FocusFeatures(numbers) if focus_features else None
        self.head = PlaceHead(outputs) if place else None
        self.swaps = cross_norm is not None

    def forward(self, x: Tensor, classes: Tensor | None = None) -> Tensor:
        """Compute logits of a batch.

        Parameters
        ----------
        x
            (B, 1, S, S) normalised patches.
        classes
            (B,) depth classes, for CrossNorm between equal depths in training.
        """
        side = x.shape[-1]
        looked = round(self.view * side)
        seen = slice((side - looked) // 2, (side + looked) // 2)
        with self._swapping(classes):
            out: Tensor = self.network(x[..., seen, seen])
        if self.beside is not None:
            out = out + self.beside(x)
        return out if self.head is None else self.head(out)

    @contextmanager
    def _swapping(self, classes: Tensor | None) -> Iterator[None]:
        chosen: list[NormSite] = []
        if self.training and self.swaps:
            chosen = choose_sites(self._sites, self.cross_norm_p, self.cross_norm_sites)
        uncounted = [] if self.cross_norm_counts or not chosen else list(_batch_norms(self))
        momenta = [norm.momentum for norm in uncounted]
        for site in chosen:
            site.swapping, site.classes = True, classes
        for norm in uncounted:
            norm.momentum = 0.0
        try:
            yield
        finally:
            for site in chosen:
                site.swapping, site.classes = False, None
            for norm, momentum in zip(uncounted, momenta, strict=True):
                norm.momentum = momentum


def _batch_norms(network: nn.Module) -> Iterator[nn.BatchNorm1d | nn.BatchNorm2d]:
    return (m for m in network.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d))


def _grayscale(network: nn.Module, path: str, stride: int) -> None:
    """Replace the stem by a newly initialised one with a single input channel."""
    stem = network.get_submodule(path)
    if not isinstance(stem, nn.Conv2d):
        raise TypeError(f"{path} is not a convolution")
    kernel, padding = stem.kernel_size[0], stem.kernel_size[0] // 2
    fresh = nn.Conv2d(1, stem.out_channels, kernel, stride, padding, bias=False)
    nn.init.kaiming_normal_(fresh.weight, mode="fan_out", nonlinearity="relu")
    network.set_submodule(path, fresh)


def _add_sites(
    network: nn.Module, self_norm: float | None, partner: Partner | None
) -> list[NormSite]:
    sites = []
    for block in network.modules():
        if isinstance(block, _SITED):
            site = NormSite(block.site_channels, self_norm, partner)
            block.site = site
            sites.append(site)
    return sites


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Keep a network in evaluation mode inside the block."""
    was_training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(was_training)


def parameters(network: nn.Module) -> int:
    """Count the trainable parameters of a network."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def macs(network: nn.Module, side: int, channels: int = 1) -> int:
    """Count multiply-accumulates of convolutions and linear layers for one patch.

    Parameters
    ----------
    network
        It takes (1, channels, side, side).
    side
        Side of the patch, pixels.
    channels
        Channels of the patch.
    """
    total = 0

    def count(layer: nn.Module, _: Any, out: Tensor) -> None:
        nonlocal total
        if isinstance(layer, nn.Linear):
            total += layer.weight.numel() * (out.numel() // out.shape[-1])
        elif isinstance(layer, nn.Conv2d):
            total += layer.weight.numel() * out.shape[-2] * out.shape[-1]

    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    handles = [layer.register_forward_hook(count) for layer in layers]
    try:
        with evaluating(network), torch.no_grad():
            network(torch.zeros(1, channels, side, side))
    finally:
        for handle in handles:
            handle.remove()
    return total
