"""Good files of every kind, the commands that read them, and what becomes of a damaged one.

``python lab.py FOLDER`` makes the files, or takes those that are there, and answers each line of
JSON on its input, ``{"kind": ..., "seed": ..., "only": ...}``, with a line for each command and an
empty object: a process that may crash or hang over damaged files.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import h5py
import numpy as np
from click.testing import CliRunner, Result

sys.path.insert(0, str(Path(__file__).parent))
from corrupter import damage

SIDE, STEP_UM, HALF_UM = 32, 0.5, 1.0
FIELD = (176, 224)
QUICK = ["--backbone", "shufflenet_v2_x0_5", "--epochs", "1", "--set", "width=16", "--threads", "1",
         "--set", "tta=false"]  # fmt: skip

Call = tuple[click.Command, list[str]]


# --- good files ----------------------------------------------------------------------------------


def make(folder: Path, seed: int, exports: bool = True) -> None:
    """Everything that a lab has after a day: stack, session, archive, run, exports, benchmark."""
    from fgaf.curate.commands.main import main as curate
    from fgaf.dataset.archive import write_archive
    from fgaf.model.commands.bench import bench
    from fgaf.model.commands.train import train
    from fgaf.model.deploy.export import ExportSettings, build
    from fgaf.model.deploy.graph import onnx_model
    from fgaf.model.inference.checkpoint import Checkpoint

    folder.mkdir(parents=True)
    (folder / "key").write_text("0123456789abcdef" * 4)
    archive = _archive(seed)
    write_archive(folder / "data.h5", archive)
    _stack(folder / "s.stack.h5", seed)
    _must(curate, _auto(folder / "s.stack.h5", folder / "curated.h5"))
    _must(train, [str(folder / "data.h5"), "--out", str(folder / "run"), *QUICK])
    checkpoint = Checkpoint.load(folder / "run" / "checkpoint.pt")
    checkpoint.save(folder / "run" / "model.safetensors")
    if exports:
        model, one = onnx_model(checkpoint, False, "fp32"), archive.images[:1]
        build(folder / "run" / "model.onnx", model, checkpoint, ExportSettings(to="onnx"), one)
        build(folder / "run" / "model.xml", model, checkpoint, ExportSettings(to="openvino"), one)
    (folder / "preset.toml").write_text(PRESET)
    with contextlib.chdir(folder):  # a benchmark remembers the name of the run
        _must(bench, _bench(folder, folder / "bench"))
    (folder / "replay.toml").write_text(RIG.format(stack="s.stack.h5"))
    shutil.copyfile(folder / "data.h5", folder / "good.h5")


PRESET = """
name = "short"
reference = "fgaf"

[[methods]]
id = "fgaf"
kind = "classifier"

[[methods]]
id = "constant"
kind = "constant"
label = "Constant"
"""

RIG = """
[camera]
driver = "replay"

[stage]
driver = "replay"

[stage.options]
stack = '{stack}'
"""


def _must(command: click.Command, arguments: list[str]) -> None:
    done = CliRunner().invoke(command, arguments)
    if done.exit_code:
        raise RuntimeError(f"{arguments}: {done.output}") from done.exception


def _archive(seed: int) -> Any:
    """Ten cells of five planes: spots that widen and change sign with depth."""
    from fgaf.dataset.archive import Archive, ArchiveHeader, Cells
    from fgaf.dataset.storage.optics import Optics

    rng = np.random.default_rng(seed)
    cells, grid = 10, STEP_UM * np.arange(-2, 3)
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    images = [
        100 + 60 * (depth + 0.3) * np.exp(-(y**2 + x**2) / (2 * (2 + 1.5 * abs(depth)) ** 2))
        for _ in range(cells)
        for depth in grid
    ]
    noisy = np.array(images) + rng.normal(0, 2, (len(images), SIDE, SIDE))
    cell = np.repeat(np.arange(cells, dtype=np.int32), grid.size)
    rows = [
        {
            "id": f"cell-{k}",
            "source": f"field {k}",
            "source_sha256": f"{k}" * 64,
            "sample_id": f"donor {k % 5}",
            "field": f"field {k}",
            "focus_um": 10.0 + k,
            "focus_plane": 4,
            "annotator": "anna",
            "labelled_utc": "2026-01-01T00:00:00+00:00",
            "method": "person",
            "confidence": 0.9,
        }
        for k in range(cells)
    ]
    depth_um = np.tile(grid, cells)
    optics = Optics(pixel_size_um=0.1465, numerical_aperture=0.65, magnification=40.0)
    return Archive(
        header=ArchiveHeader.new(
            step_um=STEP_UM, half_range_um=HALF_UM, patch_px=SIDE, optics=optics, name="spots"
        ),
        images=np.clip(noisy, 0, 255).astype(np.uint8),
        depth_um=depth_um,
        plane=np.tile(np.arange(2, 7, dtype=np.int32), cells),
        cell=cell,
        center_y=cell * 100 + 50,
        center_x=cell * 100 + 50,
        cells=Cells.from_rows(rows),
        true_depth_um=depth_um + rng.normal(0, 0.02, len(depth_um)),
        splits={"default": np.array([0, 0, 0, 2, 1] * 2, dtype=np.int8)},
    )


def _stack(path: Path, seed: int) -> None:
    """Nine planes of a simulated field, with their truth."""
    from fgaf.acquire.simulation.scene import Scene
    from fgaf.acquire.simulation.settings import SimulationSettings
    from fgaf.dataset.raw import RawHeader, RawWriter
    from fgaf.dataset.truth import FrameTruth, StackTruth, write_truth

    scene = Scene(SimulationSettings(seed=seed, cells=3, shape=FIELD, motile=False, debris=0))
    focus = np.mean([cell.focus_um for cell in scene.expose(0, 5e-3, 0)[1]])
    z = float(focus) + STEP_UM * np.arange(-6, 7)
    header = RawHeader.new(
        step_um=STEP_UM,
        half_range_um=3.0,
        center_um=float(z[6]),
        bit_depth=8,
        optics=scene.settings.optics,
        sample_id=f"donor {seed}",
    )
    truth = []
    with RawWriter(path, header, (len(z), *FIELD), np.uint8) as writer:
        for plane, height in enumerate(z):
            now = plane * 33_000_000
            pixels, cells = scene.expose(now * 1e-9, 0.005, float(height))
            truth.append(FrameTruth(time_ns=now, cells=cells))
            writer.write(
                plane,
                pixels,
                z_requested_um=float(height),
                z_measured_um=float(height),
                time_device_ns=now,
                time_host_ns=now,
                frame_id=plane,
                exposure_us=5000.0,
            )
        writer.publish()
    write_truth(path, StackTruth(stack_uuid=header.uuid, frames=tuple(truth)))


# --- commands ------------------------------------------------------------------------------------


def _auto(stack: Path, out: Path) -> list[str]:
    options = ["--patch", str(SIDE), "--half-range", str(HALF_UM), "--json"]
    return ["auto", str(stack), "--out", str(out), *options]


def _bench(folder: Path, out: Path) -> list[str]:
    known = ["--preset", str(folder / "preset.toml"), "--trained", "run", "--json"]
    return [str(folder / "data.h5"), *known, "--out", str(out)]


def _data(*arguments: str) -> Call:
    from fgaf.dataset.commands.main import main

    return main, list(arguments)


def _curate(arguments: list[str]) -> Call:
    from fgaf.curate.commands.main import main

    return main, arguments


def _acq(*arguments: str) -> Call:
    from fgaf.acquire.commands.main import main

    return main, list(arguments)


def _predict(model: Path, inputs: Path) -> Call:
    from fgaf.model.commands.predict import predict

    return predict, [str(model), str(inputs), "--json", "--force"]


def _train(folder: Path, *arguments: str, out: str = "out") -> Call:
    from fgaf.model.commands.train import train

    run = ["--out", str(folder / out), *QUICK, "--json"]
    return train, [str(folder / "data.h5"), *run, *arguments]


def _benchmark(folder: Path, out: str = "out") -> Call:
    from fgaf.model.commands.bench import bench

    return bench, _bench(folder, folder / out)


def _deploy(folder: Path, model: Path) -> Call:
    from fgaf.model.commands.export import export

    known = ["--archive", str(folder / "data.h5"), "--out", str(folder / "out.onnx"), "--json"]
    return export, [str(model), *known]


def _live(model: Path) -> Call:
    from fgaf.base.console import Tool

    @click.command(cls=Tool)
    def opens() -> None:
        from fgaf.model.live.loop import open_live

        read = open_live(model).read(_archive(1).images[:3])
        click.echo(json.dumps([read.depth_um.round(5).tolist(), read.in_range.tolist()]))

    return opens, []


@dataclass(frozen=True)
class Command:
    """A command that reads a kind of file.

    Attributes
    ----------
    name
        For the table.
    call
        Its click command and arguments, from the folder of good files and the damaged one in it.
    takes
        Of a slow command, all that it takes from the file: where that is what the good file
        gives, the answer cannot be another one, and the command is not called.
    """

    name: str
    call: Callable[[Path, Path], Call]
    takes: Callable[[Path], str] | None = None


@dataclass(frozen=True)
class Kind:
    """A kind of file: its name for the table, its place in the folder, who reads it."""

    name: str
    pattern: str
    commands: tuple[Command, ...]

    def file(self, folder: Path) -> Path:
        """The file of this kind in a folder of all kinds."""
        (path,) = folder.glob(self.pattern)
        return path


def _archive_takes(path: Path) -> str:
    from fgaf.dataset.archive import Archive

    archive = Archive.read(path)
    held = {**vars(archive), "path": None, "cells": vars(archive.cells)}
    return repr({key: _plain(value) for key, value in held.items()})


def _checkpoint_takes(path: Path) -> str:
    from fgaf.model.inference.checkpoint import Checkpoint

    held = vars(Checkpoint.load(path))
    weights = {name: _plain(value.numpy()) for name, value in held["weights"].items()}
    familiar = held["familiar"] and [_plain(t.numpy()) for t in held["familiar"].tensors().values()]
    return repr({**held, "weights": weights, "familiar": familiar})


def _state_takes(path: Path) -> str:
    from fgaf.model.inference.checkpoint import load_state
    from fgaf.model.inference.digest import digest_of

    return digest_of(load_state(path))


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        kept = value.tolist() if value.dtype == object else value.tobytes()
        return value.dtype.str, value.shape, kept
    return {k: _plain(v) for k, v in value.items()} if isinstance(value, dict) else value


_PREDICT = Command("fgaf-predict", lambda w, f: _predict(f, w / "data.h5"))
_LIVE = Command("model opened as by fgaf-live", lambda _, f: _live(f))
_CHECKPOINT = (
    _PREDICT,
    _LIVE,
    Command(
        "fgaf-train --pretrained", lambda w, f: _train(w, "--pretrained", str(f)), _checkpoint_takes
    ),
    Command("fgaf-export", _deploy, _checkpoint_takes),
)
KINDS = (
    Kind(
        "raw stack",
        "s.stack.h5",
        (
            Command("fgaf-data info", lambda _, f: _data("info", str(f), "--json")),
            Command("fgaf-data validate", lambda _, f: _data("validate", str(f), "--json")),
            Command(
                "fgaf-data export",
                lambda w, f: _data("export", str(f), "--to", "ome-tiff", "--out", str(w / "out")),
            ),
            Command(
                "fgaf-data anonymise",
                lambda w, f: _data(
                    "anonymise", str(f), "--out", str(w / "out"), "--key-file", str(w / "key")
                ),
            ),
            Command("fgaf-curate auto", lambda w, f: _curate(_auto(f, w / "out.h5"))),
            Command(
                "fgaf-curate detect",
                lambda w, f: _curate(["detect", str(f), "--out", str(w / "out.csv")]),
            ),
            Command("fgaf-predict", lambda w, f: _predict(w / "run", f)),
            Command(
                "acq stack of a replay",
                lambda w, f: _acq(
                    *(
                        "stack",
                        "--rig",
                        str(w / "replay.toml"),
                        "--set",
                        f"stage.options.stack={f}",
                    ),
                    *("--out", str(w / "out"), "--name", "x", "--range", "1"),
                ),
            ),
        ),
    ),
    Kind(
        "archive",
        "data.h5",
        (
            Command("fgaf-data info", lambda _, f: _data("info", str(f), "--json")),
            Command("fgaf-data validate", lambda _, f: _data("validate", str(f), "--json")),
            Command(
                "fgaf-data export",
                lambda w, f: _data("export", str(f), "--to", "npz", "--out", str(w / "out.npz")),
            ),
            Command(
                "fgaf-data split",
                lambda w, f: _data("split", str(f), "--name", "new", "--out", str(w / "out.h5")),
            ),
            Command(
                "fgaf-data subset",
                lambda w, f: _data(
                    "subset", str(f), "--sample", "donor 1", "--out", str(w / "out.h5")
                ),
            ),
            Command(
                "fgaf-data merge",
                lambda w, f: _data(
                    *("merge", str(f), str(w / "curated.h5"), "--mixed-optics"),
                    *("--out", str(w / "out.h5")),
                ),
            ),
            Command(
                "fgaf-data card",
                lambda w, f: _data("card", str(f), "--croissant", str(w / "out.json")),
            ),
            Command("fgaf-data diff", lambda w, f: _data("diff", str(w / "good.h5"), str(f))),
            Command("fgaf-predict", lambda w, f: _predict(w / "run", f)),
            Command("fgaf-train", lambda w, _: _train(w), _archive_takes),
            Command("fgaf-bench", lambda w, _: _benchmark(w), _archive_takes),
            Command("fgaf-export", lambda w, _: _deploy(w, w / "run"), _archive_takes),
        ),
    ),
    Kind("checkpoint .pt", "run/checkpoint.pt", _CHECKPOINT),
    Kind("checkpoint .safetensors", "run/model.safetensors", _CHECKPOINT),
    Kind(
        "training state last.pt",
        "run/last.pt",
        (
            Command(
                "fgaf-train --resume", lambda w, _: _train(w, "--resume", out="run"), _state_takes
            ),
        ),
    ),
    Kind("export .onnx", "run/model.onnx", (_PREDICT, _LIVE)),
    Kind("export .xml", "run/model.xml", (_PREDICT, _LIVE)),
    Kind(
        "export .bin",
        "run/model.bin",
        (
            Command("fgaf-predict", lambda w, f: _predict(f.with_suffix(".xml"), w / "data.h5")),
            Command("model opened as by fgaf-live", lambda _, f: _live(f.with_suffix(".xml"))),
        ),
    ),
    Kind(
        "session journal",
        "curated.session/journal.jsonl",
        (
            Command("fgaf-curate status", lambda _, f: _curate(["status", str(f.parent)])),
            Command(
                "fgaf-curate export",
                lambda w, f: _curate(["export", str(f.parent), "--out", str(w / "out.h5")]),
            ),
        ),
    ),
    Kind(
        "truth of a simulated stack",
        "s.truth.json",
        (Command("fgaf-curate auto", lambda w, _: _curate(_auto(w / "s.stack.h5", w / "out.h5"))),),
    ),
    Kind(
        "answers of a benchmark",
        "bench/runs/fgaf*.json",
        (Command("fgaf-bench, resumed", lambda w, _: _benchmark(w, out="bench")),),
    ),
)


# --- verdicts ------------------------------------------------------------------------------------

REPORTED, TOLD, HARMLESS = "reported", "told", "harmless"
# What a session says of a journal that ends in a torn line, as a crash leaves it.
_TORN = "was torn by a crash"
_TIMES = {"created_utc", "time_utc", "labelled_utc", "software", "uuid", "history"}
# A card names the file that it describes by its bytes.
_BYTES = {"sha256", "contentSize"}
_CLOCKS = {"timing", "seconds", "core_s", "core_hours", "machine", "machines", "cost"}
_CLOCKS |= {"minutes", "started_utc"}


class Lab:
    """A folder of good files, one of which is damaged at a time."""

    def __init__(self, folder: Path, exports: bool = True) -> None:
        self._good, self._other, self._work = (folder / n for n in ("good", "other", "work"))
        self._outcomes: dict[tuple[str, str], tuple[str, str]] = {}
        for place, seed in ((self._good, 3), (self._other, 5)):
            if not place.exists():
                shutil.rmtree(self._work, ignore_errors=True)
                make(self._work, seed, exports)
                self._work.replace(place)
        shutil.rmtree(self._work, ignore_errors=True)
        shutil.copytree(self._good, self._work)

    def judge(self, kind: Kind, commands: Sequence[Command], seed: int) -> Iterator[dict[str, str]]:
        """Damage the kind's file, call some of its commands, and say what became of it.

        Parameters
        ----------
        kind, commands
            Which file, and who reads it.
        seed
            Which damage.
        """
        for command in commands:
            self._learn(kind, command)
        file = kind.file(self._work)
        try:
            how = damage(file, kind.file(self._other), seed)
            for command in commands:
                self._clear()
                known = self._outcomes[kind.name, command.name]
                verdict, said = HARMLESS, ""
                if command.takes is None or self._taken(command.takes, file) != known[0]:
                    verdict, said = self._verdict(command, self._called(command, file), known[1])
                found = {"command": command.name, "damage": how, "verdict": verdict, "said": said}
                yield found
        finally:
            self._restore(kind)

    def _learn(self, kind: Kind, command: Command) -> None:
        """Call a command with good files, once."""
        key = (kind.name, command.name)
        if key in self._outcomes:
            return
        file = kind.file(self._work)
        taken = command.takes(file) if command.takes else ""
        self._clear()
        done = self._called(command, file)
        if done.exit_code:
            raise RuntimeError(f"{key} of good files: {done.output}") from done.exception
        self._outcomes[key] = taken, self._outcome(done)
        self._restore(kind)

    def _clear(self) -> None:
        for path in self._work.glob("out*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def _restore(self, kind: Kind) -> None:
        """Put right what was damaged and what the kind's commands write beside it."""
        self._clear()
        top = Path(kind.pattern).parts[0]
        source, target = self._good / top, self._work / top
        if source.is_dir():
            shutil.rmtree(target)
            shutil.copytree(source, target)
        else:
            shutil.copyfile(source, target)

    def _called(self, command: Command, file: Path) -> Result:
        cli, arguments = command.call(self._work, file)
        with contextlib.chdir(self._work):
            return CliRunner().invoke(cli, arguments)

    @staticmethod
    def _taken(takes: Callable[[Path], str], file: Path) -> str:
        try:
            return takes(file)
        except Exception:  # the command is called and has to say so
            return ""

    def _verdict(self, command: Command, done: Result, good: str) -> tuple[str, str]:
        error = done.exception
        if error is not None and not isinstance(error, SystemExit):
            return "traceback", "".join(traceback.format_exception(error))[-1500:]
        said = done.stderr.strip()
        if "Traceback" in said or "Warning" in said:
            return "traceback", said
        if done.exit_code == 0 and _TORN in said + done.stdout:
            return TOLD, said
        if done.exit_code == 0:
            same = self._outcome(done) == good
            return (HARMLESS if same else "silent"), "" if same else done.stdout[-300:]
        listed = command.name.split()[-1] in ("validate", "diff")
        if listed and not said:
            return REPORTED, done.stdout[-300:]
        errors = [line for line in said.splitlines() if line.startswith("error: ")]
        one_line = len(errors) == 1 and said.endswith(errors[0])
        return (REPORTED if one_line else "not one line"), said

    def _outcome(self, done: Result) -> str:
        """What a command said and wrote, but for times and places."""
        try:
            said = json.dumps(_timeless(json.loads(done.stdout)), sort_keys=True)
        except ValueError:
            said = done.stdout
        digest = hashlib.sha256(said.replace(str(self._work), "").encode())
        for path in sorted(self._work.glob("out*")):
            files = sorted(path.rglob("*")) if path.is_dir() else [path]
            for file in files:
                digest.update(str(file.relative_to(self._work)).encode())
                if file.suffix == ".h5":
                    digest.update(_held(file).encode())
                elif file.suffix == ".json" and path.is_file():
                    digest.update(repr(_timeless(json.loads(file.read_text("utf-8")))).encode())
                elif path.is_file() or file.suffix == ".tif":
                    digest.update(file.read_bytes())
        return digest.hexdigest()


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _timeless(v) for k, v in value.items() if k not in _BYTES | _CLOCKS | _TIMES}
    return [_timeless(item) for item in value] if isinstance(value, list) else value


def _held(path: Path) -> str:
    """What an HDF5 file holds, but for times and seals."""
    from fgaf.dataset.storage.integrity import END_SEAL, FILE_SEAL, SEAL, SUMS_SEAL

    found: list[str] = []

    def look(name: str, item: Any) -> None:
        attributes = {
            key: repr(value)
            for key, value in sorted(item.attrs.items())
            if key not in {SEAL, SUMS_SEAL, FILE_SEAL, END_SEAL, *_TIMES}
        }
        found.append(f"{name} {attributes}")
        if isinstance(item, h5py.Dataset) and not name.rpartition("/")[2].startswith(
            ("time_", "crc32", *_TIMES)
        ):
            found.append(f"{name} {hashlib.sha256(item[()].tobytes()).hexdigest()}")

    with h5py.File(path) as file:
        look("", file)
        file.visititems(look)
    return "\n".join(found)


def main() -> None:
    """Serve: see the module."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(1, 2)
    lab = Lab(Path(sys.argv[1]))
    kinds = {kind.name: kind for kind in KINDS}
    print("{}", file=answers, flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        kind = kinds[asked["kind"]]
        commands = [command for command in kind.commands if asked["only"] in command.name]
        for answer in lab.judge(kind, commands, asked["seed"]):
            print(json.dumps(answer), file=answers, flush=True)
        print("{}", file=answers, flush=True)


if __name__ == "__main__":
    main()
