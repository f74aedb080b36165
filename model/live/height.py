"""A cell's height over time: a Kalman filter on the depths of single frames."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

from fgaf.model.live.constant_velocity import ConstantVelocity

AGITATION: Final = (3.0, 300.0)
"""Spectral densities of a cell's acceleration, µm²/s³: for level swimming and for climbing."""
BEAT_UM: Final = 0.1
"""Amplitude of a head around its mean height with every beat, r.m.s."""
FLOOR_UM: Final = 0.08
"""Minimum error of a single frame's depth, since networks are overconfident."""
BEYOND_UM: Final = 0.3
"""Minimum error of a depth at the end of the classes: the cell may be anywhere beyond."""

_SPEED_UM_S: Final = 10.0
_SWITCH_S: Final = 1.0
_OUTLIER: Final = 5.0
_BEAT_S: Final = 0.01


@dataclass
class _Model(ConstantVelocity):
    """One filter of constant velocity: mean height, speed, its weight.

    `swing` is the height of the head above its mean in the last measurement, `share` the fraction
    of that measurement's residual assigned to it.
    """

    agitation: float
    z: float
    v: float
    weight: float
    swing: float = 0.0
    share: float = 0.0


class Height:
    """Height (z of the cell's focus, in drive µm), with its uncertainty, and its speed.

    Two constant-velocity filters run in parallel, one for cells that swim level and one for cells
    that climb or dive. They are mixed by how well each predicts the measurements (interacting
    multiple models: H. Blom and Y. Bar-Shalom, IEEE Trans. Autom. Control 33, 1988). An outlier has
    less weight the farther it is off.

    Parameters
    ----------
    z_um, error_um
        The first measurement and its standard error.
    time_ns
        Its time, ns since the epoch.
    """

    def __init__(self, z_um: float, error_um: float, time_ns: int) -> None:
        self._time_ns = time_ns
        self._models = [
            _Model(error_um**2, 0.0, _SPEED_UM_S**2, each, z_um, 0.0, 1 / len(AGITATION))
            for each in AGITATION
        ]

    @property
    def measured_ns(self) -> int:
        """Time of the last measurement, ns since the epoch."""
        return self._time_ns

    def measure(self, z_um: float, error_um: float, time_ns: int) -> None:
        """Add a measurement: z and its standard error in µm, and its time.

        A time before the last measurement is set to that of the last one.

        Parameters
        ----------
        z_um
            Measured z, µm.
        error_um
            Its standard error, µm.
        time_ns
            When it was measured, nanoseconds.
        """
        dt = max(0.0, (time_ns - self._time_ns) / 1e9)
        self._time_ns = max(time_ns, self._time_ns)
        self._mix(1 - math.exp(-dt / _SWITCH_S))
        likelihoods = []
        for model in self._models:
            _predict(model, dt)
            likelihoods.append(_update(model, z_um, error_um))
        best = max(likelihoods)
        for model, likelihood in zip(self._models, likelihoods, strict=True):
            model.weight *= math.exp(likelihood - best)
        total = sum(model.weight for model in self._models)
        for model in self._models:
            model.weight /= total

    def at(self, time_ns: int) -> tuple[float, float, float]:
        """Predict the height.

        Parameters
        ----------
        time_ns
            When; not before the last measurement.

        Returns
        -------
        z, its standard error, speed
            In µm, µm, µm/s.
        """
        dt = max(0.0, (time_ns - self._time_ns) / 1e9)
        moved = [replace(model) for model in self._models]
        for model in moved:
            _predict(model, dt)
        stays = math.exp(-dt / _BEAT_S)
        heights = [m.z + stays * m.swing for m in moved]
        z = sum(m.weight * height for m, height in zip(moved, heights, strict=True))
        v = sum(m.weight * m.v for m in moved)
        variance = sum(
            m.weight * (m.pp + BEAT_UM**2 * (1 - stays**2 * m.share) + (height - z) ** 2)
            for m, height in zip(moved, heights, strict=True)
        )
        return z, math.sqrt(variance), v

    def _mix(self, switching: float) -> None:
        """Mix each filter's state with a little of the others."""
        old = self._models
        share = switching / len(old)
        total = sum(model.weight for model in old)
        mixed = []
        for model in old:
            weights = [
                (1 - switching if other is model else 0.0) * other.weight + share * other.weight
                for other in old
            ]
            weight = sum(weights)
            parts = [each / weight for each in weights]
            z = sum(p * m.z for p, m in zip(parts, old, strict=True))
            v = sum(p * m.v for p, m in zip(parts, old, strict=True))
            pp = sum(p * (m.pp + (m.z - z) ** 2) for p, m in zip(parts, old, strict=True))
            pv = sum(p * (m.pv + (m.z - z) * (m.v - v)) for p, m in zip(parts, old, strict=True))
            vv = sum(p * (m.vv + (m.v - v) ** 2) for p, m in zip(parts, old, strict=True))
            mixed.append(_Model(pp, pv, vv, model.agitation, z, v, weight / total))
        self._models = mixed


def error_of(depth_um: float, spread_um: float, half_range_um: float, step_um: float) -> float:
    """Compute the standard error of a single frame's depth from its spread.

    A depth between two classes is shared between them; this part of the spread is not an error.

    Parameters
    ----------
    depth_um, spread_um
        From the network.
    half_range_um, step_um
        Its classes; within half a step of their end the depth is only a lower limit.
    """
    between = depth_um / step_um % 1.0
    shared = step_um**2 * between * (1 - between)
    error = math.sqrt(max(0.0, spread_um**2 - shared) + FLOOR_UM**2)
    return max(error, BEYOND_UM) if abs(depth_um) > half_range_um - step_um / 2 else error


def _predict(model: _Model, dt: float) -> None:
    model.z += model.v * dt
    model.grow(dt, model.agitation)


def _update(model: _Model, z_um: float, error_um: float) -> float:
    """Correct a model; returns the log-likelihood of the measurement, less a constant."""
    noise = error_um**2 + BEAT_UM**2
    surprise = z_um - model.z
    variance = model.pp + noise
    far = surprise**2 / (variance * _OUTLIER**2)
    if far > 1:
        variance += noise * (far - 1)
    model.share = BEAT_UM**2 / variance
    model.swing = model.share * surprise
    gain_z, gain_v = model.shrink(variance)
    model.z += gain_z * surprise
    model.v += gain_v * surprise
    return -0.5 * (math.log(variance) + surprise**2 / variance)
