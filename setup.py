"""Packages: each room is a folder at the top, installed as fgaf.ROOM, with all packages in it."""

from setuptools import find_packages, setup

ROOMS = ("base", "dataset", "acquire", "curate", "model")
DATA = ("bench.presets", "bench.report.templates", "inference.weights")
FILES = "py.typed *.pyi *.json *.toml *.yaml *.npz *.html *.css *.js *.safetensors *.md"

setup(
    packages=["fgaf", *(f"fgaf.{room}" for room in ROOMS)]
    + [f"fgaf.{room}.{package}" for room in ROOMS for package in find_packages(room)]
    + [f"fgaf.model.{data}" for data in DATA],
    package_dir={"fgaf": "fgaf", **{f"fgaf.{room}": room for room in ROOMS}},
    package_data={"": FILES.split()},
)
