"""The methods that the benchmark compares, one module each.

To add one: a subclass of `Method` in a module of its own, listed in `KINDS`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Union, get_args

from pydantic import Field

from fgaf.model.bench.methods.annotator import AnnotatorMethod
from fgaf.model.bench.methods.boosting import BoostingMethod
from fgaf.model.bench.methods.classifier import ClassifierMethod
from fgaf.model.bench.methods.constant import ConstantMethod
from fgaf.model.bench.methods.defocus import DefocusMethod
from fgaf.model.bench.methods.focus import FocusMethod
from fgaf.model.bench.methods.fourier import FourierMethod
from fgaf.model.bench.methods.library import LibraryMethod
from fgaf.model.bench.methods.method import Method, Name, Prediction
from fgaf.model.bench.methods.trained import TrainedMethod

__all__ = ["KINDS", "AnyMethod", "Method", "Name", "Prediction", "TrainedMethod", "by_kind"]


def by_kind(*methods: type[Method]) -> dict[str, type[Method]]:
    """Index methods by their kind.

    Raises
    ------
    ValueError
        Two have the same.
    """
    kinds: dict[str, type[Method]] = {}
    for method in methods:
        (kind,) = get_args(method.model_fields["kind"].annotation)
        if kind in kinds:
            raise ValueError(f"{method.__name__} and {kinds[kind].__name__} are both {kind!r}")
        kinds[kind] = method
    return kinds


KINDS: Final = by_kind(
    ClassifierMethod,
    TrainedMethod,
    FocusMethod,
    DefocusMethod,
    LibraryMethod,
    BoostingMethod,
    FourierMethod,
    AnnotatorMethod,
    ConstantMethod,
)
"""Every method by its kind."""

if TYPE_CHECKING:
    AnyMethod = Method
else:
    AnyMethod = Annotated[Union[tuple(KINDS.values())], Field(discriminator="kind")]  # noqa: UP007
