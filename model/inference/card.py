"""What a depth model is: its patch, depth classes, optics, origin; whatever file it came from."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fgaf.base.bounds import (
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

Kind = Literal["checkpoint", "onnx", "openvino"]
Decoder = Literal["softmax", "corn"]
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
    """What travels with a depth model in every kind of file.

    Attributes
    ----------
    kind
        Of file: "checkpoint", "onnx" or "openvino".
    backbone, fgaf
        Which network, and whether it has the FGAF module.
    patch_px
        Side of a patch.
    step_um, half_range_um
        The depth classes.
    optics
        Of the training archive; None where unknown.
    scale
        Grey values to network input.
    decoder
        How the network's outputs become probabilities: "softmax" of them, or "corn", a chain of
        conditional probabilities.
    temperature
        Divides the outputs first.
    tta
        Whether the eight symmetries of a patch are averaged.
    precision
        Of the arithmetic.
    archive_name, archive_fingerprint, split
        What it was trained on.
    false_alarm
        Share of patches like those of training that is called out of range all the same; None
        where the model cannot tell.
    metrics
        Of the test cells, as the training measured them.
    created_utc, software
        When and by what it was trained.
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
        """Read what `to_json` wrote.

        Parameters
        ----------
        text
            The JSON.
        source
            Named in the error.

        Raises
        ------
        FormatError
            It is no card, or a damaged one.
        """
        try:
            values = parse_json(text)
            scale, optics = Scale(**values.pop("scale")), Optics(**values.pop("optics"))
            return cls(scale=scale, optics=optics, **values)
        except SettingError as error:
            raise FormatError(f"{source} is damaged: its card says {error}; export it again") from (
                error
            )
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise FormatError(f"{source} is damaged: its card is not whole; export it again") from (
                error
            )


def differences(
    card: ModelCard, optics: Optics | None = None, patch_px: int | None = None
) -> list[str]:
    """Say in what images differ from those a model was trained on.

    Parameters
    ----------
    card
        The card of the model.
    optics
        That the images were taken with; what is None on either side is not compared.
    patch_px
        Side of the patches.

    Returns
    -------
    list of str
        One phrase per difference, such as "pixels of 0.1 µm, the model's 0.1465"; empty where
        none is known. Lengths may differ by 2 %, the wavelength by 5 %.
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
    """Refuse images unlike those a model was trained on, or only say so.

    Parameters
    ----------
    card, optics, patch_px
        See `differences`.
    source
        Of the images, named in the error.
    force
        Go on all the same.
    warn
        Told what differs when going on.

    Raises
    ------
    FgafError
        Something differs; the line says what.
    """
    found = differences(card, optics, patch_px)
    if not found:
        return
    line = f"{source} has {'; '.join(found)}"
    if not force:
        raise FgafError(f"{line}: train on such images, or pass --force to go on all the same")
    warn(line)
