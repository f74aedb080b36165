"""Damages files as disks, cables and other programs do; a seed gives the same damage again.

Of bytes: flipped bits, sectors that are zero, torn, exchanged, doubled or of another file, files
that are cut, end in zeros or lack a piece. Of contents, the container sound: exchanged datasets,
tensors, rows and lines, numbers of another type, attributes changed or gone.
"""

# ruff: noqa: ARG001 - all damages are called alike

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

Rng = np.random.Generator
Damage = Callable[[Path, Path, Rng], None]
"""Damages a file; the second path is another good file of its kind."""

SECTOR = 512


def damages_of(path: Path) -> tuple[Damage, ...]:
    """Everything that is done to a file of this kind: half to its bytes, half to its contents."""
    inner = next(kinds for ends, kinds in _CONTENTS.items() if path.name.endswith(ends))
    shares = max(1, round(len(_BYTES) / len(inner))) if inner else 0
    return _BYTES + inner * shares


def damage(path: Path, other: Path, seed: int) -> str:
    """Damage a file in place, and say how."""
    kinds = damages_of(path)
    chosen = kinds[seed % len(kinds)]
    before = path.read_bytes()
    for attempt in range(20):
        chosen(path, other, np.random.default_rng([seed, attempt]))
        if path.read_bytes() != before:
            return chosen.__name__
    flip_bit(path, other, np.random.default_rng(seed))
    return flip_bit.__name__


# --- bytes ---------------------------------------------------------------------------------------


def _edit(path: Path, change: Callable[[bytearray], bytes | bytearray]) -> None:
    path.write_bytes(change(bytearray(path.read_bytes())))


def _sector(data: bytearray, rng: Rng, length: int = SECTOR) -> slice:
    start = int(rng.integers(0, max(1, len(data) // SECTOR))) * SECTOR
    return slice(start, min(start + length, len(data)))


def flip_bit(path: Path, other: Path, rng: Rng) -> None:
    """One wrong bit anywhere."""

    def change(data: bytearray) -> bytearray:
        data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
        return data

    _edit(path, change)


def flip_bit_near_an_end(path: Path, other: Path, rng: Rng) -> None:
    """One wrong bit in the first or last kilobytes, where headers and indices lie."""

    def change(data: bytearray) -> bytearray:
        at = int(rng.integers(min(4096, len(data))))
        data[at if rng.random() < 0.5 else -1 - at] ^= 1 << int(rng.integers(8))
        return data

    _edit(path, change)


def flip_burst(path: Path, other: Path, rng: Rng) -> None:
    """Up to sixteen wrong bytes in a row."""

    def change(data: bytearray) -> bytearray:
        at, length = int(rng.integers(len(data))), int(rng.integers(2, 17))
        for k in range(at, min(at + length, len(data))):
            data[k] ^= int(rng.integers(1, 256))
        return data

    _edit(path, change)


def zero_sector(path: Path, other: Path, rng: Rng) -> None:
    """A sector, or eight, that was never written."""

    def change(data: bytearray) -> bytearray:
        where = _sector(data, rng, SECTOR * int(rng.choice([1, 8])))
        data[where] = bytes(where.stop - where.start)
        return data

    _edit(path, change)


def tear_sector(path: Path, other: Path, rng: Rng) -> None:
    """A sector of which only the beginning was written; the rest is noise."""

    def change(data: bytearray) -> bytearray:
        where = _sector(data, rng)
        kept = int(rng.integers(where.stop - where.start)) if where.stop > where.start else 0
        rest = where.stop - where.start - kept
        data[where.start + kept : where.stop] = rng.bytes(rest)
        return data

    _edit(path, change)


def exchange_sectors(path: Path, other: Path, rng: Rng) -> None:
    """Two sectors that were written to each other's places."""

    def change(data: bytearray) -> bytearray:
        one, two = _sector(data, rng), _sector(data, rng)
        if one.stop - one.start == two.stop - two.start:
            data[one], data[two] = data[two], data[one]
        return data

    _edit(path, change)


def misdirect_sector(path: Path, other: Path, rng: Rng) -> None:
    """A sector of another good file, at the same place."""

    def change(data: bytearray) -> bytearray:
        where = _sector(data, rng)
        foreign = other.read_bytes()[where]
        data[where.start : where.start + len(foreign)] = foreign
        return data

    _edit(path, change)


def cut(path: Path, other: Path, rng: Rng) -> None:
    """The file ends too early: anywhere, or in its last bytes; a text not between two lines.

    What ends between two lines is the text as it was before, which is another good file.
    """

    def change(data: bytearray) -> bytearray:
        last = len(data) - 1 - int(rng.integers(min(100, len(data))))
        at = int(rng.integers(len(data))) if rng.random() < 0.5 else last
        while data[at - 1 : at] == b"\n":
            at -= 1
        return data[:at]

    _edit(path, change)


def end_in_zeros(path: Path, other: Path, rng: Rng) -> None:
    """Its length is right, its end was never written."""

    def change(data: bytearray) -> bytearray:
        at = int(rng.integers(len(data)))
        data[at:] = bytes(len(data) - at)
        return data

    _edit(path, change)


def lose_piece(path: Path, other: Path, rng: Rng) -> None:
    """Some bytes in the middle are gone, and the rest has moved up."""

    def change(data: bytearray) -> bytearray:
        at, length = int(rng.integers(len(data))), int(rng.integers(1, SECTOR))
        return data[:at] + data[at + length :]

    _edit(path, change)


def swap_end(path: Path, other: Path, rng: Rng) -> None:
    """The end is that of another good file."""

    def change(data: bytearray) -> bytes:
        at = int(rng.integers(len(data)))
        return bytes(data[:at]) + other.read_bytes()[at:]

    _edit(path, change)


# --- HDF5 ----------------------------------------------------------------------------------------


def _items(file: h5py.File, only: type = object) -> list[str]:
    names: list[str] = []
    file.visit(names.append)
    return [name for name in names if isinstance(file[name], only)]


def _pick(rng: Rng, things: list[Any]) -> Any:
    return things[int(rng.integers(len(things)))]


def _alike(file: h5py.File, rng: Rng) -> tuple[str, str]:
    """Two datasets of one type and shape."""
    names = _items(file, h5py.Dataset)
    one = _pick(rng, names)
    twins = [n for n in names if n != one and file[n].shape == file[one].shape]
    same = [n for n in twins if file[n].dtype == file[one].dtype]
    return one, _pick(rng, same or twins or names)


def swap_datasets(path: Path, other: Path, rng: Rng) -> None:
    """Two datasets under each other's names, their seals with them."""
    with h5py.File(path, "r+") as file:
        one, two = _alike(file, rng)
        if one != two:
            file.move(one, "aside")
            file.move(two, one)
            file.move("aside", two)


def swap_values(path: Path, other: Path, rng: Rng) -> None:
    """The values of two datasets exchanged, their seals not."""
    with h5py.File(path, "r+") as file:
        one, two = _alike(file, rng)
        if file[one].dtype == file[two].dtype and file[one].shape == file[two].shape:
            values = file[one][()]
            file[one][...] = file[two][()]
            file[two][...] = values


def swap_rows(path: Path, other: Path, rng: Rng) -> None:
    """Two rows of a dataset exchanged."""
    with h5py.File(path, "r+") as file:
        data = file[_pick(rng, _items(file, h5py.Dataset))]
        if len(data) > 1:
            one, two = (int(k) for k in rng.choice(len(data), 2, replace=False))
            values = data[one]
            data[one] = data[two]
            data[two] = values


def foreign_dataset(path: Path, other: Path, rng: Rng) -> None:
    """A dataset of another good file, with that one's seal."""
    with h5py.File(path, "r+") as file, h5py.File(other) as donor:
        name = _pick(rng, [n for n in _items(file, h5py.Dataset) if n in donor])
        del file[name]
        donor.copy(donor[name], file, name)


def retype_dataset(path: Path, other: Path, rng: Rng) -> None:
    """A dataset of another type, its seal as it was."""
    with h5py.File(path, "r+") as file:
        name = _pick(rng, _items(file, h5py.Dataset))
        values, seals = file[name][()], dict(file[name].attrs)
        kinds = {"f": ["f4", "i4"], "i": ["i8", "f8"], "u": ["u2", "u4", "i2"]}
        kind = str(rng.choice(kinds.get(values.dtype.kind, ["S3"])))
        del file[name]
        file.create_dataset(name, data=values.astype(kind)).attrs.update(seals)


def _attribute(file: h5py.File, rng: Rng) -> tuple[Any, str]:
    places = [(name, key) for name in ["/", *_items(file)] for key in file[name].attrs]
    name, key = _pick(rng, places)
    return file[name].attrs, key


def retype_attribute(path: Path, other: Path, rng: Rng) -> None:
    """1 as 1.0, as "1", in fewer bits; text as a number."""
    with h5py.File(path, "r+") as file:
        attributes, key = _attribute(file, rng)
        value = attributes[key]
        if isinstance(value, str | bytes):
            attributes[key] = _pick(rng, [1, 0.5, value if isinstance(value, str) else
                                          value.decode()])  # fmt: skip
        else:
            kinds = [str(value), np.float32(value), float(value), np.array([value])]
            attributes[key] = _pick(rng, [*kinds, int(value) if np.isfinite(value) else 0])


def change_attribute(path: Path, other: Path, rng: Rng) -> None:
    """Another value of the same type, such as a neighbour's step or name."""
    with h5py.File(path, "r+") as file:
        attributes, key = _attribute(file, rng)
        value = attributes[key]
        if isinstance(value, bytes):
            changed = bytes(value[::-1]) or b"x"
            attributes.create(key, changed, dtype=h5py.string_dtype("utf-8", len(changed)))
        else:
            attributes[key] = np.asarray(value).dtype.type(not value if value in (0, 1) else 2)


def remove_attribute(path: Path, other: Path, rng: Rng) -> None:
    """An attribute, a seal perhaps, is gone."""
    with h5py.File(path, "r+") as file:
        attributes, key = _attribute(file, rng)
        del attributes[key]


def remove_item(path: Path, other: Path, rng: Rng) -> None:
    """A dataset or a table is gone."""
    with h5py.File(path, "r+") as file:
        del file[_pick(rng, _items(file))]


# --- checkpoints and training states -------------------------------------------------------------


def _tensors(content: Any) -> list[tuple[dict[Any, Any], Any]]:
    """Every tensor inside, as its dict and key."""
    import torch

    found: list[tuple[dict[Any, Any], Any]] = []
    if isinstance(content, dict):
        for key, value in content.items():
            if isinstance(value, torch.Tensor):
                found.append((content, key))
            else:
                found += _tensors(value)
    return found


def _rewrite(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Read a checkpoint with the libraries that anybody has, change it, and write it so."""
    import torch

    if path.suffix == ".pt":
        content = torch.load(path, weights_only=True)
        change(content)
        torch.save(content, path)
        return
    from safetensors import safe_open
    from safetensors.torch import save_file

    with safe_open(path, "pt") as file:
        content = dict(file.metadata())
        content["weights"] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(content)
    weights = content.pop("weights")
    save_file(weights, path, {key: str(value) for key, value in content.items()})


def swap_tensors(path: Path, other: Path, rng: Rng) -> None:
    """Two tensors of one shape under each other's names."""

    def change(content: dict[str, Any]) -> None:
        places = _tensors(content)
        holder, key = _pick(rng, places)
        alike = [(h, k) for h, k in places if h[k].shape == holder[key].shape and k != key]
        if alike:
            its, name = _pick(rng, alike)
            holder[key], its[name] = its[name].clone(), holder[key].clone()

    _rewrite(path, change)


def retype_tensor(path: Path, other: Path, rng: Rng) -> None:
    """A tensor in fewer or more bits, or another shape."""

    def change(content: dict[str, Any]) -> None:
        holder, key = _pick(rng, _tensors(content))
        value = holder[key]
        holder[key] = _pick(rng, [value.double(), value.half(), value.int(), value[None]])

    _rewrite(path, change)


def change_tensor(path: Path, other: Path, rng: Rng) -> None:
    """One number in a tensor is another."""

    def change(content: dict[str, Any]) -> None:
        holder, key = _pick(rng, [(h, k) for h, k in _tensors(content) if h[k].numel()])
        flat = holder[key].clone().reshape(-1)
        at = int(rng.integers(flat.numel()))
        flat[at] = flat[at] * 2 + 1
        holder[key] = flat.reshape(holder[key].shape)

    _rewrite(path, change)


def remove_tensor(path: Path, other: Path, rng: Rng) -> None:
    """A tensor is gone."""

    def change(content: dict[str, Any]) -> None:
        holder, key = _pick(rng, _tensors(content))
        del holder[key]

    _rewrite(path, change)


def change_setting(path: Path, other: Path, rng: Rng) -> None:
    """A number or text besides the tensors is another, of another type, or gone."""

    def change(content: dict[str, Any]) -> None:
        plain = [key for key in content if isinstance(content[key], str | int | float)]
        key = _pick(rng, plain)
        if key == "header":
            content[key] = _change_number(content[key], rng)
        elif rng.random() < 0.3:
            del content[key]
        else:
            value = content[key]
            content[key] = value[::-1] if isinstance(value, str) else _pick(
                rng, [value + 1, float(value), str(value), value - 1]
            )  # fmt: skip

    _rewrite(path, change)


# --- exports -------------------------------------------------------------------------------------


def swap_initializers(path: Path, other: Path, rng: Rng) -> None:
    """Two constants of one shape exchanged in the graph."""
    import onnx

    model = onnx.load(path)
    constants = model.graph.initializer
    one = int(rng.integers(len(constants)))
    alike = [
        k for k, c in enumerate(constants) if list(c.dims) == list(constants[one].dims) and k != one
    ]
    if alike:
        two = int(_pick(rng, alike))
        names = constants[one].name, constants[two].name
        constants[one].name, constants[two].name = names[1], names[0]
    onnx.save(model, path)


def change_metadata(path: Path, other: Path, rng: Rng) -> None:
    """A number or text of the model's metadata is another."""
    import onnx

    model = onnx.load(path)
    entry = _pick(rng, list(model.metadata_props))
    entry.value = _change_number(entry.value, rng)
    onnx.save(model, path)


# --- text ----------------------------------------------------------------------------------------


def _change_number(text: str, rng: Rng) -> str:
    """One of the numbers in a text is another, or becomes a word."""
    numbers = list(re.finditer(r"-?\d+(\.\d+)?", text))
    if not numbers:
        return text[::-1]
    found = _pick(rng, numbers)
    new = _pick(rng, [found[0] + "1", "-" + found[0], f'"{found[0]}"', "0", found[0] + ".0"])
    return text[: found.start()] + new + text[found.end() :]


def change_number(path: Path, other: Path, rng: Rng) -> None:
    """A number is another, or of another type."""
    path.write_text(_change_number(path.read_text("utf-8"), rng), "utf-8")


def change_letter(path: Path, other: Path, rng: Rng) -> None:
    """A letter of a name or a word is another."""
    text = path.read_text("utf-8")
    found = _pick(rng, list(re.finditer("[a-z]", text)))
    path.write_text(text[: found.start()] + "q" + text[found.end() :], "utf-8")


def swap_lines(path: Path, other: Path, rng: Rng) -> None:
    """Two lines exchanged."""
    lines = path.read_text("utf-8").splitlines(keepends=True)
    if len(lines) > 1:
        one, two = (int(k) for k in rng.choice(len(lines), 2, replace=False))
        lines[one], lines[two] = lines[two], lines[one]
    path.write_text("".join(lines), "utf-8")


def remove_line(path: Path, other: Path, rng: Rng) -> None:
    """A line is gone; not the last, without which a journal is that of an hour before."""
    lines = path.read_text("utf-8").splitlines(keepends=True)
    del lines[int(rng.integers(max(1, len(lines) - 1)))]
    path.write_text("".join(lines), "utf-8")


def remove_key(path: Path, other: Path, rng: Rng) -> None:
    """An entry of a JSON object is gone."""
    content = json.loads(path.read_text("utf-8"))
    del content[_pick(rng, list(content))]
    path.write_text(json.dumps(content), "utf-8")


def take_other(path: Path, other: Path, rng: Rng) -> None:
    """All of it is that of another good file: of weights, beside a graph that is not theirs."""
    shutil.copyfile(other, path)


_BYTES: tuple[Damage, ...] = (
    flip_bit,
    flip_bit_near_an_end,
    flip_burst,
    zero_sector,
    tear_sector,
    exchange_sectors,
    misdirect_sector,
    cut,
    end_in_zeros,
    lose_piece,
    swap_end,
)
_HDF5: tuple[Damage, ...] = (
    swap_datasets,
    swap_values,
    swap_rows,
    foreign_dataset,
    retype_dataset,
    retype_attribute,
    change_attribute,
    remove_attribute,
    remove_item,
)
_TENSORS: tuple[Damage, ...] = (
    swap_tensors,
    retype_tensor,
    change_tensor,
    remove_tensor,
    change_setting,
)
_TEXT: tuple[Damage, ...] = (change_number, change_letter, swap_lines, remove_line)
_CONTENTS: dict[str, tuple[Damage, ...]] = {
    ".h5": _HDF5,
    ".pt": _TENSORS,
    ".safetensors": _TENSORS,
    ".onnx": (swap_initializers, change_metadata),
    ".xml": _TEXT,
    ".bin": (take_other,),
    ".jsonl": _TEXT,
    ".json": (change_number, change_letter, remove_key),
}
