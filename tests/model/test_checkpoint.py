"""Checkpoints and training states carry a checksum, which is compared when they are read."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from fgaf.base.errors import FgafError, FormatError
from fgaf.dataset.archive import Archive
from fgaf.model.inference.checkpoint import Checkpoint, load_state, save_state
from fgaf.model.inference.digest import digest_of
from fgaf.model.inference.initial_weights import InitialWeights
from fgaf.model.networks.settings import TrainSettings
from fgaf.model.training.train import train

Read = Callable[[Path], Any]


@pytest.fixture(scope="module")
def run(make_archive: Callable[..., Archive], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One epoch of the smallest network, its checkpoint in both containers."""
    folder = tmp_path_factory.mktemp("run")
    settings = TrainSettings(backbone="shufflenet_v2_x0_5", width=16, epochs=1, threads=1)
    train(make_archive(), settings, folder, pictures=False)
    Checkpoint.load(folder / "checkpoint.pt").save(folder / "checkpoint.safetensors")
    return folder


@dataclass(frozen=True)
class Kind:
    """A file of a run, and what reads it."""

    name: str
    read: Read


KINDS = (
    Kind("checkpoint.pt", Checkpoint.load),
    Kind("checkpoint.safetensors", Checkpoint.load),
    Kind("last.pt", load_state),
    Kind("checkpoint.pt", lambda path: InitialWeights.load(str(path))),
)


def same(one: Any, other: Any) -> bool:
    """Whether two things that were read hold the same."""
    if isinstance(one, InitialWeights):
        one, other = one.checkpoint, other.checkpoint
    if isinstance(one, Checkpoint):
        one, other = ({**vars(it), "familiar": None} for it in (one, other))
        one, other = ({**it, **{k: vars(it[k]) for k in ("settings", "scale", "optics")}}
                      for it in (one, other))  # fmt: skip
    return digest_of(one) == digest_of(other)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_any_flipped_bit_is_refused_or_changes_nothing(
    kind: Kind, run: Path, tmp_path: Path
) -> None:
    good = (run / kind.name).read_bytes()
    whole, broken = kind.read(run / kind.name), tmp_path / kind.name
    rng = np.random.default_rng(5)
    refused = 0
    for at in [*rng.integers(len(good), size=12), *rng.integers(len(good) - 4000, len(good), 12)]:
        damaged = bytearray(good)
        damaged[at] ^= 1 << int(rng.integers(8))
        broken.write_bytes(damaged)
        line = ""
        try:
            found = kind.read(broken)
        except FgafError as error:
            line = str(error)
        assert str(broken) in line if line else same(found, whole)
        assert "\n" not in line
        refused += bool(line)
    assert refused >= 12


def alter(folder: Path, run: Path, sealed: bool = True) -> None:
    """Change what the files of a run hold, as another program would: their containers are sound."""
    content = torch.load(run / "checkpoint.pt", weights_only=True)
    name = next(name for name, value in content["weights"].items() if value.ndim == 4)
    content["weights"][name] = content["weights"][name] * 1.01
    with safe_open(run / "checkpoint.safetensors", "pt") as file:
        texts = file.metadata()
    texts["header"] = texts["header"].replace('"step_um": 0.5', '"step_um": 0.4')
    state = torch.load(run / "last.pt", weights_only=True) | {"epoch": 0}
    if not sealed:
        for holder in (content, texts, state):
            del holder["sha256"]
    torch.save(content, folder / "checkpoint.pt")
    save_file(content["weights"], folder / "checkpoint.safetensors", texts)
    torch.save(state, folder / "last.pt")


@pytest.mark.parametrize("sealed", [True, False], ids=["sealed", "seal removed"])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_content_that_another_program_changed_is_refused(
    kind: Kind, sealed: bool, run: Path, tmp_path: Path
) -> None:
    alter(tmp_path, run, sealed)
    with pytest.raises(FormatError, match="its checksum differs"):
        kind.read(tmp_path / kind.name)


@pytest.mark.parametrize("version", [2, 3, 4])
def test_checkpoints_of_before_have_none_and_open(version: int, run: Path, tmp_path: Path) -> None:
    content = torch.load(run / "checkpoint.pt", weights_only=True)
    del content["sha256"]
    torch.save(content | {"format_version": version}, tmp_path / "checkpoint.pt")
    old, new = (Checkpoint.load(folder / "checkpoint.pt") for folder in (tmp_path, run))
    assert all(torch.equal(old.weights[name], value) for name, value in new.weights.items())
    assert (old.familiar is None) == (version < 4)


def test_the_checksum_is_that_of_the_content_in_any_container(run: Path) -> None:
    found = torch.load(run / "checkpoint.pt", weights_only=True)["sha256"]
    with safe_open(run / "checkpoint.safetensors", "pt") as file:
        assert file.metadata()["sha256"] == found


@pytest.mark.parametrize(
    ("one", "other"),
    [(1, 1.0), (1, "1"), (1, True), ([1], (1,)), ({"a": 1}, {"b": 1}), ("ab", "ba"),
     ([["a"], "b"], [["a", "b"]]), (torch.zeros(2), torch.zeros(2, 1)), (0.0, -0.0), (None, "None"),
     (torch.zeros(1), torch.zeros(1, dtype=torch.int32)), (torch.tensor(1), torch.tensor(2))],
    ids=repr,
)  # fmt: skip
def test_the_checksum_tells_types_shapes_and_values_apart(one: Any, other: Any) -> None:
    assert digest_of({"it": one}) != digest_of({"it": other})
    assert digest_of({"it": one, "x": 1}) == digest_of({"x": 1, "it": one})


def save_large(path: Path, _run: Path) -> None:
    save_state(path, {"x": torch.zeros(1_000_000)})


def save_checkpoint(path: Path, run: Path) -> None:
    Checkpoint.load(run / "checkpoint.pt").save(path)


FULL_DISK: dict[str, Callable[[Path, Path], None]] = {
    "last.pt": save_large,
    "checkpoint.pt": save_checkpoint,
    "checkpoint.safetensors": save_checkpoint,
}


@pytest.mark.skipif(os.name != "posix", reason="POSIX limits")
@pytest.mark.parametrize("name", FULL_DISK)
def test_a_full_disk_is_one_line_and_leaves_the_checkpoint_of_before(
    name: str, run: Path, tmp_path: Path
) -> None:
    import resource

    path = tmp_path / name
    path.write_bytes(b"of before")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(FgafError, match=rf"cannot write .*{name} \(File too large\)"):
            FULL_DISK[name](path, run)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == b"of before"
    assert list(tmp_path.iterdir()) == [path]
