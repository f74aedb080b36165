"""The wanted flow of the pump during a trial, and the volume that it has drawn."""

from __future__ import annotations

from fgaf.model.aspirate.settings import AspirationSettings

_LEAST_NL = 1e-6


class Draw:
    """Draws, stops, and gives back what was drawn.

    Parameters
    ----------
    settings
        The flows.

    Attributes
    ----------
    flow_nl_s
        Wanted flow; above 0 draws in.
    volume_nl
        Volume drawn so far, less what was given back.
    most_nl
        Its highest value.
    rested_s
        How long the pump has not drawn; 0 while it draws.
    """

    def __init__(self, settings: AspirationSettings) -> None:
        self._settings = settings
        self.flow_nl_s = self.volume_nl = self.most_nl = 0.0
        self.rested_s = 0.0

    def advance(self, seconds: float) -> None:
        """Let time pass at the wanted flow."""
        self.volume_nl += self.flow_nl_s * seconds
        self.most_nl = max(self.most_nl, self.volume_nl)
        self.rested_s = 0.0 if self.flow_nl_s > 0 else self.rested_s + seconds

    def start(self) -> None:
        """Draw."""
        self.flow_nl_s = self._settings.flow_nl_s

    def stop(self) -> None:
        """Stop."""
        self.flow_nl_s = 0.0

    def give_back(self) -> bool:
        """Give back the set share of the volume, or stop; returns whether it still gives."""
        kept_nl = (1 - self._settings.reverse_share) * self.most_nl
        more = self.volume_nl > kept_nl + _LEAST_NL
        self.flow_nl_s = -self._settings.reverse_nl_s if more else 0.0
        return more
