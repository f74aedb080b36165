"""Checkpoints: a network with everything needed to use it, and the state to resume a run from.

Both are written completely or not at all. They hold a checksum of their content, which is compared
on reading, and reading them executes no code.
"""

import json
import zipfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fgaf.base.bounds import (
    AnyCount,
    Epochs,
    HalfRangeUm,
    PatchPx,
    StepUm,
    Temperature,
    require_bounded,
)
from fgaf.base.errors import FgafError, FormatError
from fgaf.base.files import publishing
from fgaf.base.inputs import parse_json
from fgaf.dataset.archive import class_depths
from fgaf.dataset.storage.deferred_error_file import deferred_error_file
from fgaf.dataset.storage.header import software, utc_now
from fgaf.dataset.storage.optics import Optics
from fgaf.model.inference.digest import digest_of
from fgaf.model.inference.images import Scale
from fgaf.model.inference.out_of_distribution import Familiar
from fgaf.model.networks.backbones import DepthNetwork
from fgaf.model.networks.fgaf import FGAFSettings
from fgaf.model.networks.losses import outputs
from fgaf.model.networks.settings import TrainSettings
from fgaf.model.networks.unext import SEGMENTERS, UNeXt

FORMAT = "fgaf-checkpoint"
STATE_FORMAT = "fgaf-training-state"
FORMAT_VERSION = 6
"""4: may describe the range of training patches; this part is not read from versions 2 and 3.
5: holds a checksum of its content. 6: its network may be one that segments heads."""
SAFETENSORS = ".safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """A trained network and what it was trained on.

    Parameters
    ----------
    settings
        All settings of the run.
    weights
        Weights of the network, by name.
    scale
        Grey values to network input.
    step_um, half_range_um
        The depth classes.
    patch_px
        Side of a patch.
    optics
        Optics of the training archive.
    archive_name, archive_fingerprint
        Name and fingerprint of the training archive.
    epoch
        Epochs trained.
    temperature
        Temperature of the logits, from the validation cells.
    least_px
        Pixels of the smallest region that is a head; 0 for a depth network.
    metrics
        Metrics of the test cells; empty before the evaluation.
    familiar
        The range of training patches; None where there was nothing to learn it from.
    created_utc, software
        When and by which version of fgaf it was written.
    """

    settings: TrainSettings
    weights: dict[str, Tensor]
    scale: Scale
    step_um: StepUm
    half_range_um: HalfRangeUm
    patch_px: PatchPx
    optics: Optics
    archive_name: str
    archive_fingerprint: str
    epoch: Epochs
    temperature: Temperature = 1.0
    least_px: AnyCount = 0
    metrics: dict[str, Any] = field(default_factory=dict)
    familiar: Familiar | None = None
    created_utc: str = field(default_factory=utc_now)
    software: str = field(default_factory=software)

    def __post_init__(self) -> None:
        require_bounded(self)

    @property
    def class_depths_um(self) -> npt.NDArray[np.float64]:
        """(C,) depth of each class, ascending, in µm."""
        return class_depths(self.half_range_um, self.step_um)

    def network(self) -> nn.Module:
        """Build the network with these weights, ready to predict."""
        network = build_network(self.settings, len(self.class_depths_um))
        network.load_state_dict(self.weights)
        return network.eval()

    def save(self, path: Path) -> None:
        """Write the checkpoint, replacing an older one; as safetensors if the suffix says so."""
        header = {
            "settings": asdict(self.settings),
            "scale": asdict(self.scale),
            "optics": self.optics.model_dump(),
        }
        header |= {key: getattr(self, key) for key in _PLAIN}
        tensors = dict(self.weights)
        if self.familiar:
            header["familiar"] = self.familiar.numbers()
            own = self.familiar.tensors().items()
            tensors |= {_FAMILIAR + name: value for name, value in own}
        if path.suffix == SAFETENSORS:
            _write_safetensors(path, header, tensors)
            return
        _write(path, FORMAT, {"header": json.dumps(header), "weights": tensors})

    @classmethod
    def load(cls, path: Path) -> "Checkpoint":
        """Read a checkpoint.

        Raises
        ------
        FgafError
            There is no such file.
        FormatError
            Not a checkpoint, newer than this software, truncated or altered.
        """
        content = _read_safetensors(path) if path.suffix == SAFETENSORS else _read(path, FORMAT)
        try:
            header = parse_json(content["header"])
            own = {name for name in content["weights"] if name.startswith(_FAMILIAR)}
            tensors = {name.removeprefix(_FAMILIAR): content["weights"].pop(name) for name in own}
            numbers = header.pop("familiar", None)
            numbers = numbers if content["format_version"] >= _TELLS_FAMILIAR else None
            return cls(
                settings=TrainSettings().with_values(header.pop("settings")),
                scale=Scale(**header.pop("scale")),
                optics=Optics(**header.pop("optics")),
                weights=content["weights"],
                familiar=Familiar.restore(numbers, tensors) if numbers else None,
                **header,
            )
        except (KeyError, TypeError, ValueError, FgafError) as error:
            raise FormatError(f"{path} is damaged: {error}; train again") from error


SHA256 = "sha256"
_TELLS_FAMILIAR, _SEALED = 4, 5
_FAMILIAR = "familiar."
_PLAIN = (
    "step_um",
    "half_range_um",
    "patch_px",
    "archive_name",
    "archive_fingerprint",
    "epoch",
    "temperature",
    "least_px",
    "metrics",
    "created_utc",
    "software",
)


def build_network(settings: TrainSettings, n_classes: int) -> nn.Module:
    """Build the untrained network that the settings describe.

    Parameters
    ----------
    settings
        Task, backbone, module and the other settings of the network.
    n_classes
        Number of depth classes.
    """
    if settings.task == "heads":
        return UNeXt(SEGMENTERS[settings.backbone])
    return DepthNetwork(
        settings.backbone,
        outputs(settings.loss, n_classes),
        module=settings.part(FGAFSettings) if settings.fgaf else None,
        insertion=settings.insertion,
        view=settings.view,
        stem_stride=settings.stem_stride,
        self_norm=settings.self_norm,
        cross_norm=None if settings.cross_norm == "off" else settings.cross_norm,
        cross_norm_p=settings.cross_norm_p,
        cross_norm_sites=settings.cross_norm_sites,
        cross_norm_counts=settings.cross_norm_counts,
        self_norm_start=settings.self_norm_start,
        place=settings.head == "place",
        importance=settings.importance,
        focus_features=settings.focus_features,
    )


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write the state to resume a run from: tensors, numbers, texts, in dicts and lists.

    Parameters
    ----------
    path
        The file; an older one is replaced.
    state
        The state.
    """
    _write(path, STATE_FORMAT, state)


def load_state(path: Path) -> dict[str, Any]:
    """Read what `save_state` wrote; raises as `Checkpoint.load`."""
    return _read(path, STATE_FORMAT)


def read_torch(path: Path) -> Any:
    """Read a file of `torch.save` as data; damaged bytes are never interpreted.

    Torch itself does not check the checksums in its files.

    Raises
    ------
    FormatError
        Damaged, truncated, or not readable without executing code.
    """
    try:
        with path.open("rb") as file:
            archive = file.read(4) == b"PK\3\4"  # before 1.6, torch wrote without checksums
        if archive:
            with zipfile.ZipFile(path) as container:
                damaged = container.testzip()
            if damaged is not None:
                raise zipfile.BadZipFile(damaged)
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # any error of torch, pickle and zip
        raise FormatError(
            f"{path} is damaged, or has no weights that can be read safely; use another copy of it"
        ) from error


def _write_safetensors(path: Path, header: dict[str, Any], weights: dict[str, Tensor]) -> None:
    from safetensors.torch import save

    content = _sealed(FORMAT, {"header": json.dumps(header), "weights": weights})
    metadata = {key: str(value) for key, value in content.items() if key != "weights"}
    with publishing(path, overwrite=True) as part, deferred_error_file(part) as disk:
        disk.write(save(weights, metadata))


def _read_safetensors(path: Path) -> dict[str, Any]:
    from safetensors import safe_open

    _require_there(path)
    try:
        with safe_open(path, "pt") as file:
            content: dict[str, Any] = dict(file.metadata() or {})
            content["weights"] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        content["format_version"] = int(content.get("format_version", 0))
    except OSError:
        raise
    except Exception as error:  # any error of torch and safetensors
        raise FormatError(
            f"{path} is damaged or not a safetensors file; copy it from its source again"
        ) from error
    return _checked(path, content, FORMAT)


def _write(path: Path, kind: str, content: dict[str, Any]) -> None:
    with publishing(path, overwrite=True) as part, deferred_error_file(part) as disk:
        torch.save(_sealed(kind, content), cast(IO[bytes], disk))


def _read(path: Path, expected: str) -> dict[str, Any]:
    _require_there(path)
    try:
        content = read_torch(path)
    except FormatError as error:
        raise FormatError(
            f"{path} is not a checkpoint of fgaf, or is damaged or truncated; "
            "copy it from its source again, or train again"
        ) from error
    return _checked(path, content, expected)


def _require_there(path: Path) -> None:
    if not path.is_file():
        raise FgafError(
            f"{path} does not exist; give a checkpoint, or the folder of a finished training run"
        )


def _sealed(kind: str, content: dict[str, Any]) -> dict[str, Any]:
    """Content with its format, version and checksum."""
    whole = {"format": kind, "format_version": FORMAT_VERSION, **content}
    return whole | {SHA256: digest_of(whole)}


def _checked(path: Path, content: Any, expected: str) -> dict[str, Any]:
    """Refuse content of another format, of a newer version, or altered after writing."""
    if not isinstance(content, dict) or content.get("format") != expected:
        raise FormatError(f"{path} is not a {expected} file; give the folder of a training run")
    version = content.get("format_version")
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise FormatError(f"{path} is from a newer version of fgaf; update this installation")
    seal = content.pop(SHA256, None)
    if (
        not isinstance(version, int)
        or (seal is None and version >= _SEALED)
        or not (seal is None or _matches(seal, content))
    ):
        raise FormatError(
            f"{path} is damaged or was altered: its checksum differs; "
            "copy it from its source again, or train again"
        )
    return content


def _matches(seal: object, content: dict[str, Any]) -> bool:
    try:
        return seal == digest_of(content)
    except TypeError:  # not a type that this program writes
        return False
