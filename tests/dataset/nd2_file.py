"""Write ND2 files of version 3, as far as a z-stack needs them.

After the description of the format in the package nd2: chunks with a map of them at the end, the
metadata as "CLX lite" variants.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MAGIC = 0x0ABECEDA
_DATA_NAME = 4072


def write_nd2(
    path: Path,
    pixels: NDArray[np.uint16],
    step_um: float = 0.5,
    pixel_um: float = 0.1465,
    bottom_to_top: bool = True,
    absent: tuple[int, ...] = (),
) -> Path:
    """Write (T, Z, C, Y, X) pixels; frames in `absent` are left out, as after a breakdown."""
    times, planes, channels, rows, columns = pixels.shape
    attributes = {
        "uiWidth": columns,
        "uiWidthBytes": 2 * columns * channels,
        "uiHeight": rows,
        "uiComp": channels,
        "uiBpcInMemory": 16,
        "uiBpcSignificant": 12,
        "uiSequenceCount": times * planes,
        "eCompression": 2,
    }
    z_loop = {
        "eType": 4,
        "uLoopPars": {"uiCount": planes, "dZStep": step_um, "iType": 2 if bottom_to_top else 6},
    }
    time_loop = {
        "eType": 1,
        "uLoopPars": {"uiCount": times, "dStart": 0.0, "dPeriod": 1.0, "dDuration": 1.0},
        "ppNextLevelEx": [z_loop],
    }
    picture = {
        "bCalibrated": True,
        "dCalibration": pixel_um,
        "dObjectiveMag": 40.0,
        "dObjectiveNA": 0.65,
        "dRefractIndex1": 1.0,
        "dTimeAbsolute": 2460676.5,
        "sPicturePlanes": {
            "uiCount": channels,
            "sPlaneNew": {
                f"a{k}": {"uiCompCount": 1, "pFluorescentProbe": {"m_sName": f"c{k}"}}
                for k in range(channels)
            },
        },
    }
    frames = pixels.reshape(-1, channels, rows, columns).transpose(0, 2, 3, 1)
    seconds = np.arange(len(frames), dtype=np.float64) * 100.0
    chunks = {
        "ImageAttributesLV!": _level("SLxImageAttributes", attributes),
        "ImageMetadataLV!": _level("SLxExperiment", time_loop if times > 1 else z_loop),
        "ImageMetadataSeqLV|0!": _level("SLxPictureMetadata", picture),
        "CustomData|AcqTimesCache!": seconds.tobytes(),
    } | {
        f"ImageDataSeq|{k}!": struct.pack("<d", seconds[k]) + frame.astype("<u2").tobytes()
        for k, frame in enumerate(frames)
        if k not in absent
    }
    signature = b"ND2 FILE SIGNATURE CHUNK NAME01!"
    body = struct.pack("<IIQ", _MAGIC, 32, 64) + signature + b"Ver3.0".ljust(64, b"\0")
    places = b""
    for name, data in chunks.items():
        places += name.encode() + struct.pack("<QQ", len(body), len(data))
        body += _chunk(name.encode(), data, _DATA_NAME if "DataSeq" in name else 32)
    end = b"ND2 CHUNK MAP SIGNATURE 0000001!"
    at = struct.pack("<Q", len(body))
    body += _chunk(b"ND2 FILEMAP SIGNATURE NAME 0001!", places + end + at, 32)
    path.write_bytes(body + end + at)
    return path


def _chunk(name: bytes, data: bytes, length: int) -> bytes:
    return struct.pack("<IIQ", _MAGIC, length, len(data)) + name.ljust(length, b"\0") + data


def _level(name: str, items: dict[str, Any] | list[Any]) -> bytes:
    pairs = items.items() if isinstance(items, dict) else (("", item) for item in items)
    parts = [_value(key, value) for key, value in pairs]
    head, inside = _head(11, name), b"".join(parts)
    size = len(head) + 12 + len(inside)
    return head + struct.pack("<IQ", len(parts), size) + inside + b"\0" * 8 * len(parts)


def _value(name: str, value: Any) -> bytes:
    if isinstance(value, (dict, list)):
        return _level(name, value)
    if isinstance(value, bool):
        return _head(1, name) + struct.pack("<B", value)
    if isinstance(value, int):
        return _head(3, name) + struct.pack("<I", value)
    if isinstance(value, float):
        return _head(6, name) + struct.pack("<d", value)
    return _head(8, name) + f"{value}\0".encode("utf-16-le")


def _head(kind: int, name: str) -> bytes:
    return bytes([kind, len(name) + 1]) + f"{name}\0".encode("utf-16-le")
