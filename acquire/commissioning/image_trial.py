"""The drive observed by camera: images at many z, from both directions, and after arrival."""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from fgaf.acquire.commissioning.drive_trial import DriveTrial, Travel
from fgaf.acquire.commissioning.z_reference_stack import Image, ReferenceStack, noise_between
from fgaf.acquire.device_tables import CameraTable
from fgaf.acquire.devices import DeviceError, Devices

_HIGHEST_RUNG, _LOWEST_RUNG = 8, -2
_REST_S = 0.15
_NEAR_RUNGS = (-1, 0, 1)


@dataclass(frozen=True)
class Visit:
    """One arrival and its image.

    Attributes
    ----------
    travel
        The move.
    pixels
        The image, a long time after arrival.
    image_um
        z estimated from the image; nan beyond the reference stack.
    contrast
        `ReferenceStack.contrast` of the image.
    """

    travel: Travel
    pixels: Image
    image_um: float
    contrast: float

    @property
    def image_error_um(self) -> float:
        """Distance of the image from its target."""
        return self.image_um - self.travel.target_um


class ImageTrial(AbstractContextManager["ImageTrial"]):
    """Takes images of planes `step_um` apart around `start_um`; the camera runs in the block.

    Parameters
    ----------
    devices, settings
        The open devices, and the camera's exposure and time-out.
    drive
        The drive under test; every plane is approached from the ends of its bounds.
    start_um, step_um
        The middle plane and the distance of planes.
    """

    def __init__(
        self,
        devices: Devices,
        settings: CameraTable,
        drive: DriveTrial,
        start_um: float,
        step_um: float,
    ) -> None:
        self._camera, self._clock, self._drive = devices.camera, devices.clock, drive
        self._timeout_s = settings.exposure_ms / 1e3 + settings.timeout_s
        self._start_um, self._step_um = start_um, step_um

    def __enter__(self) -> ImageTrial:
        self._camera.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._camera.stop()

    def climb(self) -> ReferenceStack:
        """Take the reference stack for all comparisons, every plane from below."""
        low, high = self._drive.bounds_um
        highest = min(_HIGHEST_RUNG, math.floor((high - self._start_um) / self._step_um) - 1)
        rungs = [self._rung_um(rung) for rung in range(_LOWEST_RUNG, highest + 1)]
        self._drive.travel(low)
        frames = []
        for z_um in rungs:
            self._drive.travel(z_um)
            frames.append(self._expose_after(_REST_S))
        noise = noise_between(frames[-1], self._expose_after(0))
        return ReferenceStack.of(rungs, frames, noise)

    def visit(self, ladder: ReferenceStack, rung: int, by_way_of_um: float) -> Visit:
        """Go to a reference plane via another position, rest, and estimate z from the image.

        Parameters
        ----------
        ladder
            The reference stack.
        rung
            Number of the reference plane, counted from 0.
        by_way_of_um
            The position to go to first, µm.
        """
        self._drive.travel(by_way_of_um)
        travel = self._drive.travel(self._rung_um(rung))
        pixels = self._expose_after(_REST_S)
        return Visit(travel, pixels, ladder.z_of(pixels), ladder.contrast(pixels))

    def after_arrival(
        self, ladder: ReferenceStack, delays_ms: Iterable[float], tolerance_um: float
    ) -> dict[float, float]:
        """Step between reference planes near the start, and expose after a delay from each arrival.

        Parameters
        ----------
        ladder
            The reference stack.
        delays_ms
            One step each.
        tolerance_um
            Arrival is defined as in a stack: idle, and read back within this of the target.

        Returns
        -------
        dict
            Distance of the image from its reference plane in µm, by delay.
        """
        errors = {}
        for number, delay_ms in enumerate(delays_ms):
            nth = number % len(_NEAR_RUNGS)
            if nth == 0:
                self._drive.travel(self._drive.bounds_um[0])
                self._drive.travel(self._rung_um(_NEAR_RUNGS[0] - 1))
            z_um = self._rung_um(_NEAR_RUNGS[nth])
            self._drive.arrive(z_um, tolerance_um)
            errors[delay_ms] = ladder.z_of(self._expose_after(delay_ms / 1e3)) - z_um
        return errors

    def _rung_um(self, rung: int) -> float:
        return self._start_um + rung * self._step_um

    def _expose_after(self, seconds: float) -> Image:
        self._clock.sleep(seconds)
        pixels = self._camera.trigger(self._timeout_s).pixels
        if pixels.shape != self._camera.shape:
            raise DeviceError(f"the camera gave {pixels.shape} pixels, not {self._camera.shape}")
        return pixels
