"""Write TIFFs as other programs do: Micro-Manager's and OME's sets of files, LSM, packed pages."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

_OME = 'xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"'


@dataclass(frozen=True)
class MmStack:
    """A recording by Micro-Manager, after its MultipageTiffWriter.

    Each position has a file, or with `together` all have one. The first file holds the OME-XML of
    all, the others refer to it. `z_um` are the positions of the drive, for every position of the
    stage the same ones plus 100 µm.
    """

    pixels: NDArray[np.uint16]
    z_step_um: float = 0.5
    z_um: Sequence[float] = (3.0, 3.5, 4.0, 4.5, 5.0)
    prefix: str = "cells_1"
    taken: str = "2024-05-01 12:00:00"
    steps_of_images: Sequence[float] = ()
    planned_times: int = 0
    ome_z_um: Sequence[float] = ()
    together: bool = False

    def name(self, position: int) -> str:
        place = "" if self.together else f"_Pos{position}"
        return f"{self.prefix}_MMStack{place}.ome.tif"

    def write(self, folder: Path) -> list[Path]:
        """Write (R, T, Z, C, Y, X) pixels; return the files."""
        folder.mkdir(parents=True, exist_ok=True)
        positions, times, planes, channels = self.pixels.shape[:4]
        summary = {
            "Prefix": self.prefix,
            "MicroManagerVersion": "2.0.1",
            "StartTime": self.taken,
            "z-step_um": self.z_step_um,
            "PixelSize_um": 0.1465,
            "Positions": positions,
            "Frames": self.planned_times or times,
            "Slices": planes,
            "Channels": channels,
            "SlicesFirst": True,
            "TimeFirst": False,
        }
        files = []
        for r in range(1 if self.together else positions):
            text = self._ome() if r == 0 else self._pointer()
            files.append(folder / self.name(r))
            held = range(positions) if self.together else range(r, r + 1)
            files[-1].write_bytes(self._file(held, summary, text))
        return files

    def _file(self, held: range, summary: dict[str, Any], ome: str) -> bytes:
        times, planes, channels, rows, columns = self.pixels.shape[1:]
        told = json.dumps(summary).encode()
        images = [(r, *at) for r in held for at in np.ndindex(times, planes, channels)]
        room = 8 + 20 * (len(images) + 3)
        head = struct.pack("<8I", 54773648, 40 + len(told), 0, 0, 0, 0, 2355492, len(told))
        body = bytearray(struct.pack("<2sHI", b"II", 42, 40 + len(told) + room) + head + told)
        index_at = len(body)
        body += b"\0" * room
        ij = f"ImageJ=1.53\nslices={planes}\nunit=um\nspacing={self.z_step_um}\n".encode() + b"\0"
        descriptions = [ome.encode() + b" \0", ij]
        entries = []
        fixups: list[tuple[int, bytes]] = []
        link = 0
        for k, (r, t, z, c) in enumerate(images):
            at = len(body)
            entries.append(struct.pack("<5I", c, z, t, r, at))
            tag = json.dumps(self._tag(r, t, z)).encode() + b" \0"
            n = 13 + 2 * (k == 0)
            data = at + 2 + 12 * n + 4
            frame = self.pixels[r, t, z, c].tobytes()
            after = data + len(frame)
            ifd = [(256, 4, 1, columns), (257, 4, 1, rows), (258, 3, 1, 16), (259, 3, 1, 1)]
            ifd += [(262, 3, 1, 1)]
            if k == 0:
                ifd += [(270, 2, len(text), 0) for text in descriptions]
                fixups = [(at + 2 + 12 * (5 + i) + 8, text) for i, text in enumerate(descriptions)]
            ifd += [(273, 4, 1, data), (277, 3, 1, 1), (278, 3, 1, rows), (279, 4, 1, len(frame))]
            ifd += [(282, 5, 1, after), (283, 5, 1, after + 8), (296, 3, 1, 3)]
            ifd += [(51123, 2, len(tag), after + 16)]
            body += struct.pack("<H", n) + b"".join(struct.pack("<HHII", *e) for e in ifd)
            link = len(body)
            body += struct.pack("<I", after + 16 + len(tag))
            body += frame + struct.pack("<4I", 68259, 1, 68259, 1) + tag
        struct.pack_into("<I", body, link, 0)
        for place, text in fixups:
            struct.pack_into("<I", body, place, len(body))
            body += text
        index = struct.pack("<II", 3453623, len(entries)) + b"".join(entries)
        body[index_at : index_at + len(index)] = index
        return bytes(body)

    def _tag(self, r: int, t: int, z: int) -> dict[str, Any]:
        return {
            "ZPositionUm": self.z_um[z] + 100 * r,
            "ElapsedTime-ms": 1000.0 * t + 10 * z,
            "Exposure-ms": 20,
            "BitDepth": 12,
            "PixelSizeUm": 0.1465,
            "PositionName": f"Pos{r}",
        }

    def _pointer(self) -> str:
        return (
            f'<?xml version="1.0"?><OME {_OME}><BinaryOnly MetadataFile="{self.name(0)}" '
            'UUID="urn:uuid:0"/></OME>'
        )

    def _ome(self) -> str:
        positions, times, planes, channels, rows, columns = self.pixels.shape
        images = []
        for r in range(positions):
            data = "".join(
                f'<TiffData FirstC="{c}" FirstT="{t}" FirstZ="{z}" IFD="{k}" PlaneCount="1">'
                f'<UUID FileName="{self.name(r)}">urn:uuid:{self.name(r)}</UUID></TiffData>'
                for k, (t, z, c) in enumerate(
                    np.ndindex(times, planes, channels),
                    r * times * planes * channels if self.together else 0,
                )
            )
            heights = self.ome_z_um or self.z_um
            data += "".join(
                f'<Plane TheC="{c}" TheT="{t}" TheZ="{z}" PositionZUnit="µm" '
                f'PositionZ="{heights[z] + 100 * r}"/>'
                for t, z, c in np.ndindex(times, planes, channels)
            )
            step = self.steps_of_images[r] if self.steps_of_images else abs(self.z_step_um)
            images.append(
                f'<Image ID="Image:{r}" Name="{self.prefix}"><Pixels ID="Pixels:{r}" '
                f'DimensionOrder="XYCZT" Type="uint16" SizeX="{columns}" SizeY="{rows}" '
                f'SizeZ="{planes}" SizeC="{channels}" SizeT="{times}" PhysicalSizeX="0.1465" '
                f'PhysicalSizeY="0.1465" PhysicalSizeZ="{step}">{data}</Pixels></Image>'
            )
        return f'<?xml version="1.0"?><OME {_OME}>{"".join(images)}</OME>'


def write_ome_set(
    folder: Path,
    pixels: NDArray[np.uint16],
    steps: Sequence[float],
    companion: bool = False,
    attributes: str = "",
) -> list[Path]:
    """Write (R, Z, Y, X) pixels as OME-TIFFs, one image to a file, each with the XML of all.

    With `companion` the XML is in a file of its own, the first, to which the others refer.
    """
    folder.mkdir(parents=True, exist_ok=True)
    planes, rows, columns = pixels.shape[1:]
    names = [f"plate_s{r}.ome.tif" for r in range(len(pixels))]
    images = "".join(
        f'<Image ID="Image:{r}"><Pixels ID="Pixels:{r}" DimensionOrder="XYZCT" Type="uint16" '
        f'SizeX="{columns}" SizeY="{rows}" SizeZ="{planes}" SizeC="1" SizeT="1" '
        f'PhysicalSizeZ="{step}" PhysicalSizeX="0.1465" PhysicalSizeY="0.1465" {attributes}>'
        f'<TiffData IFD="0" PlaneCount="{planes}"><UUID FileName="{names[r]}">urn:uuid:{r}</UUID>'
        "</TiffData></Pixels></Image>"
        for r, step in enumerate(steps)
    )
    files = []
    if companion:
        files.append(folder / "plate.companion.ome")
        files[0].write_text(f'<?xml version="1.0"?><OME {_OME} UUID="urn:uuid:c">{images}</OME>')
    pointer = '<BinaryOnly MetadataFile="plate.companion.ome" UUID="urn:uuid:c"/>'
    for r, name in enumerate(names):
        only = pointer if companion else ""
        xml = f'<?xml version="1.0"?><OME {_OME} UUID="urn:uuid:{r}">{only or images}</OME>'
        files.append(folder / name)
        tifffile.imwrite(files[-1], pixels[r], description=xml, metadata=None)
    return files


def write_lsm(path: Path, pixels: NDArray[Any], step_um: float, pixel_um: float) -> Path:
    """Write (Z, Y, X) or (Z, C, Y, X) as Zeiss does: pages with thumbnails, voxels in metres."""
    planes, *channels, rows, columns = pixels.shape
    n = channels[0] if channels else 1
    apart = {"planarconfig": "separate"} if channels else {}
    info = struct.pack("<Ii", 0x00400494C, 500)
    info += struct.pack("<8i", columns, rows, planes, n, 1, 1, 2, 2)
    info += struct.pack("<6d", pixel_um * 1e-6, pixel_um * 1e-6, step_um * 1e-6, 0, 0, 0)
    info += b"\0" * (500 - len(info))
    with tifffile.TiffWriter(path) as tiff:
        for plane in pixels:
            tags = [(34412, 1, len(info), info, True)]
            tiff.write(plane, metadata=None, extratags=tags, photometric="minisblack", **apart)
            small = plane[..., ::4, ::4]
            tiff.write(small, metadata=None, subfiletype=1, photometric="minisblack", **apart)
    return path


def write_zstd(path: Path, pixels: NDArray[Any]) -> Path:
    """Write (Z, Y, X) pixels, each page one Zstandard frame of a raw block."""
    rows, columns = pixels.shape[1:]
    body = bytearray(b"II*\0\0\0\0\0")
    link = 4
    for plane in pixels:
        data = plane.tobytes()
        frame = struct.pack("<IBI", 0xFD2FB528, 0xA0, len(data))
        frame += struct.pack("<I", 1 | len(data) << 3)[:3] + data
        at = len(body)
        body += frame
        struct.pack_into("<I", body, link, len(body))
        ifd = [(256, 4, 1, columns), (257, 4, 1, rows), (258, 3, 1, 8 * plane.itemsize)]
        ifd += [(259, 3, 1, 50000), (262, 3, 1, 1), (273, 4, 1, at), (277, 3, 1, 1)]
        ifd += [(278, 4, 1, rows), (279, 4, 1, len(frame))]
        body += struct.pack("<H", len(ifd)) + b"".join(struct.pack("<HHII", *e) for e in ifd)
        link = len(body)
        body += b"\0\0\0\0"
    path.write_bytes(body)
    return path
