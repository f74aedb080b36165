"""Optics of images."""

from pydantic import BaseModel, ConfigDict

from fgaf.base.bounds import Aperture, Index, Magnification, PixelUm, WavelengthUm

USUAL_WAVELENGTH_UM = 0.55
"""Green light, assumed if a file does not give its wavelength."""


class Optics(BaseModel):
    """Optics of a stack or an archive; None if unknown.

    Attributes
    ----------
    pixel_size_um
        Side of one pixel in the specimen (camera pitch over magnification), in µm.
    numerical_aperture
        Numerical aperture of the objective.
    magnification
        Magnification from specimen to camera.
    medium_index
        Refractive index between specimen and front lens: 1.0 for a dry objective.
    wavelength_um
        Mean wavelength of the light, in µm.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    pixel_size_um: PixelUm | None = None
    numerical_aperture: Aperture | None = None
    magnification: Magnification | None = None
    medium_index: Index | None = None
    wavelength_um: WavelengthUm | None = None

    @property
    def cutoff_per_um(self) -> float | None:
        """Coherent cut-off NA / wavelength in 1/µm, green light if unknown; None without an NA."""
        if self.numerical_aperture is None:
            return None
        return self.numerical_aperture / (self.wavelength_um or USUAL_WAVELENGTH_UM)

    @property
    def depth_of_field_um(self) -> float | None:
        """Depth of field in µm, equation (2) of Yang et al. 2026; None if an input is unknown.

        The paper's ``n e / (M NA)`` is written with ``e / M``, the pixel in the specimen.
        """
        wavelength, index, aperture = self.wavelength_um, self.medium_index, self.numerical_aperture
        if wavelength is None or index is None or aperture is None or self.pixel_size_um is None:
            return None
        return wavelength * index / aperture**2 + index * self.pixel_size_um / aperture
