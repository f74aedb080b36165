"""Addresses of remote archives and raw stacks, which are read in pieces."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from fgaf.base.errors import FormatError
from fgaf.base.extras import missing

_BLOCK_BYTES: Final = 1 << 20
_MAX_BLOCKS: Final = 64


@dataclass(frozen=True)
class Url:
    """An address such as ``https://host/dataset.h5`` or ``s3://bucket/dataset.h5``.

    All protocols of the package fsspec work; S3 takes its server and keys from the environment,
    ``AWS_ENDPOINT_URL``, ``AWS_ACCESS_KEY_ID``, ...
    """

    text: str

    @property
    def name(self) -> str:
        """The last part of the address."""
        return self.text.rstrip("/").rpartition("/")[2]

    def __str__(self) -> str:
        return self.text

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """Open for reading: pieces of 1 MB are fetched when needed, and 64 of them are kept.

        Raises
        ------
        FormatError
            It does not exist, or access is denied.
        FgafError
            The package for this kind of address is missing.
        """
        try:
            import fsspec

            system, path = fsspec.core.url_to_fs(self.text)
            file = system.open(
                path,
                "rb",
                block_size=_BLOCK_BYTES,
                cache_type="blockcache",
                cache_options={"maxblocks": _MAX_BLOCKS},
            )
        except ImportError as error:
            raise missing(error, "fsspec") from error
        except FileNotFoundError as error:
            raise FormatError(
                f"{self} does not exist, or its server does not answer; check the address"
            ) from error
        except PermissionError as error:
            raise FormatError(f"access to {self} is denied; check the keys") from error
        except (ValueError, OSError) as error:
            raise FormatError(
                f"{self} cannot be read ({_short(error)}); check the address"
            ) from error
        with file:
            yield file


Location = str | Path | Url
"""Location of a file, as the user writes it."""


def location(where: Location) -> Path | Url:
    """Distinguish an address from a path."""
    if isinstance(where, str):
        return Url(where) if "://" in where else Path(where)
    return where


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
