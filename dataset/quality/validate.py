"""Check raw stacks and archives: structure, checksums, plausible numbers, leakage of splits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fgaf.base.errors import FormatError
from fgaf.dataset.findings import Finding, Report, sorted_findings
from fgaf.dataset.storage.hdf5 import format_of, open_format, reading
from fgaf.dataset.storage.integrity import END_SEAL, broken_seals, end_is_whole

if TYPE_CHECKING:
    from fgaf.dataset.quality.patch_statistics import Bar

_COPY_AGAIN: Final = "copy the file from its source again"


def validate(path: Path, progress: Bar = iter) -> Report:
    """Check one file.

    Every dataset is compared with its checksum; the checks of the format follow only if all agree.
    A file that cannot be read gives an error finding, not an exception.

    Parameters
    ----------
    path
        A raw stack or an archive.
    progress
        Wraps the blocks of an archive's patches.

    Returns
    -------
    Report
        Without errors if the file is valid.
    """
    from fgaf.dataset import archive, raw
    from fgaf.dataset.quality.validate_archive import archive_findings
    from fgaf.dataset.quality.validate_raw import raw_findings

    try:
        kind = format_of(path)
    except FormatError as error:
        return Report(path, "", (_unreadable("not-readable", error),))
    found: list[Finding] = []
    try:
        if kind == raw.FORMAT:
            found += _seal_findings(path, kind, raw.FORMAT_VERSION)
            with raw.RawStack.open(path) as stack, reading(path):
                found += [] if found else raw_findings(stack)
        elif kind == archive.FORMAT:
            found += _seal_findings(path, kind, archive.FORMAT_VERSION)
            with archive.Archive.open(path) as opened, reading(path):
                found += [] if found else archive_findings(opened, progress)
        else:
            message = f"{path} is of format {kind!r}, which this version does not support"
            found.append(Finding("unknown-format", "error", message, "give a file that fgaf wrote"))
    except FormatError as error:
        found.append(_unreadable("structure", error))
    return Report(path, kind, sorted_findings(found))


def _seal_findings(path: Path, kind: str, version: int) -> Iterator[Finding]:
    with open_format(path, kind, version) as file, reading(path):
        for where in broken_seals(file):
            yield Finding("checksum", "error", f"checksum differs in {where}", _COPY_AGAIN)
        if END_SEAL in file.attrs and not end_is_whole(path):
            yield Finding(
                "end-seal",
                "error",
                "bytes of the file are not those that were published: it is damaged or truncated, "
                "or another program rewrote it",
                _COPY_AGAIN,
            )


def _unreadable(name: str, error: FormatError) -> Finding:
    """Turn an error message, "fault; remedy", into a finding."""
    message, _, mend = str(error).rpartition("; ")
    return Finding(name, "error", message, mend)
