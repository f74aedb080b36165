"""The report of a rig check."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from fgaf.acquire.commissioning.drive_trial import Travel
from fgaf.acquire.commissioning.verdict import Level, Verdict, worst

_log = logging.getLogger(__name__)


@dataclass
class Report:
    """Results of a check.

    Attributes
    ----------
    verdicts
        In the order of the trials.
    measured
        Measured numbers by name; the name ends with the unit.
    recommended
        Recommended settings of the rig's ``[stage]`` table by key.
    step
        The move in the settle-time curve.
    ladder
        Correlation of images at z (keys, in µm) with one at the start.
    ringing
        Distance of the image from its final position in µm, by time after arrival in ms.
    tell
        Called with every verdict as soon as it is known.
    """

    verdicts: list[Verdict] = field(default_factory=list)
    measured: dict[str, Any] = field(default_factory=dict)
    recommended: dict[str, float] = field(default_factory=dict)
    step: Travel | None = None
    ladder: dict[float, float] = field(default_factory=dict)
    ringing: dict[float, float] = field(default_factory=dict)
    tell: Callable[[Verdict], None] = lambda _: None

    def say(self, name: str, level: Level, text: str, mend: str = "") -> None:
        """Add a verdict, and tell it.

        Parameters
        ----------
        name, level, text
            As of a `Verdict`.
        mend
            How to fix it, if it is not ok.
        """
        verdict = Verdict(name, level, text, "" if level == "ok" else mend)
        self.verdicts.append(verdict)
        _log.info("%s is %s: %s", name, level, text)
        self.tell(verdict)

    @property
    def level(self) -> Level:
        """The worst verdict."""
        return worst(self.verdicts)
