"""Check of a rig: measures its drive, camera and disk, and recommends settings.

The drive stays within a small range, which is printed before it moves, and goes back at the end.
Backlash, sticking and ringing, which the read-back does not show, are measured from the images if
the specimen is suitable.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from fgaf.acquire.commissioning.camera_trial import FrameTrial, disk_rate, try_frames
from fgaf.acquire.commissioning.check_plan import Bounds, CheckPlan
from fgaf.acquire.commissioning.drive_trial import DriveTrial
from fgaf.acquire.commissioning.image_trial import ImageTrial, Visit
from fgaf.acquire.commissioning.report import Report
from fgaf.acquire.commissioning.verdict import Verdict
from fgaf.acquire.commissioning.z_reference_stack import ReferenceStack
from fgaf.acquire.control.drive import Drive
from fgaf.acquire.devices import Devices
from fgaf.acquire.interrupt import Interrupt, InterruptError
from fgaf.acquire.rig import Rig
from fgaf.base.console import count
from fgaf.base.errors import FgafError

_log = logging.getLogger(__name__)

_SLOW_REPLY_S = 0.012
_DELAYS_MS = (0, 2, 4, 7, 10, 13, 17, 21, 25, 30, 35, 41, 48, 56, 66, 80, 100, 130)
_LEAST_SETTLE_MS = 5.0
_FROM_BELOW, _FROM_ABOVE = (0, 2, 1, 3, 0), (1, 0, 1)
_FRACTIONS = (0.38, 0.76, 0.14, 0.52, 0.9, 0.28)
_FOLLOWS = 20.0

Result = TypeVar("Result")


def check_rig(
    devices: Devices,
    rig: Rig,
    plan: CheckPlan,
    bounds: Bounds,
    interrupt: Interrupt | None = None,
    tell: Callable[[Verdict], None] = lambda _: None,
) -> Report:
    """Measure and evaluate an open rig; the drive returns to its start position.

    Parameters
    ----------
    devices, rig
        The open devices and the rig they come from.
    plan, bounds
        Settings of the check, and range of the drive (`Bounds.of`).
    interrupt
        Stops the check.
    tell
        Called with every verdict as soon as it is known.

    Returns
    -------
    Report
        A failed device is a bad verdict, not an exception.

    Raises
    ------
    InterruptError
        A stop was requested; the message gives the state of the drive.
    """
    return _Checkup(devices, rig, plan, bounds, interrupt or Interrupt(), tell).run()


class _Checkup:
    def __init__(
        self,
        devices: Devices,
        rig: Rig,
        plan: CheckPlan,
        bounds: Bounds,
        interrupt: Interrupt,
        tell: Callable[[Verdict], None],
    ) -> None:
        self._devices, self._rig, self._plan, self._bounds = devices, rig, plan, bounds
        self._interrupt = interrupt
        self._report = Report(tell=tell)
        self._say = self._report.say
        within = (bounds.low_um, bounds.high_um)
        narrow = rig.stage.model_copy(update={"limits_um": within})
        self._mover = Drive(devices.stage, devices.clock, narrow, interrupt)
        self._drive = DriveTrial(self._mover, within)
        self._noise_um = 0.0

    def run(self) -> Report:
        self._say("link", "ok", f"{self._devices.camera.name}; {self._devices.stage.name}")
        self._judge_limits()
        self._attempt("round trip", self._judge_round_trip)
        self._attempt("frames", self._judge_frames)
        self._attempt("disk", self._judge_disk)
        try:
            with self._mover.returning("the check was made"):
                if self._attempt("step", self._judge_step):
                    self._attempt("backlash", self._judge_arrivals_and_images)
        except InterruptError:
            raise
        except FgafError as error:
            self._say("return", "bad", str(error), "move it back by hand")
        else:
            self._say("return", "ok", f"the drive is back at {self._bounds.start_um:.3f} µm")
        return self._report

    def _attempt(self, name: str, trial: Callable[[], None]) -> bool:
        """Run a trial; drivers are external code, and any exception from them is a finding."""
        try:
            trial()
        except InterruptError:
            raise
        except FgafError as error:
            _log.debug("the trial failed", exc_info=True)
            self._say(name, "bad", str(error))
        except Exception as error:
            _log.debug("the trial failed", exc_info=True)
            self._say(
                name,
                "bad",
                f"{type(error).__name__}: {error}",
                "the driver has a fault; report it to its author",
            )
        else:
            return True
        return False

    def _judge_limits(self) -> None:
        (low, high), bounds = self._bounds.limits_um, self._bounds
        text = f"{low:.6g} to {high:.6g} µm; the drive stands at {bounds.start_um:.3f} µm"
        asked = 2 * self._plan.half_range_um
        if self._rig.stage.limits_um is None and self._rig.simulation is None:
            self._say(
                "limits",
                "warning",
                f"{text}; these are the drive's own limits",
                "set stage.limits_um to a range in which nothing can touch",
            )
        elif bounds.high_um - bounds.low_um < asked - 1e-9:
            mend = "the range of the check was reduced to them"
            self._say("limits", "warning", text, mend)
        else:
            self._say("limits", "ok", text)

    def _judge_round_trip(self) -> None:
        trip = self._drive.round_trip()
        self._noise_um = trip.noise_um
        self._report.measured |= {
            "round_trip_ms": 1e3 * trip.median_s,
            "longest_round_trip_ms": 1e3 * trip.longest_s,
            "noise_um": trip.noise_um,
        }
        text = (
            f"{1e3 * trip.median_s:.1f} ms, {1e3 * trip.longest_s:.1f} ms at the longest; at rest "
            f"the position scatters by {trip.noise_um:.3f} µm r.m.s."
        )
        if trip.noise_um > self._rig.stage.tolerance_um / 3:
            mend = "raise stage.tolerance_um, or find the source of vibration"
            self._say("round trip", "warning", text, mend)
        elif trip.median_s > _SLOW_REPLY_S:
            mend = "an FTDI adapter delays replies: set its latency timer to 1 ms"
            self._say("round trip", "warning", text, mend)
        else:
            self._say("round trip", "ok", text)

    def _judge_frames(self) -> None:
        trial = try_frames(self._devices, self._rig.camera, self._plan.seconds, self._interrupt)
        self._report.measured |= {
            "frames": trial.frames,
            "frame_rate_hz": trial.rate_hz,
            "frames_lost": trial.lost,
            "frames_repeated": trial.repeated,
        }
        text = (
            f"{trial.rate_hz:.1f} per second over {trial.frames} frames; {trial.lost} lost, "
            f"{trial.repeated} repeated"
        )
        if trial.lost or trial.repeated:
            why = f" ({trial.failure})" if trial.failure else ""
            mend = "check cable, hub and bandwidth, and close other programs"
            self._say("frames", "bad", text + why, mend)
        else:
            self._say("frames", "ok", text)
        self._judge_exposure(trial)

    def _judge_exposure(self, trial: FrameTrial) -> None:
        text = f"mean {trial.mean:.0%} of full scale, {trial.saturated:.1%} of the pixels saturated"
        if trial.saturated > 0.01:
            mend = "lower camera.exposure_ms or the lamp"
            self._say("exposure", "warning", text, mend)
        elif trial.mean < 0.05:
            mend = "raise camera.exposure_ms or the lamp, or open the shutter"
            self._say("exposure", "warning", text, mend)
        else:
            self._say("exposure", "ok", text)

    def _judge_disk(self) -> None:
        rate = disk_rate(self._plan.folder, self._plan.disk_megabytes)
        self._report.measured["disk_mb_s"] = rate / 1e6
        camera = self._devices.camera
        frame_bytes = math.prod(camera.shape) * (1 if camera.bit_depth <= 8 else 2)
        needed = frame_bytes * self._report.measured.get("frame_rate_hz", 0.0)
        text = f"{rate / 1e6:.0f} MB/s; the camera gives up to {needed / 1e6:.0f} MB/s"
        if rate < 1.25 * needed:
            mend = "for sweeps, use a faster disk or a smaller region; acq stack needs neither"
            self._say("disk", "warning", text, mend)
        else:
            self._say("disk", "ok", text)

    def _judge_step(self) -> None:
        bounds, step_um = self._bounds, self._plan.step_um
        self._drive.travel(bounds.low_um)
        self._drive.travel(bounds.start_um)
        step = self._drive.travel(bounds.start_um + step_um)
        self._drive.travel(bounds.low_um)
        long = self._drive.travel(bounds.high_um)
        self._report.step = step
        near_um = max(self._rig.stage.tolerance_um, 3 * self._noise_um)
        step_s, long_s = step.settled_s(near_um), long.settled_s(near_um)
        early_s = max(step_s - step.idle_s, long_s - long.idle_s)
        self._report.measured |= {
            "step_s": step_s,
            "speed_um_s": long.peak_um_s,
            "idle_too_early_s": max(0.0, early_s),
        }
        text = (
            f"{step_um:g} µm in {1e3 * step_s:.0f} ms, {abs(long.final_um - long.from_um):.3g} µm "
            f"in {1e3 * long_s:.0f} ms; at most {long.peak_um_s:.3g} µm/s"
        )
        if abs(step.final_um - step.from_um) < step_um / 4:
            mend = "check its power, clutch and coupling"
            self._say(
                "step",
                "bad",
                f"a step of {step_um:g} µm moved it by {step.final_um - step.from_um:.3f} µm",
                mend,
            )
        elif early_s > 2 * self._report.measured.get("longest_round_trip_ms", 0.0) / 1e3 + 0.01:
            mend = "nothing to do: stacks check the position by read-back"
            self._say(
                "step",
                "warning",
                f"{text}; it reports idle {1e3 * early_s:.0f} ms too early",
                mend,
            )
        else:
            self._say("step", "ok", text)

    def _judge_arrivals_and_images(self) -> None:
        (low, high), start_um = self._drive.bounds_um, self._bounds.start_um
        with ImageTrial(
            self._devices, self._rig.camera, self._drive, start_um, self._plan.step_um
        ) as images:
            ladder = images.climb()
            below = [images.visit(ladder, rung, low) for rung in _FROM_BELOW]
            above = [images.visit(ladder, rung, high) for rung in _FROM_ABOVE]
            for fraction in _FRACTIONS:
                self._drive.travel(start_um + (fraction + 1) * self._plan.step_um)
            self._judge_arrival()
            usable = self._judge_images(ladder, below)
            self._judge_backlash(ladder, below, above, usable)
            if usable:
                self._judge_settling(images, ladder, below)
            else:
                self._settle_by_read_back()

    def _judge_arrival(self) -> None:
        errors = np.array(self._drive.errors_um)
        largest, rms = float(np.abs(errors).max()), float(np.sqrt(np.mean(errors**2)))
        wanted = max(1.25 * largest, 4 * rms, 3 * self._noise_um, 0.02)
        self._report.measured |= {"arrivals": len(errors), "largest_error_um": largest}
        self._report.measured["error_um"] = rms
        text = f"{count(len(errors), 'move')} ended within {largest:.3f} µm ({rms:.3f} µm r.m.s.)"
        tolerance_um, step_um = self._rig.stage.tolerance_um, self._plan.step_um
        if wanted >= step_um / 2:
            self._say(
                "arrival",
                "bad",
                text,
                f"too much to separate planes {step_um:g} µm apart: look for friction, an obstacle "
                "or a loose coupling, and do not touch the knob",
            )
            return
        wanted = self._report.recommended["tolerance_um"] = math.ceil(100 * wanted - 1e-9) / 100
        mend = f"set stage.tolerance_um = {wanted:g}"
        self._say("arrival", "ok" if wanted <= tolerance_um else "warning", text, mend)

    def _judge_images(self, ladder: ReferenceStack, below: list[Visit]) -> bool:
        """Check whether the image follows the read-back; false when this cannot be decided."""
        change = sorted(visit.contrast for visit in below)[1]  # one may be the drive's fault
        errors = np.array([visit.image_um - visit.travel.final_um for visit in below])
        self._report.measured["image_change"] = change
        alike = ladder.correlations(below[0].pixels)
        self._report.ladder = dict(zip(ladder.z_um.tolist(), alike.tolist(), strict=True))
        if change < _FOLLOWS:
            self._say(
                "image and z",
                "warning",
                f"the image does not follow z: images of two planes differ {change:.2f} times as "
                f"much as images of one, {_FOLLOWS:g} is needed",
                "focus a fixed specimen with fine detail (a dried smear, a scale; when simulated, "
                "--set simulation.motile=false); if it is in focus, the drive does not move the "
                "objective",
            )
            return False
        off = float(np.max(np.abs(np.nan_to_num(errors, nan=math.inf))))
        self._report.measured["image_error_um"] = off if math.isfinite(off) else None
        text = f"images of two planes differ {change:.1f} times as much as images of one"
        if off > self._plan.step_um / 2:
            self._say(
                "image and z",
                "bad",
                f"{text}, but their z is up to {off:.2f} µm from the read-back"
                if math.isfinite(off)
                else f"{text}, but their z is far from the read-back",
                "the drive does not always move the objective: look for slip, sticking or "
                "backlash, or raise stage.approach_um",
            )
        else:
            self._say(
                "image and z", "ok", f"{text}; their z is within {off:.2f} µm of the read-back"
            )
        return True

    def _judge_backlash(
        self, ladder: ReferenceStack, below: list[Visit], above: list[Visit], usable: bool
    ) -> None:
        read_um = _median(v.travel.error_um for v in above) - _median(
            v.travel.error_um for v in below
        )
        self._report.measured["backlash_read_back_um"] = read_um
        size, text = abs(read_um), f"{abs(read_um):.2f} µm, measured by the read-back only"
        beyond = False
        if usable:
            offsets = [visit.image_error_um for visit in above]
            beyond = any(math.isnan(offset) for offset in offsets)
            level = _median(visit.image_error_um for visit in below)
            seen_um = float(ladder.z_um[-2]) - self._bounds.start_um
            size = seen_um if beyond else abs(_median(offsets) - level)
            self._report.measured["backlash_um"] = None if beyond else size
            text = (
                f"{'more than ' if beyond else ''}{size:.2f} µm by the image, "
                f"{abs(read_um):.2f} µm by the read-back"
            )
        approach_um = self._rig.stage.approach_um
        text += f"; approach_um is {approach_um:g}"
        if beyond:
            self._say("backlash", "bad", text, "check again with a larger --range")
        elif size > max(0.8 * approach_um, 2 * self._rig.stage.tolerance_um):
            wanted = self._report.recommended["approach_um"] = math.ceil(15 * size) / 10
            self._say("backlash", "bad", text, f"set stage.approach_um = {wanted:g}")
        else:
            self._say("backlash", "ok", text)

    def _judge_settling(
        self, images: ImageTrial, ladder: ReferenceStack, below: list[Visit]
    ) -> None:
        """Step between reference planes near focus, expose with increasing delays, and compare.

        A ringing image crosses its position repeatedly, so the delays are close and irregular.
        """
        still_um = float(np.nanstd([visit.image_error_um for visit in below]))
        tolerance_um = self._report.recommended.get("tolerance_um", self._rig.stage.tolerance_um)
        near_um = max(tolerance_um, self._plan.step_um / 10) + 2 * still_um
        errors = images.after_arrival(ladder, _DELAYS_MS, max(near_um, 3 * self._noise_um))
        self._report.ringing = errors
        outside = [delay_ms for delay_ms, error in errors.items() if not abs(error) <= near_um]
        if outside and outside[-1] == _DELAYS_MS[-1]:
            text = f"the image still moves {outside[-1]:g} ms after arrival"
            self._say("settling", "bad", text, "look for a loose objective, vibration or drift")
            return
        later = [delay for delay in _DELAYS_MS if not outside or delay > outside[-1]]
        settled_ms = later[0]
        self._report.measured["settle_ms"] = settled_ms
        self._recommend_settling(1.25 * settled_ms, "by the image", settled_ms)

    def _settle_by_read_back(self) -> None:
        settled_ms = 1e3 * self._report.measured.get("idle_too_early_s", 0.0)
        self._report.measured["settle_ms"] = settled_ms
        wanted_ms = max(1.25 * settled_ms, self._rig.stage.settle_ms)
        note = "by the read-back, which does not show ringing of the objective"
        self._recommend_settling(wanted_ms, note, settled_ms)

    def _recommend_settling(self, wanted_ms: float, note: str, settled_ms: float) -> None:
        wanted = max(_LEAST_SETTLE_MS, 5.0 * math.ceil(wanted_ms / 5 - 1e-9))
        self._report.recommended["settle_ms"] = wanted
        has = self._rig.stage.settle_ms
        text = f"at rest {settled_ms:.3g} ms after arrival, {note}; settle_ms is {has:g}"
        mend = f"set stage.settle_ms = {wanted:g}"
        self._say("settling", "ok" if settled_ms <= has else "warning", text, mend)


def _median(values: Any) -> float:
    return float(np.nanmedian(list(values)))
