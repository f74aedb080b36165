"""What a page asks of the drive, in place of a drive."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Pursuit:
    """Remembers what was asked: which cell is chosen, None for the centre, or "release"."""

    wanted: int | str | None = "centre"
    asked: list[int | str | None] = field(default_factory=list)

    def choose(self, wanted: int | None) -> None:
        self.wanted = "centre" if wanted is None else wanted
        self.asked.append(wanted)

    def release(self) -> None:
        self.wanted = None
        self.asked.append("release")
