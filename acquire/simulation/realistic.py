"""Realistic fields: a microscope, its camera and a specimen drawn at random from a seed."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import ValidationError

from fgaf.acquire.simulation.settings import SimulationSettings

_STREAM = 7
_SHAPE = (600, 800)

# Magnification and numerical apertures of the dry objectives that andrology and IVF work with, for
# upright microscopes and, with a long working distance and relief contrast, for inverted ones.
_OBJECTIVES = {
    "brightfield": (
        (10.0, (0.22, 0.30)),
        (20.0, (0.40, 0.50)),
        (40.0, (0.55, 0.65)),
        (40.0, (0.65, 0.75)),
        (60.0, (0.70, 0.85)),
    ),
    "relief": (
        (10.0, (0.25, 0.30)),
        (20.0, (0.40, 0.45)),
        (32.0, (0.40, 0.55)),
        (40.0, (0.5, 0.6)),
    ),
    "phase": ((10.0, (0.25, 0.30)), (20.0, (0.40, 0.50)), (40.0, (0.60, 0.75))),
    "phase-negative": ((20.0, (0.40, 0.50)), (40.0, (0.60, 0.75))),
    "dic": ((20.0, (0.50, 0.70)), (40.0, (0.60, 0.75)), (60.0, (0.70, 0.85))),
}
_PITCH_UM, _PIXEL_UM = (2.2, 9.0), (0.08, 0.65)
_CONTRASTS = {
    "brightfield": 0.5,
    "relief": 0.28,
    "phase": 0.1,
    "phase-negative": 0.04,
    "dic": 0.08,
}
_EMPTY, _CROWDED = 0.05, 0.12
_SPARSE_PER_UM2, _CROWDED_PER_UM2 = (5e-5, 3e-3), (3e-3, 150 / 117**2)
_MOST_CELLS = 150

# Of each kind of object: share of the fields with any, range of their number per µm², most.
_SCENERY = {
    "debris": (0.7, (5e-5, 2e-3), 40),
    "round_cells": (0.3, (1e-5, 2e-4), 4),
    "cocci": (0.4, (1e-4, 4e-3), 50),
    "rods": (0.1, (5e-5, 2e-3), 25),
    "clots": (0.4, (5e-5, 5e-4), 15),
    "spots": (0.3, (3e-5, 5e-4), 12),
    "bodies": (0.25, (3e-5, 5e-4), 10),
    "fragments": (0.25, (3e-5, 5e-4), 10),
    "granular_cells": (0.15, (1e-5, 1e-4), 3),
    "tails": (0.3, (3e-5, 5e-4), 10),
}
_STRENGTHS = {
    "head_strength": (0.6, 1.1),
    "midpiece_strength": (0.2, 0.65),
    "tail_strength": (0.4, 0.9),
}
_NUCLEUS_LOSS, _FLAGELLUM_LOSS = (0.005, 0.016), (0.0005, 0.006)
_ABNORMAL = {
    "tapered_heads": 0.15,
    "amorphous_heads": 0.2,
    "large_heads": 0.1,
    "small_heads": 0.1,
    "round_heads": 0.08,
    "double_heads": 0.04,
    "headless": 0.06,
    "cytoplasm": 0.15,
    "coiled_tails": 0.15,
    "bent_tails": 0.15,
    "short_tails": 0.08,
}
_CLUMPS_PER_UM2 = 1e-5

# People focus where heads are dark, up to 1.2 µm above the plane in which a phase object vanishes.
# With the drive at 0, that is where the middle of the cells lies below it.
_CENTRE_UM = (-1.2, 0.2)
_CLUMPS = {"pairs": 0.2, "end_pairs": 0.12, "rosettes": 0.08, "agglutinates": 0.08}


def draw_settings(seed: int, **fixed: object) -> SimulationSettings:
    """Draw a whole field at random: objective, camera, contrast, and all that the field holds.

    The fields range from empty to crowded, from 10x to 60x and from 0.08 to 0.65 µm per pixel.
    What a field holds follows from its area, so `shape` is best given here; 600 x 800 pixels are
    the default.

    Parameters
    ----------
    seed
        The same seed draws the same field; the specimen and the noise come from it too.
    fixed
        Settings that are not drawn. Settings that depend on them follow: the pixel size from the
        magnification, the condenser from the aperture, numbers of objects from the area.

    Raises
    ------
    pydantic.ValidationError
        An unknown setting, or a value out of bounds.
    """
    given = _checked({"seed": seed} | fixed)
    rng = np.random.default_rng([given["seed"], _STREAM])
    drawn = _Drawn({"shape": _SHAPE} | given)
    _draw_microscope(rng, drawn)
    _draw_camera(rng, drawn)
    _draw_specimen(rng, drawn)
    return SimulationSettings.model_validate(drawn.settings)


def _checked(fixed: dict[str, Any]) -> dict[str, Any]:
    """Check each given setting for itself; whether they go together is known when all are drawn."""
    try:
        settings = SimulationSettings.model_validate(fixed)
    except ValidationError as error:
        if any(fault["loc"] for fault in error.errors()):
            raise
        return fixed
    return {name: getattr(settings, name) for name in fixed}


class _Drawn:
    """Settings so far; those given from the start stay."""

    def __init__(self, fixed: dict[str, Any]) -> None:
        self.settings = dict(fixed)

    def take(self, name: str, value: object) -> Any:
        """Take a drawn value unless the setting is there; return what counts."""
        return self.settings.setdefault(name, value)


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    return float(rng.uniform(low, high))


def _ratio(rng: np.random.Generator, low: float, high: float) -> float:
    """A number drawn evenly by its logarithm."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _sometimes(rng: np.random.Generator, share: float, value: float) -> float:
    """The value in a share of the fields, else 0."""
    return value if rng.uniform() < share else 0.0


def _draw_microscope(rng: np.random.Generator, drawn: _Drawn) -> None:
    contrast = str(rng.choice(list(_CONTRASTS), p=list(_CONTRASTS.values())))
    objectives = _OBJECTIVES[drawn.take("contrast", contrast)]
    magnification, apertures = objectives[int(rng.integers(len(objectives)))]
    magnification = float(drawn.take("magnification", magnification))
    aperture = float(drawn.take("numerical_aperture", _between(rng, *apertures)))
    pitch = [
        max(_PITCH_UM[0], _PIXEL_UM[0] * magnification),
        min(_PITCH_UM[1], _PIXEL_UM[1] * magnification),
    ]
    drawn.take("camera_pixel_um", _ratio(rng, *pitch))
    drawn.take("condenser_na", aperture * _between(rng, 0.15, 0.8))
    drawn.take("wavelength_um", _between(rng, 0.50, 0.62))
    drawn.take("specimen_index", _between(rng, 1.333, 1.36))
    drawn.take("spherical_waves", _between(rng, -0.06, 0.08))
    inner = _between(rng, 0.4, 0.5)
    drawn.take("ring", (inner, inner + _between(rng, 0.08, 0.12)))
    drawn.take("ring_transmittance", _between(rng, 0.15, 0.4))
    drawn.take("shear_um", _between(rng, 0.15, 0.35))
    drawn.take("shear_deg", _between(rng, 0, 360))
    drawn.take("bias_deg", _between(rng, 40, 110))
    drawn.take("quick", True)


def _draw_camera(rng: np.random.Generator, drawn: _Drawn) -> None:
    noise, ground = _ratio(rng, 0.0025, 0.025), _between(rng, 0.3, 0.85)
    photons = float(drawn.take("photons", 0.9 / noise**2))
    drawn.take("read_noise", float(np.sqrt(photons * 0.1)))
    drawn.take("full_well", photons / ground)
    depth = drawn.take("bit_depth", 12 if rng.uniform() < 0.15 else 8)
    drawn.take("unevenness", _ratio(rng, 0.01, 0.25))
    drawn.take("mottle", _ratio(rng, 0.001, 0.012))
    drawn.take("vignetting", _sometimes(rng, 0.3, _between(rng, 0.05, 0.5)))
    drawn.take("tilt", _sometimes(rng, 0.4, _between(rng, 0.02, 0.3)))
    drawn.take("dust", int(_sometimes(rng, 0.35, _ratio(rng, 1, 25))))
    consumer = bool(rng.uniform() < 0.7)
    smoothing = ("none", "gaussian", "median", "adaptive")
    drawn.take(
        "denoise", str(rng.choice(smoothing, p=(0.2, 0.35, 0.1, 0.35))) if consumer else "none"
    )
    drawn.take("denoise_px", _between(rng, 0.5, 1.3))
    drawn.take("gamma", _between(rng, 0.5, 1.1) if consumer else 1.0)
    drawn.take("sharpen", _sometimes(rng, 0.5, _between(rng, 0.2, 1.2)) if consumer else 0.0)
    drawn.take("sharpen_px", _between(rng, 0.8, 2.0))
    quality, saved = int(rng.integers(40, 98)), consumer or bool(rng.uniform() < 0.3)
    drawn.take("jpeg_quality", quality if depth == 8 and saved else None)
    most = min(drawn.settings["shape"]) // 6
    drawn.take("mirror_px", int(_sometimes(rng, 0.06, _between(rng, 0.1, 1) * most)))


def _draw_specimen(rng: np.random.Generator, drawn: _Drawn) -> None:
    rows, columns = drawn.settings["shape"]
    pixel = drawn.settings["camera_pixel_um"] / drawn.settings["magnification"]
    area = float(rows * columns * pixel**2)
    kind = float(rng.uniform())
    density = _ratio(rng, *(_CROWDED_PER_UM2 if kind > 1 - _CROWDED else _SPARSE_PER_UM2))
    cells = min(max(1, int(rng.poisson(density * area))), _MOST_CELLS)
    drawn.take("cells", 0 if kind < _EMPTY else cells)
    drawn.take("separation_um", _ratio(rng, 3.0, 25.0))
    drawn.take("separation_s", 0.0)
    drawn.take("margin_um", _between(rng, 0.0, 3.0))
    drawn.take("center_um", _between(rng, *_CENTRE_UM))
    drawn.take("depth_spread_um", _ratio(rng, 0.3, 4.0))
    drawn.take("motile", bool(rng.uniform() < 0.7))
    drawn.take("climb", _ratio(rng, 0.5, 4.0))
    _draw_sperm(rng, drawn)
    for name, (share, per_um2, most) in _SCENERY.items():
        number = min(int(rng.poisson(_ratio(rng, *per_um2) * area)), most)
        drawn.take(name, int(_sometimes(rng, share, number)))
    for name, share in _CLUMPS.items():
        number = 0 if kind < _EMPTY else min(1 + int(rng.poisson(_CLUMPS_PER_UM2 * area)), 3)
        drawn.take(name, int(_sometimes(rng, share, number)))
    drawn.take("pipette", bool(rng.uniform() < 0.04))
    drawn.take("droplet", bool(rng.uniform() < 0.06))
    drawn.take("edges", int(_sometimes(rng, 0.1, int(rng.integers(1, 3)))))
    drawn.take("needles", int(_sometimes(rng, 0.15, int(rng.integers(1, 3)))))
    grain = _ratio(rng, 0.01, 0.16 if drawn.settings["contrast"] == "relief" else 0.05)
    drawn.take("grain", _sometimes(rng, 0.12, grain))
    drawn.take("grain_um", _ratio(rng, 0.5, 1.5))


def _draw_sperm(rng: np.random.Generator, drawn: _Drawn) -> None:
    """How heads absorb in this field, and the shares of abnormal cells."""
    for name, (low, high) in _STRENGTHS.items():
        drawn.take(name, _span(rng, _ratio(rng, low, high), 0.2))
    drawn.take("nucleus_loss", _span(rng, _ratio(rng, *_NUCLEUS_LOSS), 0.4))
    drawn.take("acrosome_loss", (0.0, _between(rng, 0.1, 0.5)))
    drawn.take("rolled_heads", _between(rng, 0.0, 0.6))
    drawn.take("flagellum_loss", _span(rng, _ratio(rng, *_FLAGELLUM_LOSS), 0.4))
    for name, most in _ABNORMAL.items():
        drawn.take(name, most * float(rng.uniform()) ** 2)


def _span(rng: np.random.Generator, middle: float, most: float) -> tuple[float, float]:
    """A range about a value, of up to ± `most` of it."""
    part = float(rng.uniform(0, most))
    return middle * (1 - part), middle * (1 + part)
