"""Bounds of the numbers that people and files give: each quantity is a type with finite bounds.

``step_um: StepUm`` is checked in a pydantic model, in a dataclass that calls
`require_bounded`, and on a command line as ``type=Number(StepUm)``. The bounds are wide: they
refuse values that make no sense, such as NaN, infinity, or nanometres in place of micrometres.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from numbers import Real
from typing import TYPE_CHECKING, Annotated, Any, Final, get_args, get_origin, get_type_hints

from fgaf.base.errors import SettingError

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, ValidationError
    from pydantic_core import CoreSchema

_LONG: Final = 16


@dataclass(frozen=True)
class Bound:
    """Smallest and largest allowed value of a quantity.

    Attributes
    ----------
    least, most
        The bounds, finite.
    unit
        Unit of both; empty for a pure number.
    blank
        Whether NaN is allowed too, for a value that is still to be filled in.

    Examples
    --------
    >>> Bound(0.001, 1000, "µm").fault(float("nan"))
    'nan is out of bounds; give 0.001 to 1000 µm'
    """

    least: float
    most: float
    unit: str = ""
    blank: bool = False

    def __str__(self) -> str:
        return f"{_shown(self.least)} to {_shown(self.most)} {self.unit}".rstrip()

    def fault(self, value: Any) -> str:
        """Say what is wrong with a value; empty if nothing is."""
        is_number = isinstance(value, Real)
        if not is_number:
            return f"{_shown(value)} is not a number; give {self}"
        if self.least <= value <= self.most or (self.blank and value != value):
            return ""
        return f"{_shown(value)} is out of bounds; give {self}"

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        from pydantic_core import PydanticCustomError, core_schema

        def checked(value: Any) -> Any:
            if fault := self.fault(value):
                raise PydanticCustomError("out_of_bounds", "{fault}", {"fault": fault})
            return value

        return core_schema.no_info_after_validator_function(checked, handler(source))


StepUm = Annotated[float, Bound(1e-3, 1e3, "µm")]
HalfRangeUm = Annotated[float, Bound(0, 1e5, "µm")]
PositionUm = Annotated[float, Bound(-1e6, 1e6, "µm")]
LimitUm = Annotated[float, Bound(-1e6, 1e6, "µm", blank=True)]
OffFocusUm = Annotated[float, Bound(-10, 10, "µm")]
DistanceUm = Annotated[float, Bound(0, 1e5, "µm")]
ToleranceUm = Annotated[float, Bound(1e-4, 1e4, "µm")]
HeadUm = Annotated[float, Bound(0.1, 1e3, "µm")]
BoxPerHead = Annotated[float, Bound(0.5, 10)]
UnitUm = Annotated[float, Bound(1e-6, 1e3, "µm")]
SpeedUmS = Annotated[float, Bound(1e-3, 1e8, "µm/s")]
FlowNlS = Annotated[float, Bound(1e-6, 1e6, "nL/s")]

PixelUm = Annotated[float, Bound(1e-4, 1e3, "µm")]
Aperture = Annotated[float, Bound(1e-3, 2)]
Magnification = Annotated[float, Bound(0.01, 1e4)]
Index = Annotated[float, Bound(1, 4)]
WavelengthUm = Annotated[float, Bound(0.1, 20, "µm")]
BitDepth = Annotated[int, Bound(1, 16, "bits")]

ExposureMs = Annotated[float, Bound(1e-4, 3.6e6, "ms")]
WaitMs = Annotated[float, Bound(0, 6e5, "ms")]
PollMs = Annotated[float, Bound(1e-3, 6e4, "ms")]
TimeoutS = Annotated[float, Bound(1e-3, 3600, "s")]
ValidS = Annotated[float, Bound(0.02, 5, "s")]
DurationS = Annotated[float, Bound(1e-3, 1e7, "s")]
IntervalS = Annotated[float, Bound(0, 1e7, "s")]
TimeNs = Annotated[int, Bound(-(2**63), 2**63 - 1, "ns")]
Hours = Annotated[float, Bound(0, 10_000, "h")]
FrequencyHz = Annotated[float, Bound(1e-3, 1e6, "Hz")]

PatchPx = Annotated[int, Bound(1, 8192, "px")]
CropPx = Annotated[int, Bound(8, 8192, "px")]
SensorPx = Annotated[int, Bound(1, 65536, "px")]
ShiftPx = Annotated[int, Bound(0, 1000, "px")]
OffsetPx = Annotated[int, Bound(0, 65536, "px")]
AngleDeg = Annotated[float, Bound(-360, 360, "degrees")]
AngleRad = Annotated[float, Bound(-1e6, 1e6, "rad")]
PlacePx = Annotated[float, Bound(-1e6, 1e6, "px")]

LearningRate = Annotated[float, Bound(1e-9, 1)]
Share = Annotated[float, Bound(0, 1)]
LeastShare = Annotated[float, Bound(1e-6, 1)]
Count = Annotated[int, Bound(1, 10**9)]
AnyCount = Annotated[int, Bound(0, 10**9)]
Identity = Annotated[int, Bound(0, 2**53 - 1)]
Cells = Annotated[int, Bound(1, 10**6)]
Fields = Annotated[int, Bound(1, 10**5)]
Tiles = Annotated[int, Bound(1, 1000)]
Overlap = Annotated[float, Bound(0, 0.9)]
Classes = Annotated[int, Bound(2, 10_000)]
Planes = Annotated[int, Bound(1, 10**5)]
FramesPerPlane = Annotated[int, Bound(1, 1000)]
Repeats = Annotated[int, Bound(1, 10**5)]
FoldsOrNone = Annotated[int, Bound(0, 1000)]
Folds = Annotated[int, Bound(2, 1000)]
Seed = Annotated[int, Bound(0, 2**31 - 1)]
Temperature = Annotated[float, Bound(1e-6, 1e6)]
Epochs = Annotated[int, Bound(0, 100_000)]
Threads = Annotated[int, Bound(0, 1024)]
Workers = Annotated[int, Bound(1, 1024)]
Port = Annotated[int, Bound(0, 65535)]


def bound_of(kind: Any) -> Bound | None:
    """Find the bound in a type such as ``StepUm``, ``StepUm | None`` or ``tuple[StepUm, ...]``."""
    if get_origin(kind) is Annotated:
        own = (each for each in kind.__metadata__ if isinstance(each, Bound))
        if (found := next(own, None)) is not None:
            return found
    inner = map(bound_of, get_args(kind))
    return next((found for found in inner if found is not None), None)


def require(kind: Any, value: Any, name: str) -> Any:
    """Return a value that lies within the bounds of its kind.

    Parameters
    ----------
    kind
        Such as ``StepUm``.
    value
        The number.
    name
        Beginning of the error message, such as ``--step`` or ``stack.tif: spacing``.

    Raises
    ------
    SettingError
        It is not a number, or out of bounds.
    """
    bound = bound_of(kind)
    if bound is not None and (fault := bound.fault(value)):
        raise SettingError(f"{name}: {fault}")
    return value


def require_bounded(settings: Any) -> None:
    """Check every bounded field of a dataclass; None passes.

    Raises
    ------
    SettingError
        A value is not a number, or out of bounds; the message names the field.
    """
    for name, kind in _bounded_fields(settings.__class__).items():
        for value in _flat(getattr(settings, name)):
            require(kind, value, name)


def first_fault(error: ValidationError) -> str:
    """Say in one line which value a pydantic model refused first, and why."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] not in ("out_of_bounds", "value_error"):
        message = message[:1].lower() + message[1:]
    return f"{where}: {message}" if where else message


@cache
def _bounded_fields(model: Any) -> dict[str, Any]:
    hints = get_type_hints(model, include_extras=True)
    return {name: kind for name, kind in hints.items() if bound_of(kind) is not None}


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, tuple):
        for each in value:
            yield from _flat(each)
    elif value is not None:
        yield value


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.10g}"
    text = str(value) if isinstance(value, Real) else repr(value)
    return text if len(text) <= _LONG else f"{text[:_LONG]}..."
