"""Starting weights: torchvision's, a run's, the shipped network's, and what is refused."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from fgaf.base.errors import FgafError, SettingError
from fgaf.dataset.archive import Archive
from fgaf.model import inference
from fgaf.model.inference.checkpoint import Checkpoint, build_network
from fgaf.model.inference.initial_weights import InitialWeights
from fgaf.model.networks.backbones import BACKBONES
from fgaf.model.networks.settings import TrainSettings, preset
from fgaf.model.training.train import train as train_and_draw

train = partial(train_and_draw, pictures=False)


def quick(**values: Any) -> TrainSettings:
    small = {"backbone": "shufflenet_v2_x0_5", "width": 32, "batch": 16, "threads": 1}
    return preset("default").with_values({**small, "stem_stride": 2, "epochs": 1, **values})


def started(name: str, archive: Archive, **values: Any) -> torch.nn.Module:
    settings = preset("default").with_values({"stem_stride": 2, **values})
    network = build_network(settings, archive.n_classes)
    start = InitialWeights.load(name)
    assert start is not None
    start.apply(network, settings, archive.header)
    return network.eval()


def test_a_checkpoint_with_the_schedule_s_old_word_opens() -> None:
    path = Path(inference.__path__[0]) / "weights" / "sim.safetensors"
    assert b"onecycle" in path.read_bytes()
    assert Checkpoint.load(path).settings.schedule == "warmup_cosine"


@pytest.mark.parametrize("insertion", ["third", "every"])
@pytest.mark.parametrize(
    "backbone", ["resnet18", "mobilenet_v2", "googlenet", "shufflenet_v2_x0_5"]
)
def test_colour_weights_see_grey_as_equal_colours(
    backbone: str, insertion: str, archive: Archive, tmp_path: Path
) -> None:
    """Until the head: a grey patch in all three colours gives the same features."""
    torch.manual_seed(1)
    chosen = BACKBONES[backbone]
    colour = chosen.build(1000).eval()
    torch.save(colour.state_dict(), tmp_path / "imagenet.pth")
    network = started(str(tmp_path / "imagenet.pth"), archive, backbone=backbone,
                      insertion=insertion, width=32)  # fmt: skip
    for whole in (colour, network.network):
        whole.set_submodule(chosen.head, torch.nn.Identity())
    colour.transform_input = False
    x = torch.randn(2, 1, 64, 64)
    with torch.inference_mode():
        expected, found = colour(x.expand(2, 3, 64, 64)), network(x)
    assert torch.allclose(expected, found, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


def test_a_run_starts_from_another(
    archive: Archive, make_archive: Callable[..., Archive], tmp_path: Path
) -> None:
    train(archive, quick(), tmp_path / "first")
    old = Checkpoint.load(tmp_path / "first" / "checkpoint.pt")
    old.save(tmp_path / "first.safetensors")
    for name in ("first", "first.safetensors"):
        network = started(str(tmp_path / name), archive, **vars(quick()))
        assert all(torch.equal(network.state_dict()[k], v) for k, v in old.weights.items())
    wide = make_archive(half_range_um=1.5)
    network = started(str(tmp_path / "first"), wide, **vars(quick()))
    head = f"network.{BACKBONES[old.settings.backbone].head}.weight"
    assert network.state_dict()[head].shape[0] == 7
    assert torch.equal(network.state_dict()["network.conv1.0.weight"],
                       old.weights["network.conv1.0.weight"])  # fmt: skip
    metrics = train(archive, quick(start=str(tmp_path / "first")), tmp_path / "second")
    assert len(metrics["start_sha256"]) == 64


def test_safetensors_hold_the_whole_checkpoint(archive: Archive, tmp_path: Path) -> None:
    train(archive, quick(), tmp_path)
    old = Checkpoint.load(tmp_path / "checkpoint.pt")
    old.save(tmp_path / "copy.safetensors")
    new = Checkpoint.load(tmp_path / "copy.safetensors")
    assert replace(new, weights={}, familiar=None) == replace(old, weights={}, familiar=None)
    assert new.familiar is not None
    assert old.familiar is not None
    assert new.familiar.numbers() == old.familiar.numbers()
    for mine, its in ((new.weights, old.weights), (new.familiar.tensors(), old.familiar.tensors())):
        assert mine.keys() == its.keys()
        assert all(torch.equal(value, its[name]) for name, value in mine.items())
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "copy.safetensors").read_bytes()[:5000])
    with pytest.raises(FgafError, match=r"cut\.safetensors is damaged"):
        Checkpoint.load(tmp_path / "cut.safetensors")


def test_what_is_no_start_is_refused(archive: Archive, tmp_path: Path) -> None:
    torch.save(BACKBONES["resnet18"].build(5).state_dict(), tmp_path / "r18.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    (tmp_path / "text.pth").write_text("no weights")
    cases = {
        "r18.pth": "from another network than shufflenet",
        "list.pth": "no state dict",
        "text.pth": "no weights",
        "absent.pth": "does not exist",
    }
    for name, needle in cases.items():
        with pytest.raises(FgafError, match=needle) as caught:
            started(str(tmp_path / name), archive)
        assert "\n" not in str(caught.value)
    train(archive, quick(), tmp_path / "run")
    with pytest.raises(SettingError, match="trained with width = 32, not 64"):
        started(str(tmp_path / "run"), archive, **{**vars(quick()), "width": 64})
