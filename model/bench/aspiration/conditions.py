"""The conditions of trials: cells, how their height is known, pipette, and procedure."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fgaf.acquire.simulation.aspiration.settings import AspirationSettings
from fgaf.base.bounds import Bound, first_fault
from fgaf.base.errors import SettingError
from fgaf.model.aspirate.settings import AspirationSettings as ProcedureSettings
from fgaf.model.bench.aspiration.cell import MICROSCOPE
from fgaf.model.bench.methods.focus_measures import MEASURES

HeightUm = Annotated[float, Bound(0, 1000, "µm")]
ErrorUm = Annotated[float, Bound(0, 100, "µm")]
SpeedUmS = Annotated[float, Bound(0, 1000, "µm/s")]
TravelUmS = Annotated[float, Bound(1, 1e5, "µm/s")]

OTHER_DEPTHS = ("truth", "network", "fixed")
"""Sources of depth besides searches, which are named by their focus measure."""


class Conditions(BaseModel):
    """Conditions of trials. Lengths are µm of the specimen.

    Attributes
    ----------
    motile
        Whether the cells swim.
    depth
        How the height is known: "truth", "network", "fixed", or a focus measure for a search.
    refraction
        Whether heights of the drive are multiplied by the ratio of the indices.
    height_um
        Range of the cells' height over the dish.
    fixed_um
        Height of all cells for the source "fixed".
    speed_um_s
        Range of the speed of motile cells.
    parked_um
        Height over the dish at which the tip was brought into focus, from which its depths count.
    floor_um
        Height of the lowest part of the tip over the dish below which it is never sent.
    focus_error_um, place_error_um, dish_error_um
        Errors, r.m.s.: of the focus found for the tip, in µm of the drive; of its place along each
        axis of the image; of the height of the dish as the manipulator knows it.
    travel_um_s
        Speed of the manipulator.
    stage_um_s
        Highest speed of the x/y stage along each axis.
    pipette
        The pipette, its line, and how cells respond to the flow.
    procedure
        Settings of the procedure.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    motile: bool = True
    depth: str = "network"
    refraction: Literal["known", "ignored"] = "known"
    height_um: tuple[HeightUm, HeightUm] = (4.0, 20.0)
    fixed_um: HeightUm = 12.0
    speed_um_s: tuple[SpeedUmS, SpeedUmS] = (30.0, 100.0)
    parked_um: HeightUm = 30.0
    floor_um: HeightUm = 1.5
    focus_error_um: ErrorUm = 0.15
    place_error_um: ErrorUm = 0.3
    dish_error_um: ErrorUm = 0.3
    travel_um_s: TravelUmS = 200.0
    stage_um_s: TravelUmS = 250.0
    pipette: AspirationSettings = Field(default_factory=AspirationSettings)
    procedure: ProcedureSettings = Field(default_factory=ProcedureSettings)

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.depth not in (*OTHER_DEPTHS, *MEASURES):
            names = ", ".join((*OTHER_DEPTHS, *MEASURES))
            raise ValueError(f"there is no source of depth {self.depth!r}; choose one of {names}")
        for name in ("height_um", "speed_um_s"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name} must ascend, not {low:g}, {high:g}")
        return self

    @property
    def lowest_um(self) -> float:
        """Height of the tip's axis over the dish below which it is never sent."""
        return self.floor_um + self.pipette.outer_diameter_um / 2

    @property
    def factor(self) -> float:
        """µm of the specimen that the procedure takes for a µm of the drive."""
        return 1.0 if self.refraction == "ignored" else 1 / MICROSCOPE.reduction

    def asked(self) -> ProcedureSettings:
        """Settings of the procedure for this pipette."""
        return replace(self.procedure, bore_um=self.pipette.inner_diameter_um)

    def with_values(self, values: dict[str, Any]) -> Conditions:
        """The same with other values.

        Parameters
        ----------
        values
            By name; those of the pipette and the procedure as ``pipette.NAME``, ``procedure.NAME``.

        Raises
        ------
        SettingError
            There is no such setting, or a value is not possible.
        """
        held = self.model_dump(mode="json")
        for name, value in values.items():
            *parts, last = name.split(".")
            inner: Any = held
            for part in parts:
                inner = inner.get(part) if isinstance(inner, dict) else None
            if not isinstance(inner, dict) or last not in inner or isinstance(inner[last], dict):
                raise SettingError(
                    f"there is no setting {name!r}; give one of the conditions, such as "
                    "motile, pipette.inner_diameter_um or procedure.flow_nl_s"
                )
            inner[last] = value
        try:
            return Conditions.model_validate(held)
        except ValidationError as error:
            raise SettingError(first_fault(error)) from error
