"""Where the raw files of a session are: their paths in the journal, and the search for moved ones.

The journal names a file relative to the session's folder, so that both can be moved together. A
file that is not there, or renamed, is known again by the fingerprint of its content, which stands
in its header: no pixel is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import Final

from fgaf.base.errors import FgafError, FormatError
from fgaf.dataset.raw import RawStack, content_of

_FOLDERS: Final = (".", "..", "../raw", "raw")
"""Folders in which moved files are looked for, relative to the session's."""
_SUFFIX: Final = ".h5"


def place_of(path: Path) -> Path:
    """Make a path absolute; a link to a file keeps its own name."""
    return path.parent.resolve() / path.name


def written_path(path: PurePath, folder: PurePath) -> str:
    """Path of a file for the journal: relative to a folder, with "/"; absolute on another drive.

    Parameters
    ----------
    path
        The file, absolute.
    folder
        The session's folder, absolute.
    """
    shared = 0
    for mine, other in zip(path.parent.parts, folder.parts, strict=False):
        if mine != other:
            break
        shared += 1
    if not shared:
        return str(path)
    up = [".."] * (len(folder.parts) - shared)
    return "/".join([*up, *path.parts[shared:]])


def read_path(written: str, folder: Path) -> str:
    """Absolute path of a file from the journal; one of another system stays as it is.

    Parameters
    ----------
    written
        As the journal has it: relative to the folder, or absolute.
    folder
        The session's folder, absolute.
    """
    if PurePosixPath(written).is_absolute() or PureWindowsPath(written).is_absolute():
        return written
    steps = written.split("/")
    up = steps.count("..")
    base = folder.parents[min(up, len(folder.parents)) - 1] if up else folder
    return str(base.joinpath(*steps[up:]))


def file_name(path: str) -> str:
    """Name of a file from its path on any system."""
    return PureWindowsPath(path).name


def problem_of(path: str, fingerprint: str) -> str:
    """Say what is wrong with the raw file at a path; empty if it is there and unchanged.

    Parameters
    ----------
    path
        The file.
    fingerprint
        Fingerprint of its content when it was added to the session.
    """
    if not Path(path).exists():
        return "is missing"
    try:
        with RawStack.open(Path(path)) as stack:
            content = stack.fingerprint
    except (FormatError, OSError):
        return "cannot be read"
    return "" if content == fingerprint else "changed since it was added"


def find_files(
    wanted: Mapping[str, Sequence[str]], raw: Sequence[Path], beside: Sequence[Path]
) -> dict[str, Path]:
    """Find raw files by the fingerprints of their content.

    Headers are read, those of files with an expected name first, until all are found.

    Parameters
    ----------
    wanted
        Names that each file may have, by fingerprint.
    raw
        Files, and folders that are searched with all folders inside them.
    beside
        Files, and folders that are searched afterwards, without the folders inside them.

    Raises
    ------
    FgafError
        A place in `raw` does not exist.
    """
    for place in raw:
        if not place.exists():
            raise FgafError(f"{place} does not exist; give a folder that holds the raw files")
    found: dict[str, Path] = {}
    if not wanted:
        return found
    names = {name for known in wanted.values() for name in known}
    deep = [path for place in raw for path in _files(place, "**/*")]
    near = [path for place in beside for path in _files(place, "*")]
    for paths in (deep, near):
        for path in sorted(dict.fromkeys(paths), key=lambda path: path.name not in names):
            if len(found) == len(wanted):
                return found
            content = content_of(path)
            if content in wanted and not problem_of(str(path), content):
                found.setdefault(content, path)
    return found


def beside(folder: Path) -> list[Path]:
    """Folders in which a session's raw files are looked for without being asked."""
    return [folder / name for name in _FOLDERS]


def _files(place: Path, pattern: str) -> Iterator[Path]:
    if not place.is_dir():
        paths: Iterable[Path] = [place]
    else:
        paths = sorted(place.glob(pattern))
    for path in paths:
        if path.suffix.lower() == _SUFFIX and path.is_file():
            yield place_of(path)
