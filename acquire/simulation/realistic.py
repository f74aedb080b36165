"""Realistic fields: a microscope, its camera and a specimen drawn at random from a seed."""

from __future__ import annotations

from typing import Any

import numpy as np

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
}
_PITCH_UM, _PIXEL_UM = (2.2, 9.0), (0.08, 0.65)
_CONTRASTS = {"brightfield": 0.65, "relief": 0.35}
_EMPTY, _CROWDED = 0.05, 0.12
_SPARSE_PER_UM2, _CROWDED_PER_UM2 = (5e-5, 3e-3), (3e-3, 150 / 117**2)
_MOST_CELLS, _MOST_DEBRIS = 150, 60


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
    rng = np.random.default_rng([seed, _STREAM])
    drawn = _Drawn({"seed": seed, "shape": _SHAPE} | fixed)
    _draw_microscope(rng, drawn)
    _draw_camera(rng, drawn)
    _draw_specimen(rng, drawn)
    return SimulationSettings.model_validate(drawn.settings)


class _Drawn:
    """Settings so far; those given from the start stay."""

    def __init__(self, fixed: dict[str, object]) -> None:
        self.settings: dict[str, Any] = dict(fixed)

    def take(self, name: str, value: object) -> Any:
        """Take a drawn value unless the setting is there; return what counts."""
        return self.settings.setdefault(name, value)


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    return float(rng.uniform(low, high))


def _ratio(rng: np.random.Generator, low: float, high: float) -> float:
    """A number drawn evenly by its logarithm."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


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
    drawn.take("quick", True)


def _draw_camera(rng: np.random.Generator, drawn: _Drawn) -> None:
    noise, ground = _ratio(rng, 0.005, 0.03), _between(rng, 0.3, 0.85)
    photons = float(drawn.take("photons", 0.9 / noise**2))
    drawn.take("read_noise", float(np.sqrt(photons * 0.1)))
    drawn.take("full_well", photons / ground)
    drawn.take("bit_depth", 12 if rng.uniform() < 0.2 else 8)
    drawn.take("unevenness", _ratio(rng, 0.01, 0.3))
    drawn.take("mottle", _ratio(rng, 0.001, 0.015))


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
    drawn.take("depth_spread_um", _ratio(rng, 0.3, 4.0))
    drawn.take("motile", bool(rng.uniform() < 0.7))
    drawn.take("climb", _ratio(rng, 0.5, 4.0))
    drawn.take("debris", min(int(rng.poisson(_ratio(rng, 5e-5, 3e-3) * area)), _MOST_DEBRIS))
    drawn.take("round_cells", min(int(rng.poisson(_ratio(rng, 1e-5, 3e-4) * area)), 6))
    drawn.take("pipette", bool(rng.uniform() < 0.12))
    drawn.take("droplet", bool(rng.uniform() < 0.08))
