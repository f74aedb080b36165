"""Presets of the benchmark: which methods are compared, as TOML data."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fgaf.dataset.errors import SettingError
from fgaf.dataset.names import nearest
from fgaf.model.methods import AnyMethod, Name, TrainedMethod


class Preset(BaseModel):
    """What one benchmark compares.

    Attributes
    ----------
    name, description
        What it is called and for.
    reference
        The method the others' differences are taken against.
    seeds
        Every method that draws at random is run once per seed.
    methods
        In the order of the tables.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    description: str = ""
    reference: Name
    seeds: Annotated[tuple[int, ...], Field(min_length=1)] = (0,)
    methods: Annotated[tuple[AnyMethod, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        ids = [method.id for method in self.methods]
        if len(set(ids)) != len(ids):
            raise ValueError("two methods have the same id")
        if self.reference not in ids:
            raise ValueError(f"the reference {self.reference!r} is not among the methods")
        return self


def with_trained(preset: Preset, run: Path) -> Preset:
    """Put a network trained before in the place of the preset's reference."""
    trained = TrainedMethod(id=preset.reference, kind="trained", run=run)
    methods = tuple(trained if m.id == preset.reference else m for m in preset.methods)
    return preset.model_copy(update={"methods": methods})


def shipped() -> dict[str, Preset]:
    """Every preset in the package, by name."""
    found = [_parse(entry) for entry in _folder().iterdir() if entry.name.endswith(".toml")]
    return {preset.name: preset for preset in sorted(found, key=lambda preset: preset.name)}


def load_preset(name: str) -> Preset:
    """Load a preset of the package by name, or a person's own by the path of its TOML file.

    Raises
    ------
    SettingError
        No such preset (the nearest one is named), or the file has an unknown or wrong key.
    """
    if name.endswith(".toml"):
        if not Path(name).is_file():
            raise SettingError(f"no preset file {name}; give a TOML file or a name from --list")
        return _parse(Path(name))
    entry = _folder() / f"{name}.toml"
    if entry.is_file():
        return _parse(entry)
    raise SettingError(f"no preset {name!r}; {nearest(name, shipped())}")


def _folder() -> Traversable:
    return files("fgaf.model") / "presets"


def _parse(entry: Traversable) -> Preset:
    try:
        return Preset.model_validate(tomllib.loads(entry.read_text(encoding="utf-8")))
    except tomllib.TOMLDecodeError as error:
        raise SettingError(f"preset {entry.name} is not TOML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "preset"
        raise SettingError(f"preset {entry.name}: {where}: {first['msg'].lower()}") from error
