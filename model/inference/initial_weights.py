"""Initial weights of a network: random, from the shipped network, or from a file.

A file is a checkpoint of this software, or the state dict of a torchvision network, such as
its ImageNet weights. The last layer of a depth network is kept where the depth classes are the
same, and initialised at random otherwise.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from fgaf.base.errors import FgafError, FormatError, SettingError
from fgaf.dataset.archive import ArchiveHeader
from fgaf.model.inference.card import require_task
from fgaf.model.inference.checkpoint import Checkpoint, read_torch
from fgaf.model.networks.backbones import BACKBONES
from fgaf.model.networks.settings import RANDOM, TrainSettings

SHIPPED = "sim"

_SHAPING = {
    "depth": (
        "backbone",
        "fgaf",
        "width",
        "fg",
        "af",
        "insertion",
        "branch_input",
        "self_norm",
        "head",
        "importance",
        "focus_features",
    ),
    "heads": ("backbone",),
}


def shipped() -> Checkpoint:
    """Load the network that ships with fgaf, trained on simulated cells only."""
    with as_file(files("fgaf.model.inference") / "weights" / "sim.safetensors") as path:
        return Checkpoint.load(path)


@dataclass(frozen=True)
class InitialWeights:
    """Weights to start from.

    Attributes
    ----------
    name
        The value of the setting `start`.
    checkpoint
        A checkpoint of this software, or None.
    state
        State dict of a torchvision network, if there is no checkpoint.
    sha256
        Checksum of the file; empty for the shipped network.
    """

    name: str
    checkpoint: Checkpoint | None
    state: Mapping[str, Tensor]
    sha256: str = ""

    @classmethod
    def load(cls, name: str) -> "InitialWeights | None":
        """Find the weights given by the setting `start`; None for "random".

        Raises
        ------
        FgafError
            No such file, or it holds no weights.
        """
        if name == RANDOM:
            return None
        if name == SHIPPED:
            return cls(name, shipped(), {})
        path = Path(name)
        if path.is_dir():
            path = path / "checkpoint.pt"
        if not path.is_file():
            raise FgafError(
                f"{path} does not exist; give 'sim', a file of weights or the folder of a run"
            )
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if path.suffix == ".safetensors":
            return cls(name, Checkpoint.load(path), {}, digest)
        try:
            content = read_torch(path)
        except FormatError as error:
            raise FormatError(
                f"{error}; give a complete checkpoint or state dict (.pth)"
            ) from error
        if isinstance(content, dict) and content.get("format"):
            return cls(name, Checkpoint.load(path), {}, digest)
        if not isinstance(content, dict) or not all(
            isinstance(v, Tensor) for v in content.values()
        ):
            raise FgafError(f"{path} has no state dict; give the weights of a torchvision network")
        return cls(name, None, content, digest)

    def apply(self, network: nn.Module, settings: TrainSettings, header: ArchiveHeader) -> None:
        """Put the weights into a network that was built with `settings`.

        Parameters
        ----------
        network
            Its weights are replaced.
        settings
            Settings it was built with.
        header
            Header of the archive to train on; its depth classes decide whether the last layer fits.

        Raises
        ------
        FgafError
            They are of another network; the message says which setting differs.
        """
        if self.checkpoint is None:
            require_task("depth", settings.task, self.name)
            self._apply_torchvision(network, settings)
        else:
            require_task(self.checkpoint.settings.task, settings.task, self.name)
            self._apply_checkpoint(network, settings, header)

    def _apply_checkpoint(
        self, network: nn.Module, settings: TrainSettings, header: ArchiveHeader
    ) -> None:
        assert self.checkpoint is not None  # noqa: S101 - `apply` checks this
        its = self.checkpoint.settings
        for key in _SHAPING[settings.task]:
            mine, theirs = getattr(settings, key), getattr(its, key)
            if mine != theirs:
                raise SettingError(
                    f"{self.name} was trained with {key} = {theirs}, not {mine}; "
                    f"--set {key}={str(theirs).lower()}, or start from random weights"
                )
        if settings.task == "heads":
            network.load_state_dict(self.checkpoint.weights)
            return
        keep = (
            self.checkpoint.step_um == header.step_um
            and self.checkpoint.half_range_um == header.half_range_um
            and (its.loss == "corn") == (settings.loss == "corn")
        )
        head = f"network.{BACKBONES[settings.backbone].head}."
        state = {
            name: value
            for name, value in self.checkpoint.weights.items()
            if keep or not name.startswith(head)
        }
        network.load_state_dict(state, strict=False)

    def _apply_torchvision(self, network: nn.Module, settings: TrainSettings) -> None:
        """Load what fits: a colour stem is summed to grey; all heads are left out."""
        chosen = BACKBONES[settings.backbone]
        places = [path for path, _ in chosen.insertions(settings.insertion) if settings.fgaf]
        places += [path for path, _ in chosen.stages[-1:] if settings.importance]
        own = network.state_dict()
        fitting: dict[str, Tensor] = {}
        for name, given in self.state.items():
            if name.startswith((f"{chosen.head}.", "aux1.", "aux2.")):
                continue
            value = given
            if name == f"{chosen.stem}.weight" and given.ndim == 4:
                value = given.sum(dim=1, keepdim=True)
            path = next((p for p in places if name.startswith(f"{p}.")), None)
            target = f"network.{name if path is None else f'{path}.0{name[len(path) :]}'}"
            if target not in own or own[target].shape != value.shape:
                raise SettingError(
                    f"{self.name} is from another network than {settings.backbone}, which has no "
                    f"{name}; choose the matching --backbone"
                )
            fitting[target] = value
        stem = f"network.{chosen.stem}.weight"
        if stem not in fitting:
            raise SettingError(
                f"{self.name} has no {chosen.stem}.weight of {settings.backbone}; "
                "choose the matching --backbone"
            )
        network.load_state_dict(fitting, strict=False)


def facts(start: InitialWeights | None) -> dict[str, Any]:
    """The entry in `metrics.json` about the initial weights."""
    return {"start": start.name if start else RANDOM, "start_sha256": start.sha256 if start else ""}
