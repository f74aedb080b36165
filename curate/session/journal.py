"""The journal of a session: one JSON record per line, on disk before the next action.

A journal only grows. A line cut by a crash does not count, and is marked when the journal is next
opened for writing; a line cut by a full disk is removed at once. Every line ends with a checksum of
itself and of the line before it, so that a changed, lost or exchanged line is detected.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import zlib
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from fgaf.base.errors import FgafError, FormatError
from fgaf.base.files import cannot_write
from fgaf.base.folder_lock import FolderLock
from fgaf.base.inputs import parse_json, require_file

_log = logging.getLogger(__name__)

FORMAT: Final = "fgaf-session"
FORMAT_VERSION: Final = 1
JOURNAL: Final = "journal.jsonl"
LOCK: Final = "journal.lock"
_REFUSAL: Final = (
    "is open in another window{holder}: decide there, or close it; here the session is open for "
    "reading only"
)

_CRC32: Final = "crc32"
_CHECKED: Final = re.compile(rb', "crc32": "([0-9a-f]{8})"}$')

Record = dict[str, Any]


class Journal:
    """The journal of a folder, open for writing by this process only.

    Parameters
    ----------
    folder
        Folder of the journal.

    Raises
    ------
    LockedError
        Another window or program has it.
    FormatError
        It is of another version, or a line before the last is damaged.
    FgafError
        The folder cannot be written.

    Attributes
    ----------
    records
        Every record so far, without torn lines.
    torn
        Number of a torn last line found at opening; None if there was none.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / JOURNAL
        self._lock = FolderLock(folder / LOCK, _REFUSAL)
        self._handle: int | None = None
        try:
            fresh = not begun(folder)
            self.records, self.torn = ([], None) if fresh else read_journal(folder)
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)
            self._handle = os.open(self.path, flags | (os.O_TRUNC if fresh else 0), 0o666)
            self._size = os.fstat(self._handle).st_size
            if fresh and os.name == "posix":  # the file's name must survive a power loss
                place = os.open(folder, os.O_RDONLY)
                os.fsync(place)
                os.close(place)
        except OSError as error:
            self.close()
            raise cannot_write(self.path, error) from error
        except FgafError:
            self.close()
            raise
        self._last = b"" if fresh else self.path.read_bytes().rstrip(b"\n").rpartition(b"\n")[2]
        self._lines = len(self.records)
        if self.records:
            self._lines = max(self._lines, int(self.records[-1]["number"]))
        if self.torn is not None:
            self._lines = self.torn
            self._write(b"\n")
            self.append([{"record": "repair", "torn_line": self.torn}])

    def close(self) -> None:
        """Close it and release the lock; no data are lost without it."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
        self._lock.release()

    def append(self, records: Iterable[Record]) -> list[Record]:
        """Write records; when this returns, all of them or none are on disk.

        Returns
        -------
        The records with their numbers and the time.

        Raises
        ------
        FgafError
            The disk is full, or the file cannot be written or was changed by another program.
        """
        now = datetime.now(UTC).isoformat(timespec="seconds")
        numbered = [
            {"number": self._lines + i + 1, "time_utc": now} | record
            for i, record in enumerate(records)
        ]
        lines, last = [], self._last
        for record in numbered:
            last = _with_checksum(json.dumps(record, ensure_ascii=False).encode(), last)
            lines.append(last + b"\n")
        self._write(b"".join(lines))
        self._last = last
        self.records += numbered
        self._lines += len(numbered)
        _log.debug("%s has %d lines", self.path, self._lines)
        return numbered

    def _write(self, lines: bytes) -> None:
        handle = self._handle
        if handle is None:
            raise FgafError(f"{self.path} is closed; open the session again")
        if os.fstat(handle).st_size != self._size:
            raise FgafError(f"{self.path} was changed by another program; open the session again")
        left = memoryview(lines)
        try:
            while left:
                left = left[os.write(handle, left) :]
            os.fsync(handle)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(handle, self._size)
            raise cannot_write(self.path, error) from error
        self._size += len(lines)


def begun(folder: Path) -> bool:
    """Whether a folder holds a journal; one with a torn first line does not count."""
    try:
        require_file(folder / JOURNAL)
    except FormatError:
        return False
    start = (folder / JOURNAL).read_bytes()
    first = b'{"number": 1, '
    return b"\n" in start or not (first.startswith(start) or start.startswith(first))


def read_journal(folder: Path) -> tuple[list[Record], int | None]:
    """Read the records of a session, and the number of a torn last line, if any.

    Raises
    ------
    FormatError
        There is no session, it is of another version, or a line before the last is damaged.
    """
    journal = folder / JOURNAL
    if not begun(folder):
        raise FormatError(
            f"{folder} contains no session ({JOURNAL} is missing); give another folder"
        )
    lines = journal.read_bytes().split(b"\n")
    whole, tail = lines[:-1], lines[-1]
    _require_version(journal, lines[0])
    records: list[Record] = []
    broken: int | None = None
    before, sealed = b"", False
    for number, line in enumerate(whole, start=1):
        record = _parsed(line, before, sealed)
        sealed, before = sealed or _CHECKED.search(line) is not None, line
        if broken is not None and not (record and record.get("torn_line") == broken):
            break
        broken = None if record else number
        if record:
            records.append(record)
    if broken is not None:
        raise FormatError(f"{journal}: line {broken} is damaged; restore it from a copy")
    if not records:
        raise FormatError(f"{journal} is not the journal of a session; give another folder")
    torn = len(whole) + 1 if tail else None
    return records, torn


def _require_version(journal: Path, line: bytes) -> None:
    """Refuse a journal of another format or version: its checksums may differ."""
    try:
        head = parse_json(line)
    except ValueError:
        return  # it is damaged; the error names the line
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise FormatError(f"{journal} is not the journal of a session; give another folder")
    if head.get("format_version") != FORMAT_VERSION:
        raise FormatError(
            f"{journal} has version {head.get('format_version')}, this program reads "
            f"{FORMAT_VERSION}; update fgaf"
        )


def set_aside(folder: Path) -> None:
    """Rename the journal of an earlier session, so that a new one can start; no data are lost.

    Raises
    ------
    LockedError
        Another window or program has it.
    """
    journal = folder / JOURNAL
    if not journal.exists():
        return
    lock = FolderLock(folder / LOCK, _REFUSAL)
    try:
        number = 1
        while (kept := folder / f"journal-{number}.jsonl").exists():
            number += 1
        journal.replace(kept)
    finally:
        lock.release()


def _with_checksum(line: bytes, before: bytes) -> bytes:
    """A line that ends with the checksum of itself and of the one before it."""
    return line[:-1] + f', "{_CRC32}": "{_chained(line, before):08x}"}}'.encode()


def _chained(line: bytes, before: bytes) -> int:
    return zlib.crc32(line, zlib.crc32(before + b"\n"))


def _parsed(line: bytes, before: bytes, sealed: bool) -> Record | None:
    """The record in a line; None where it is torn or damaged.

    Lines of old versions have no checksum; none of them follows a line that has one.
    """
    try:
        record = parse_json(line)
    except ValueError:
        return None
    if not isinstance(record, dict) or "record" not in record or "number" not in record:
        return None
    if found := _CHECKED.search(line):
        del record[_CRC32]
        whole = line[: found.start()] + b"}"
        return record if int(found[1], 16) == _chained(whole, before) else None
    return None if sealed or _CRC32 in record else record
