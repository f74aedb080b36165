"""Pixel formats of Basler cameras: their bits, and conversion to grey images.

Packed formats and Bayer patterns are converted by pylon. Its output is aligned to the least
significant bit, so that values of 12 bits stay at most 4095.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

FORMATS: Final = (
    r"(?:Mono(?:8|10|12|16|10p|12p|10Packed|12Packed)"
    r"|Bayer(?:GR|RG|GB|BG)(?:8|10|12|16|10p|12p|10Packed|12Packed))"
)
"""Names of the formats that can be converted to grey images, as a regular expression."""


@dataclass(frozen=True)
class PixelFormat:
    """A pixel format that can be converted to a grey image.

    Attributes
    ----------
    name
        Name in the camera.
    """

    name: str

    @property
    def bits(self) -> int:
        """Significant bits of a pixel."""
        return int(re.findall(r"\d+", self.name)[0])

    @property
    def is_colour(self) -> bool:
        """Whether the sensor has a Bayer pattern."""
        return self.name.startswith("Bayer")

    @property
    def is_converted(self) -> bool:
        """Whether pylon's converter is needed."""
        return self.is_colour or self.name.endswith(("p", "Packed"))

    def reader(self, pylon: ModuleType) -> GreyReader:
        """Make the converter of images of this format to arrays."""
        return GreyReader(self, pylon)


class GreyReader:
    """Converts images of one pixel format to grey arrays.

    Parameters
    ----------
    form
        The format.
    pylon
        The module `pypylon.pylon`.
    """

    def __init__(self, form: PixelFormat, pylon: ModuleType) -> None:
        self._converter: Any = None
        if form.is_converted:
            self._converter = pylon.ImageFormatConverter()
            one_byte = form.bits == 8
            self._converter.OutputPixelFormat = (
                pylon.PixelType_Mono8 if one_byte else pylon.PixelType_Mono16
            )
            self._converter.OutputBitAlignment.Value = pylon.OutputBitAlignment_LsbAligned

    def read(self, image: Any) -> NDArray[Any]:
        """Copy the pixels of an image, (Y, X) uint8 or uint16."""
        if self._converter is not None:
            image = self._converter.Convert(image)
        return np.array(image.GetArray(), order="C")
