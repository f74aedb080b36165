"""The card of a model: task, patch, depth classes, optics and origin, for every kind of file."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fgaf.base.bounds import (
    AnyCount,
    HalfRangeUm,
    PatchPx,
    Share,
    StepUm,
    Temperature,
    require_bounded,
)
from fgaf.base.errors import FgafError, FormatError, SettingError
from fgaf.base.inputs import parse_json
from fgaf.dataset.archive import class_depths
from fgaf.dataset.storage.optics import Optics
from fgaf.model.inference.images import Scale
from fgaf.model.networks.settings import TaskName

Kind = Literal["checkpoint", "onnx", "openvino"]
Decoder = Literal["softmax", "corn", "sigmoid"]
Precision = Literal["fp32", "bf16", "int8"]

_NEAR = 0.02
_OPTICS: tuple[tuple[str, str, float], ...] = (
    ("pixel_size_um", "pixels of {:g} µm", _NEAR),
    ("numerical_aperture", "a numerical aperture of {:g}", _NEAR),
    ("medium_index", "a refractive index of {:g} under the objective", _NEAR),
    ("wavelength_um", "light of {:g} µm", 0.05),
)


@dataclass(frozen=True)
class ModelCard:
    """The description of a model, stored in every kind of file.

    Attributes
    ----------
    kind
        Kind of file: "checkpoint", "onnx" or "openvino".
    backbone, fgaf
        Which network, and whether it has the FGAF module.
    patch_px
        Side of a patch.
    step_um, half_range_um
        The depth classes, or the range of depths in training.
    optics
        Optics of the training archive; None where unknown.
    scale
        Grey values to network input.
    decoder
        How the network's outputs become probabilities: "softmax" of them, or "corn", a chain of
        conditional probabilities; "sigmoid" of each pixel for masks of heads.
    temperature
        Divisor of the outputs.
    tta
        Whether the eight symmetries of a patch are averaged.
    precision
        Precision of the arithmetic.
    archive_name, archive_fingerprint, split
        What it was trained on.
    false_alarm
        Share of patches like those of training that are still called out of range; None where the
        model cannot judge it.
    task
        "depth" or "heads".
    threshold, least_px
        Of masks of heads: the probability from which a pixel belongs to a head, and the pixels of
        the smallest region that is one.
    metrics
        Metrics of the test cells, from the training.
    created_utc, software
        When and with what it was trained.
    """

    kind: Kind
    backbone: str
    fgaf: bool
    patch_px: PatchPx
    step_um: StepUm
    half_range_um: HalfRangeUm
    optics: Optics
    scale: Scale
    decoder: Decoder
    temperature: Temperature
    tta: bool
    archive_name: str
    archive_fingerprint: str
    split: str
    created_utc: str
    software: str
    precision: Precision = "fp32"
    false_alarm: Share | None = None
    task: TaskName = "depth"
    threshold: Share = 0.5
    least_px: AnyCount = 0
    metrics: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require_bounded(self)

    @property
    def class_depths_um(self) -> npt.NDArray[np.float64]:
        """(C,) depth of each class, ascending, in µm."""
        return class_depths(self.half_range_um, self.step_um)

    @property
    def tells_range(self) -> bool:
        """Whether the model can call a patch out of range."""
        return self.false_alarm is not None

    def to_json(self) -> str:
        """Write the card as one line of JSON."""
        return json.dumps(asdict(self) | {"optics": self.optics.model_dump()})

    @classmethod
    def from_json(cls, text: str, source: str) -> ModelCard:
        """Read the result of `to_json`.

        Parameters
        ----------
        text
            The JSON.
        source
            Named in the error.

        Raises
        ------
        FormatError
            It is not a card, or it is damaged.
        """
        try:
            values = parse_json(text)
            scale, optics = Scale(**values.pop("scale")), Optics(**values.pop("optics"))
            return cls(scale=scale, optics=optics, **values)
        except SettingError as error:
            raise FormatError(
                f"{source} is damaged: its card is wrong ({error}); export the model again"
            ) from error
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise FormatError(
                f"{source} is damaged: its card is incomplete; export the model again"
            ) from error


_DOES: dict[TaskName, str] = {"depth": "estimates depth", "heads": "segments heads"}


def require_task(task: TaskName, wanted: TaskName, source: str) -> None:
    """Refuse a model that was trained for another task.

    Parameters
    ----------
    task
        What it was trained for.
    wanted
        What is asked of it.
    source
        Name of the model, for the error.

    Raises
    ------
    FgafError
        They differ.
    """
    if task != wanted:
        raise FgafError(
            f"{source} {_DOES[task]}; give a network that {_DOES[wanted]}, "
            f"from `fgaf-train --task {wanted}`"
        )


def differences(
    card: ModelCard, optics: Optics | None = None, patch_px: int | None = None
) -> list[str]:
    """List how images differ from those a model was trained on.

    Parameters
    ----------
    card
        The card of the model.
    optics
        Optics of the images; a value that is None on either side is not compared.
    patch_px
        Side of the patches.

    Returns
    -------
    list of str
        One phrase per difference, such as "pixels of 0.1 µm, the model's 0.1465"; empty where none
        is known. Lengths may differ by up to 2 %, the wavelength by up to 5 %.
    """
    found = []
    if patch_px is not None and patch_px != card.patch_px:
        found.append(f"patches of {patch_px} px, the model's {card.patch_px}")
    if optics is None:
        return found
    compared = list(_OPTICS)
    if optics.pixel_size_um is None or card.optics.pixel_size_um is None:
        compared.append(("magnification", "a magnification of {:g}", _NEAR))
    for key, phrase, tolerance in compared:
        its, trained = getattr(optics, key), getattr(card.optics, key)
        if its is not None and trained is not None and abs(its / trained - 1) > tolerance:
            found.append(f"{phrase.format(its)}, the model's {trained:g}")
    return found


def require_same(
    card: ModelCard,
    optics: Optics | None = None,
    patch_px: int | None = None,
    *,
    source: str,
    force: bool = False,
    warn: Callable[[str], None] = lambda _: None,
) -> None:
    """Refuse images that differ from those a model was trained on, or only warn.

    Parameters
    ----------
    card, optics, patch_px
        See `differences`.
    source
        Name of the images, for the error.
    force
        Continue anyway.
    warn
        Called with the differences when it continues.

    Raises
    ------
    FgafError
        Something differs; the message says what.
    """
    found = differences(card, optics, patch_px)
    if not found:
        return
    line = f"{source} has {'; '.join(found)}"
    if not force:
        raise FgafError(f"{line}: train on such images, or pass --force to continue anyway")
    warn(line)
