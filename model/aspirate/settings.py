"""Settings of an aspiration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, get_args

from fgaf.base.bounds import Bound, Share, require_bounded
from fgaf.base.errors import SettingError

Retention = Literal["stop", "reverse", "constant"]
"""What the pump does once a cell is inside."""

AngleDeg = Annotated[float, Bound(1, 180, "°")]
StandOffPx = Annotated[float, Bound(5, 2000, "px")]
LengthUm = Annotated[float, Bound(0.1, 1000, "µm")]
SwimUmS = Annotated[float, Bound(0, 1000, "µm/s")]
SuctionNlS = Annotated[float, Bound(1e-4, 1000, "nL/s")]
LimitS = Annotated[float, Bound(0.02, 600, "s")]
PauseS = Annotated[float, Bound(0, 600, "s")]

PAPER: Final[Mapping[str, Any]] = {
    "flow_nl_s": 1.2,
    "heading_deg": 180.0,
    "retain": "constant",
    "bore_um": 5.0,
}
"""The paper's constant flow and any heading, and a usual bore, of which it says nothing."""

RETENTIONS: Final[tuple[Retention, ...]] = get_args(Retention)


@dataclass(frozen=True)
class AspirationSettings:
    """How cells are chosen, drawn in, and judged. Lengths are µm of the specimen.

    The defaults are what `docs/aspiration-benchmark.md` recommends, for a bore of 10 µm and a stiff
    line; `PAPER` has the values of the paper.

    Attributes
    ----------
    search
        The height of the cell comes from a focus search that the procedure asks for, not from the
        network. It takes seconds, so that only cells at rest are chosen.
    heading_deg
        Largest angle between the direction in which a cell swims and the way to the tip. Cells
        slower than `still_um_s` have no direction: any will do.
    still_um_s
        Cells slower than this are at rest.
    fastest_um_s
        Faster cells are not chosen.
    apart_um
        Least distance of a chosen cell from its neighbours.
    error_um
        Largest standard error of the height of a chosen cell, in µm of the drive.
    age_s
        Cells must have been followed for so long: their velocity is then known.
    stand_off_px
        Distance from the tip at which the x/y stage keeps the cell.
    near_um
        The cell is in place when it is nearer than this to its place,
    hold_s
        for so long.
    level_um
        The pipette goes to the cell's height when it is farther off than this, and again when it is
        off by three times that.
    rise_um
        Height over the cell at which the pipette waits, and to which it is raised at the end of a
        trial.
    flow_nl_s
        Flow of the pump that draws the cell in.
    prime_s
        How long the stage keeps the cell in place after the pump has begun, until the flow at the
        tip has grown: oil and tubes give way. Then the stage stands still.
    retain
        What the pump does when the cell is inside: `stop` stops it; `reverse` gives back what was
        drawn, since oil and tubes go on drawing; `constant` lets it run on.
    reverse_nl_s
        Flow of the pump when it gives back,
    reverse_share
        and the share of the drawn volume. Oil and tubes then still hold a part of what was drawn: a
        share of 1 may push the cell out again.
    bore_um
        Inner diameter of the tip.
    head_um
        Length of a head: it is inside when its centre is half of that behind the mouth.
    spare_um
        A cell behind the mouth is inside the bore when it is off the axis, to the side and in
        height, by less than the radius of the bore and this.
    view_um
        Length of the bore in view.
    judge_s
        A trial has succeeded when the cell is still inside and in view so long after it entered.
    lost_s
        A cell that was not found for this long is lost.
    stuck_um, stuck_s
        A cell that moves by less than this in this time while the liquid is drawn has stuck.
    choose_s, approach_s, search_s, descend_s, aspirate_s, watch_s, retain_s, retreat_s
        Time limits of the states of the procedure.

    Raises
    ------
    SettingError
        A value is out of bounds.

    Examples
    --------
    >>> AspirationSettings().stand_off_px
    100.0
    """

    search: bool = False
    heading_deg: AngleDeg = 12.0
    still_um_s: SwimUmS = 5.0
    fastest_um_s: SwimUmS = 100.0
    apart_um: LengthUm = 15.0
    error_um: LengthUm = 1.0
    age_s: PauseS = 0.3
    stand_off_px: StandOffPx = 100.0
    near_um: LengthUm = 1.5
    hold_s: PauseS = 0.2
    level_um: LengthUm = 0.5
    rise_um: LengthUm = 20.0
    flow_nl_s: SuctionNlS = 0.008
    prime_s: PauseS = 0.1
    retain: Retention = "stop"
    reverse_nl_s: SuctionNlS = 5.0
    reverse_share: Share = 1.0
    bore_um: LengthUm = 10.0
    head_um: LengthUm = 5.0
    spare_um: LengthUm = 2.0
    view_um: LengthUm = 200.0
    judge_s: LimitS = 1.0
    lost_s: LimitS = 0.5
    stuck_um: LengthUm = 1.0
    stuck_s: LimitS = 1.0
    choose_s: LimitS = 60.0
    approach_s: LimitS = 15.0
    search_s: LimitS = 60.0
    descend_s: LimitS = 15.0
    aspirate_s: LimitS = 2.0
    watch_s: LimitS = 5.0
    retain_s: LimitS = 15.0
    retreat_s: LimitS = 30.0

    def __post_init__(self) -> None:
        require_bounded(self)
        if self.retain not in RETENTIONS:
            raise SettingError(
                f"retain = {self.retain!r} is none of {', '.join(map(repr, RETENTIONS))}"
            )
