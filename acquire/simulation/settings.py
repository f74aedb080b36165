"""Settings of the simulated microscope and its specimen."""

from math import ceil
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator

from fgaf.acquire.simulation.aspiration.settings import AspirationSettings
from fgaf.base.bounds import (
    Aperture,
    Bound,
    DistanceUm,
    FrequencyHz,
    Index,
    IntervalS,
    Magnification,
    PixelUm,
    PositionUm,
    Seed,
    Share,
    SpeedUmS,
    WavelengthUm,
)
from fgaf.dataset.storage.optics import Optics

Electrons = Annotated[float, Bound(1e-3, 1e9, "electrons")]
Objects = Annotated[int, Bound(0, 100_000)]
Side = Annotated[int, Bound(16, 65536, "px")]
Loss = Annotated[float, Bound(0, 0.1)]
Strength = Annotated[float, Bound(0, 3)]
Contrast = Literal["brightfield", "relief", "phase", "phase-negative", "dic"]


class MicroscopeSettings(BaseModel):
    """Optics of the simulated microscope.

    Attributes
    ----------
    contrast
        "brightfield"; "relief": a slit off axis in the condenser and a modulator of three
        transmittances in the objective's pupil (R. Hoffman and L. Gross, Appl. Opt. 14, 1975);
        "phase": Zernike's phase contrast, dense things dark; "phase-negative": the same, dense
        things bright; "dic": differential interference contrast.
    numerical_aperture, magnification
        Of the objective.
    medium_index
        Refractive index between specimen chamber and objective: 1.0 for a dry objective. All z
        of the microscope are drive positions, so depths inside the specimen enter reduced by
        ``medium_index / specimen_index``.
    specimen_index
        Refractive index of the medium the cells swim in.
    wavelength_um
        Wavelength in vacuum.
    condenser_na
        Numerical aperture of the condenser in bright field and interference contrast; 0 is a single
        axial point source.
    camera_pixel_um
        Pitch of the camera's pixels.
    spherical_waves
        Primary spherical aberration in waves, r.m.s. over the pupil when fully balanced (the
        Zernike coefficient); given as much defocus as keeps a head's focus in its place.
    ring
        Inner and outer radius of the annulus of phase contrast, in units of the pupil's radius.
    ring_transmittance
        Share of the light that the ring of phase contrast lets through.
    shear_um, shear_deg
        Distance of the two waves of interference contrast in the specimen, and its direction, from
        the image's x towards its y; thickness that grows in this direction is bright.
    bias_deg
        Their difference of phase where nothing is.
    quick
        Flagella in coarser steps of depth and place, and none far out of focus: the first image of
        a field comes several times as soon, for many fields of one image each.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    contrast: Contrast = "brightfield"
    numerical_aperture: Aperture = 0.65
    magnification: Magnification = 40.0
    medium_index: Index = 1.0
    specimen_index: Index = 1.335
    wavelength_um: WavelengthUm = 0.55
    condenser_na: Annotated[float, Bound(0, 2)] = 0.3
    camera_pixel_um: PixelUm = 5.86
    spherical_waves: Annotated[float, Bound(-10, 10, "waves")] = 0.02
    ring: tuple[Annotated[float, Bound(0.1, 0.9)], Annotated[float, Bound(0.1, 0.9)]] = (0.45, 0.55)
    ring_transmittance: Annotated[float, Bound(0.01, 1)] = 0.25
    shear_um: Annotated[float, Bound(0.02, 2, "µm")] = 0.25
    shear_deg: Annotated[float, Bound(-360, 360, "°")] = 45.0
    bias_deg: Annotated[float, Bound(10, 170, "°")] = 60.0
    quick: bool = False

    @model_validator(mode="after")
    def _apertures_possible(self) -> Self:
        if self.numerical_aperture >= self.medium_index:
            raise ValueError("numerical_aperture must be below medium_index")
        if self.condenser_na > self.numerical_aperture:
            raise ValueError("condenser_na must not exceed numerical_aperture (no dark field)")
        if self.ring[1] - self.ring[0] < 0.02:
            raise ValueError(f"ring must ascend by 0.02 or more, not {self.ring}")
        return self

    @property
    def pixel_size_um(self) -> float:
        """Side of a pixel in the specimen, in µm."""
        return self.camera_pixel_um / self.magnification

    @property
    def cutoff(self) -> float:
        """Highest spatial frequency that the objective passes, NA / wavelength, in 1/µm."""
        return self.numerical_aperture / self.wavelength_um

    @property
    def finer(self) -> int:
        """Samples per pixel needed for the finest detail that the optics pass."""
        return ceil(4 * self.cutoff * self.pixel_size_um)

    @property
    def raster_um(self) -> float:
        """Distance of the samples of a specimen's phase: two thirds of an image's sample."""
        return self.pixel_size_um / self.finer / 1.5

    @property
    def reduction(self) -> float:
        """Drive micrometres per micrometre of height in the specimen."""
        return self.medium_index / self.specimen_index

    @property
    def optics(self) -> Optics:
        """The optics in the form of the file formats."""
        return Optics(
            pixel_size_um=self.pixel_size_um,
            numerical_aperture=self.numerical_aperture,
            magnification=self.magnification,
            medium_index=self.medium_index,
            wavelength_um=self.wavelength_um,
        )


class SpermSettings(BaseModel):
    """How sperm look: ranges that each cell draws from, and shares of abnormal cells.

    Attributes
    ----------
    head_strength, midpiece_strength, tail_strength
        Ranges of factors on the refractive index above the medium's.
    nucleus_loss
        Range of the imaginary part of the nucleus' index: light that is absorbed, or scattered out
        of the aperture. A head of 1.1 µm with 0.01 takes 22 % of green light.
    acrosome_loss
        Range of the acrosome's imaginary part, as a share of the nucleus'.
    flagellum_loss
        Range of the imaginary part of midpiece and tail.
    tapered_heads, amorphous_heads, large_heads, small_heads, round_heads, double_heads, headless
        Shares of cells with a head that is narrow and long; of irregular outline; 5.5 to 7.5 µm
        long; 2.5 to 3.5 µm long; round and without an acrosome; double; missing.
    rolled_heads
        Share of cells whose flat head lies at any angle about its long axis, also on its edge; the
        others lie flat within some 20°.
    cytoplasm
        Share of cells with a large residual droplet of cytoplasm beside the neck.
    coiled_tails, bent_tails, short_tails
        Shares of cells whose tail is wound into a coil, makes a sharp turn, or is under 20 µm long.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    head_strength: tuple[Strength, Strength] = (1.0, 1.0)
    midpiece_strength: tuple[Strength, Strength] = (1.0, 1.0)
    tail_strength: tuple[Strength, Strength] = (1.0, 1.0)
    nucleus_loss: tuple[Loss, Loss] = (0.0, 0.0)
    acrosome_loss: tuple[Share, Share] = (0.2, 0.5)
    flagellum_loss: tuple[Loss, Loss] = (0.0, 0.0)
    tapered_heads: Share = 0.0
    amorphous_heads: Share = 0.0
    large_heads: Share = 0.0
    small_heads: Share = 0.0
    round_heads: Share = 0.0
    double_heads: Share = 0.0
    headless: Share = 0.0
    rolled_heads: Share = 0.0
    cytoplasm: Share = 0.0
    coiled_tails: Share = 0.0
    bent_tails: Share = 0.0
    short_tails: Share = 0.0

    @property
    def head_forms(self) -> dict[str, float]:
        """Shares of the abnormal forms of a head; each cell has at most one."""
        return {
            "tapered": self.tapered_heads,
            "amorphous": self.amorphous_heads,
            "large": self.large_heads,
            "small": self.small_heads,
            "round": self.round_heads,
            "double": self.double_heads,
            "missing": self.headless,
        }

    @property
    def tail_forms(self) -> dict[str, float]:
        """Shares of the abnormal forms of a tail; each cell has at most one."""
        return {"coiled": self.coiled_tails, "bent": self.bent_tails, "short": self.short_tails}

    @model_validator(mode="after")
    def _cells_possible(self) -> Self:
        for name, value in self:
            if isinstance(value, tuple) and name in SpermSettings.model_fields:
                _require_ascending(name, value)
        for part, forms in (("heads", self.head_forms), ("tails", self.tail_forms)):
            if sum(forms.values()) > 1 + 1e-9:
                raise ValueError(f"the shares of abnormal {part} ({', '.join(forms)}) exceed 1")
        return self


def _require_ascending(name: str, span: tuple[float, float]) -> None:
    if span[0] > span[1]:
        raise ValueError(f"{name} must ascend, not {span}")


class CameraSettings(BaseModel):
    """The lamp, the camera, and what it does with an image.

    Attributes
    ----------
    shape
        Rows and columns (Y, X) of the camera.
    bit_depth
        8 or 12; 12 comes as uint16.
    photons
        Electrons per pixel in the empty background at `reference_exposure_s`. With `read_noise`
        they give the noise of the ground: 0.020 of it by default, 0.006 with 30,000 electrons.
    reference_exposure_s
        Exposure that gives that background; the signal grows in proportion, up to saturation.
    full_well
        Electrons at which a pixel reaches the highest code.
    read_noise
        Electrons, r.m.s.
    unevenness
        Maximum relative deviation of the illumination from its mean.
    mottle
        Relative r.m.s. of the faint clouds that dust and films on the glass leave everywhere.
    vignetting
        Share of the light that is lost in the corners, by the square of the distance.
    tilt
        Relative change of the illumination from the middle of the frame to one side, evenly.
    dust, dust_seed
        Number of grains of dust fixed on the sensor (specks and rings), and the seed that places
        them; by default `seed`.
    denoise, denoise_px
        Smoothing before all else: "gaussian" of that sigma, "median" over that radius, or
        "adaptive" over twice that radius, which keeps edges; or "none".
    gamma
        The code is the signal to this power; below 1 lifts dark parts.
    sharpen, sharpen_px
        Share of the detail finer than that sigma that is added once more, after `gamma`.
    jpeg_quality
        The image is compressed as JPEG of this quality, 1 to 100; by default not.
    mirror_px
        Width of a band at each border that repeats what lies beside it, mirrored.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    shape: tuple[Side, Side] = (1200, 1920)
    bit_depth: Literal[8, 12] = 8
    photons: Electrons = 6000.0
    reference_exposure_s: Annotated[float, Bound(1e-7, 3600, "s")] = 0.005
    full_well: Electrons = 10000.0
    read_noise: Annotated[float, Bound(0, 1e6, "electrons")] = 7.0
    unevenness: Annotated[float, Bound(0, 0.99)] = 0.12
    mottle: Annotated[float, Bound(0, 0.19)] = 0.012
    vignetting: Annotated[float, Bound(0, 0.95)] = 0.0
    tilt: Annotated[float, Bound(0, 0.95)] = 0.0
    dust: Objects = 0
    dust_seed: Seed | None = None
    denoise: Literal["none", "gaussian", "median", "adaptive"] = "none"
    denoise_px: Annotated[float, Bound(0.3, 5, "px")] = 1.0
    gamma: Annotated[float, Bound(0.3, 3)] = 1.0
    sharpen: Annotated[float, Bound(0, 3)] = 0.0
    sharpen_px: Annotated[float, Bound(0.5, 10, "px")] = 1.5
    jpeg_quality: Annotated[int, Bound(1, 100)] | None = None
    mirror_px: Annotated[int, Bound(0, 1000, "px")] = 0

    @model_validator(mode="after")
    def _processing_possible(self) -> Self:
        if self.jpeg_quality is not None and self.bit_depth != 8:
            raise ValueError("jpeg_quality needs a bit_depth of 8")
        if 4 * self.mirror_px > min(self.shape):
            raise ValueError(
                f"mirror_px must not exceed {min(self.shape) // 4}, a quarter of shape"
            )
        return self


class ScenerySettings(BaseModel):
    """What lies in a field besides sperm that swim alone: numbers of objects.

    Attributes
    ----------
    debris, round_cells
        Small particles, and round cells (leukocytes, immature germ cells).
    pipette, droplet
        Whether a micropipette's tip and the edge of a droplet reach into the field.
    cocci, rods
        Groups of cocci of 0.8 µm (single, pairs, chains of 3 to 8, clusters of 4 to 12), and rods
        of 1.5 to 4 µm.
    clots
        Amorphous debris of up to 6 µm, absorbing and not.
    spots
        Smooth Gaussian spots of 2 to 6 µm.
    bodies
        Round bodies of 3 to 6 µm with a dark rim: yeasts, drops, red cells.
    fragments
        Pale fragments of cells of 2 to 6 µm.
    granular_cells
        Round cells of 8 to 14 µm with absorbing granules.
    tails
        Tails without a head, loose or in coils of 1 to 3 µm radius.
    pairs, end_pairs, rosettes, agglutinates
        Clumps of sperm, besides `cells`: two heads side by side, 3.2 µm apart; two tip to tip;
        rosettes of three to eight that touch; heaps of four to twelve.
    edges, needles
        Edges of further droplets, and needles of 4 to 24 µm, beside heads.
    gap_um
        Range of the distance of `edges` and `needles` from the centre of their head.
    grain, grain_um
        Relative r.m.s. of a texture of the ground, and the width of its grains.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    debris: Objects = 25
    round_cells: Objects = 1
    pipette: bool = False
    droplet: bool = False
    cocci: Objects = 0
    rods: Objects = 0
    clots: Objects = 0
    spots: Objects = 0
    bodies: Objects = 0
    fragments: Objects = 0
    granular_cells: Objects = 0
    tails: Objects = 0
    pairs: Objects = 0
    end_pairs: Objects = 0
    rosettes: Objects = 0
    agglutinates: Objects = 0
    edges: Annotated[int, Bound(0, 16)] = 0
    needles: Annotated[int, Bound(0, 16)] = 0
    gap_um: tuple[DistanceUm, DistanceUm] = (3.0, 10.0)
    grain: Annotated[float, Bound(0, 0.5)] = 0.0
    grain_um: Annotated[float, Bound(0.1, 20, "µm")] = 0.7


class SimulationSettings(SpermSettings, ScenerySettings, CameraSettings, MicroscopeSettings):
    """A simulated field: the microscope, its camera, and the specimen.

    Attributes
    ----------
    seed
        Random seed of specimen, motion and noise.
    cells
        Number of sperm in the field at time 0.
    motile
        Whether they swim; else each has a fixed pose.
    separation_um
        Minimum distance between the heads, kept for the first `separation_s` seconds if the field
        has room.
    margin_um
        Minimum distance of the heads from the frame's border at time 0.
    center_um
        Drive position at the centre of the cells' depths.
    depth_spread_um
        Cells have their focus within ± this of `center_um`, in drive µm.
    beat_hz, speed_um_s
        Ranges from which each motile cell draws its beat frequency and its swimming speed.
    extent_fields
        Number of fields along each axis of the specimen, of which the first one lies in the middle;
        nothing is outside. By default the specimen has no end.
    climb
        Factor on the slow changes of the cells' z: 1 swims along the glass, 10 climbs and dives by
        some micrometres.
    outlines
        Whether the truth holds the outline of each head, for masks.
    aspiration
        The micropipette of a simulated manipulator, its hydraulics, and how cells respond to the
        flow. Without a manipulator nothing of it is seen.
    """

    seed: Seed = 0
    cells: Objects = 20
    motile: bool = True
    separation_um: DistanceUm = 20.0
    separation_s: IntervalS = 1.5
    margin_um: DistanceUm = 10.0
    center_um: PositionUm = 0.0
    depth_spread_um: DistanceUm = 1.5
    beat_hz: tuple[FrequencyHz, FrequencyHz] = (8.0, 20.0)
    speed_um_s: tuple[SpeedUmS, SpeedUmS] = (30.0, 100.0)
    climb: Annotated[float, Bound(0, 1000)] = 1.0
    extent_fields: Annotated[int, Bound(1, 1_000_000, "fields")] | None = None
    outlines: bool = False
    aspiration: AspirationSettings | None = None

    @model_validator(mode="after")
    def _ranges_ascend(self) -> Self:
        for name in ("beat_hz", "speed_um_s", "gap_um"):
            _require_ascending(name, getattr(self, name))
        return self

    @property
    def dish_um(self) -> float:
        """Drive position of the dish that a pipette comes down to."""
        dish = (self.aspiration or AspirationSettings()).dish_um
        return self.center_um - dish * self.reduction

    def height_um(self, z_um: float) -> float:
        """Height over the dish, in µm of the specimen, of what is in focus at a drive position."""
        return (z_um - self.dish_um) / self.reduction

    def drive_um(self, height_um: float) -> float:
        """Drive position at which something at a height over the dish is in focus."""
        return self.dish_um + height_um * self.reduction
