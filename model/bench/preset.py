"""Presets of the benchmark: which methods are compared, as TOML data."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fgaf.base.bounds import FoldsOrNone, Seed, first_fault
from fgaf.base.errors import SettingError
from fgaf.base.inputs import read_toml
from fgaf.base.names import nearest
from fgaf.model.bench.methods import AnyMethod, Name, TrainedMethod
from fgaf.model.bench.methods.classifier import ClassifierMethod

CLASSIFIER = "classifier"
"""The kind of method that the shared settings apply to."""


class Preset(BaseModel):
    """What one benchmark compares.

    Attributes
    ----------
    name, description
        Its name and purpose.
    reference
        The method that the others are compared with.
    seeds
        Every method that uses random numbers is run once per seed.
    folds
        0 for the archive's split. Otherwise the number of folds; every cell is tested once per
        seed.
    pairs
        From a method to the method that its gain is computed against, besides the reference.
    methods
        In the order of the tables.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    description: str = ""
    reference: Name
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (0,)
    folds: FoldsOrNone = 0
    pairs: dict[Name, Name] = Field(default_factory=dict)
    methods: Annotated[tuple[AnyMethod, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        ids = [method.id for method in self.methods]
        twice = {name for name in ids if ids.count(name) > 1}
        if twice:
            raise ValueError(f"two methods have the same id, {min(twice)!r}")
        for name in (self.reference, *self.pairs, *self.pairs.values()):
            if name not in ids:
                what = "reference:" if name == self.reference else "pairs:"
                raise ValueError(f"{what} {name!r} is not one of the methods; {nearest(name, ids)}")
        return self

    @property
    def seeded(self) -> int:
        """Number of its methods that are run once per seed."""
        return sum(method.seeded for method in self.methods)

    def n_runs(self, seeds: int | None = None, folds: int | None = None) -> int:
        """Count the runs; by default with the preset's own seeds and folds.

        Parameters
        ----------
        seeds
            Number of seeds; None or 0 for those of the preset.
        folds
            Number of folds, 0 for the archive's split; None for those of the preset.
        """
        each = self.seeded * (seeds or len(self.seeds)) + len(self.methods) - self.seeded
        return each * (max(1, self.folds) if folds is None else max(1, folds))


class _Head(BaseModel):
    """The part of a preset file that applies to all its methods.

    Attributes
    ----------
    include
        Shipped presets whose methods and pairs are appended, with their own settings.
    settings
        Training settings of all classifiers of this file; a classifier's own settings override
        them.
    """

    model_config = ConfigDict(extra="ignore")

    include: tuple[Name, ...] = ()
    settings: dict[str, Any] = Field(default_factory=dict)


def with_trained(preset: Preset, run: Path) -> Preset:
    """Replace the preset's reference by a network trained before.

    Parameters
    ----------
    preset
        What to compare; it is not changed.
    run
        Folder of the training run.
    """
    trained = TrainedMethod(id=preset.reference, kind="trained", run=run)
    methods = tuple(trained if m.id == preset.reference else m for m in preset.methods)
    return preset.model_copy(update={"methods": methods})


def with_settings(preset: Preset, settings: Mapping[str, Any]) -> Preset:
    """Override training settings of every classifier of a preset.

    Parameters
    ----------
    preset
        What to compare; it is not changed.
    settings
        Training settings by name; they replace those of a method.

    Raises
    ------
    SettingError
        It has no classifier.
    """
    if not settings:
        return preset
    methods = tuple(
        method.model_copy(update={"settings": {**method.settings, **settings}})
        if isinstance(method, ClassifierMethod)
        else method
        for method in preset.methods
    )
    if not any(isinstance(method, ClassifierMethod) for method in methods):
        raise SettingError(
            f"--set changes classifiers, and preset {preset.name!r} has none; leave it out"
        )
    return preset.model_copy(update={"methods": methods})


def shipped() -> dict[str, Preset]:
    """Every preset in the package, by name."""
    found = [_parse(entry) for entry in _folder().iterdir() if entry.name.endswith(".toml")]
    return {preset.name: preset for preset in sorted(found, key=lambda preset: preset.name)}


def load_preset(name: str) -> Preset:
    """Load a preset of the package by name, or another by the path of its TOML file.

    Raises
    ------
    SettingError
        No such preset (the nearest one is named), or the file has an unknown or wrong key.
    """
    if name.endswith(".toml"):
        if not Path(name).is_file():
            raise SettingError(
                f"there is no preset file {name}; give a TOML file or a name from --list"
            )
        return _parse(Path(name))
    return _parse(_shipped_file(name))


def _folder() -> Traversable:
    return files("fgaf.model.bench") / "presets"


def _shipped_file(name: str) -> Traversable:
    entry = _folder() / f"{name}.toml"
    if entry.is_file():
        return entry
    names = [e.name.removesuffix(".toml") for e in _folder().iterdir() if e.name.endswith(".toml")]
    raise SettingError(f"no preset {name!r}; {nearest(name, names)}")


def _parse(entry: Traversable) -> Preset:
    try:
        return Preset.model_validate(_expanded(entry))
    except ValidationError as error:
        raise SettingError(f"preset {entry.name}: {first_fault(error)}") from error


def _expanded(entry: Traversable) -> dict[str, Any]:
    """Read a preset file and apply its `_Head`."""
    written = read_toml(Path(str(entry)))
    head = _Head.model_validate(written)
    own = {key: value for key, value in written.items() if key not in _Head.model_fields}
    methods: list[Any] = []
    pairs: dict[str, Any] = {}
    for name in head.include:
        part = _expanded(_shipped_file(name))
        methods += [method for method in part["methods"] if method not in methods]
        pairs |= part.get("pairs", {})
    mine = own.get("methods", [])
    if isinstance(mine, list):
        mine = [_shared(method, head.settings) for method in mine]
        own["methods"] = [*mine, *[method for method in methods if method not in mine]]
    if pairs and isinstance(own.get("pairs", {}), dict):
        own["pairs"] = own.get("pairs", {}) | pairs
    return own


def _shared(method: Any, settings: Mapping[str, Any]) -> Any:
    """Add the settings of all classifiers to a classifier's own, which override them."""
    if not isinstance(method, dict) or method.get("kind") != CLASSIFIER:
        return method
    own = method.get("settings", {})
    return {**method, "settings": {**settings, **own} if isinstance(own, dict) else own}
