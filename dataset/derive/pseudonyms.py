"""Keyed pseudonyms: only the holder of the key can link a guessed name to one."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
import uuid
from pathlib import Path
from typing import Final

from fgaf.base.errors import SettingError
from fgaf.base.files import require_new
from fgaf.base.inputs import read_bytes

_LEAST_KEY_BYTES: Final = 16
_LEAST_PASSPHRASE: Final = 12
_LENGTH: Final = 12
_SALT: Final = b"fgaf pseudonyms"


class Pseudonyms:
    """Pseudonyms under one key: equal names get equal ones, in every file.

    They are truncated HMAC-SHA256 (RFC 2104) of the kind and the name. Without the key nobody can
    test a guessed name.

    Parameters
    ----------
    key
        The secret; never written anywhere.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def name(self, kind: str, value: str) -> str:
        """Pseudonym such as ``sample-4k2vq7dzm3aa``; empty for an empty value.

        Parameters
        ----------
        kind
            What is named, such as "sample"; equal values of different kinds differ.
        value
            The name to replace.
        """
        if not value:
            return ""
        text = base64.b32encode(self._digest(kind, value)).decode().lower()
        return f"{kind}-{text[:_LENGTH]}"

    def checksum(self, value: str) -> str:
        """Replace a checksum: 64 hexadecimal digits; empty for an empty value."""
        return self._digest("checksum", value).hex() if value else ""

    def identity(self, value: str) -> str:
        """Replace a UUID."""
        return str(uuid.UUID(bytes=self._digest("uuid", value)[:16], version=4))

    def _digest(self, kind: str, value: str) -> bytes:
        return hmac.digest(self._key, f"{kind}\0{value}".encode(), "sha256")


def read_key(path: Path) -> bytes:
    """Read a key file, without white space at its end.

    Raises
    ------
    SettingError
        It does not exist, or has fewer than 16 bytes.
    """
    if not path.exists():
        raise SettingError(f"{path} does not exist; make a key with --new-key {path}")
    key = read_bytes(path).rstrip()
    if len(key) < _LEAST_KEY_BYTES:
        raise SettingError(
            f"{path} has {len(key)} bytes; a key needs at least {_LEAST_KEY_BYTES}: make one with "
            "--new-key"
        )
    return key


def new_key() -> bytes:
    """Make a random key."""
    return secrets.token_hex(32).encode()


def keep_key(path: Path, key: bytes) -> None:
    """Write a key to a new file, readable by its owner alone.

    Parameters
    ----------
    path
        The file.
    key
        The key.

    Raises
    ------
    ExistsError
        The file exists; its key must not be lost.
    """
    require_new(path)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(key + b"\n")


def key_of(passphrase: str) -> bytes:
    """Derive a key from a passphrase (scrypt, RFC 7914), which makes guessing slow.

    Raises
    ------
    SettingError
        Shorter than 12 characters.
    """
    if len(passphrase) < _LEAST_PASSPHRASE:
        raise SettingError(
            f"the passphrase has {len(passphrase)} characters; give {_LEAST_PASSPHRASE} or more"
        )
    return hashlib.scrypt(passphrase.encode(), salt=_SALT, n=1 << 14, r=8, p=1, dklen=32)
