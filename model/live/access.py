"""Access to the page: the allowed host names, and the token that is needed to move a drive."""

from __future__ import annotations

import hmac
import ipaddress
import re
import secrets
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

_HOST = re.compile(r"(\[[0-9a-f:.%]+\]|[^\s:\[\]@/?#\\]+)(:\d{1,5})?", re.IGNORECASE)
_NO_NET = ("192.0.2.1", 9)  # reserved for documentation: nothing is sent there
_TOKEN_BYTES = 16


@dataclass(frozen=True)
class Access:
    """What a request must contain.

    A foreign host name can lead a browser to this computer (DNS rebinding), so the Host header must
    be a known name, or the address at which the request arrived.

    Attributes
    ----------
    names
        Names of this computer, in lower case.
    token
        Needed in a request that moves something; empty where none is needed.
    """

    names: frozenset[str]
    token: str = ""

    @classmethod
    def to(cls, bound: str, names: Iterable[str], moves: bool) -> Self:
        """Set up the access to a server.

        Parameters
        ----------
        bound
            The address it listens on.
        names
            Allowed host names, besides those of this computer.
        moves
            Whether requests can move something; they then need a token, if `bound` is open to other
            computers.
        """
        own = socket.gethostname()
        known = {"localhost", bound, own, f"{own}.local", *names}
        token = secrets.token_urlsafe(_TOKEN_BYTES) if moves and not is_loopback(bound) else ""
        return cls(frozenset(name.strip("[]").rstrip(".").lower() for name in known), token)

    def allows(self, hosts: Sequence[str], reached: str) -> bool:
        """Whether a request is addressed to this computer.

        Parameters
        ----------
        hosts
            The values of its ``Host`` headers; there must be exactly one.
        reached
            The address of this computer at which it arrived.
        """
        if len(hosts) != 1 or (found := _HOST.fullmatch(hosts[0])) is None:
            return False
        name = found[1].strip("[]").rstrip(".").lower()
        return name in self.names or name == reached.lower()

    def may_move(self, token: str) -> bool:
        """Whether a request with this token may move something."""
        return hmac.compare_digest(token.encode(), self.token.encode())


def is_loopback(address: str) -> bool:
    """Whether only this computer can reach an address."""
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


def address_for_others(bound: str) -> str:
    """Address of a server for other computers: its own, else this computer's."""
    if not ipaddress.ip_address(bound.partition("%")[0]).is_unspecified:
        return bound
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        try:
            asked.connect(_NO_NET)
            return str(asked.getsockname()[0])
        except OSError:
            return socket.gethostname()
