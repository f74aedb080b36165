"""What a format needs that is not installed is named, with the extra that brings it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from fgaf.base.errors import FgafError
from fgaf.dataset.archive import Archive
from fgaf.dataset.exporters.export import export
from fgaf.dataset.importers.stacks import import_stacks
from fgaf.dataset.storage.url import Url


@dataclass(frozen=True)
class Missing:
    """A package, what needs it, and the extra."""

    package: str
    use: Callable[[Path, Path, Path], object]
    extra: str


def read_nd2(_: Path, __: Path, folder: Path) -> None:
    (folder / "a.nd2").write_bytes(b"x")
    list(import_stacks([folder / "a.nd2"], folder / "raw"))


def open_url(_: Path, __: Path, ___: Path) -> None:
    with Archive.open(Url("https://127.0.0.1/a.h5")):
        pass


MISSING = [
    Missing("zarr", lambda s, _, f: export([s], "ome-zarr", f), "interchange"),
    Missing("nd2", read_nd2, "interchange"),
    Missing("pyarrow", lambda _, a, f: export([a], "huggingface", f / "hub"), "interchange"),
    Missing("fsspec", open_url, "remote"),
]


@pytest.mark.parametrize("case", MISSING, ids=lambda c: c.package)
def test_the_extra_is_named(
    case: Missing,
    good_stack: Path,
    good_archive: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, case.package, None)
    with pytest.raises(FgafError, match=rf"fgaf\[{case.extra}\]"):
        case.use(good_stack, good_archive, tmp_path)
