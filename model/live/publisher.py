"""Results for other programs: one line of JSON per frame on a TCP port."""

from __future__ import annotations

import socket
import threading
from collections import deque
from contextlib import suppress
from typing import Final, Self

from fgaf.base.errors import FgafError
from fgaf.base.files import reason

_WAITING: Final = 50
_SEND_S: Final = 5.0
_AGAIN_S: Final = 0.1
_MOST_CLIENTS: Final = 32


class _Client:
    """One connection with its own thread and a short queue; the oldest lines are dropped."""

    def __init__(self, connection: socket.socket, patience_s: float) -> None:
        self.dropped = 0
        self.gone = False
        self._connection = connection
        self._waiting: deque[bytes] = deque(maxlen=_WAITING)
        self._news = threading.Condition()
        connection.settimeout(patience_s)
        self._thread = threading.Thread(target=self._serve, name="client", daemon=True)
        self._thread.start()

    def put(self, line: bytes) -> None:
        with self._news:
            self.dropped += len(self._waiting) == _WAITING
            self._waiting.append(line)
            self._news.notify()

    def close(self) -> None:
        self.gone = True
        with self._news:
            self._news.notify()
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._thread.join(_SEND_S)

    def _serve(self) -> None:
        with self._connection:
            while not self.gone:
                with self._news:
                    while not self._waiting and not self.gone:
                        self._news.wait()
                    line = self._waiting.popleft() if self._waiting else b""
                try:
                    self._connection.sendall(line)
                except OSError:  # the client left, or did not read for seconds
                    self.gone = True


class Publisher:
    """Serves any number of TCP clients; none of them can block the publisher.

    A client that reads too slowly loses its oldest waiting lines; a client that reads nothing for
    some seconds is disconnected.

    Parameters
    ----------
    port
        Port to listen on; 0 for any free port.
    host
        Address to listen on; by default only this computer can connect.
    patience_s
        How long a client may read nothing.

    Attributes
    ----------
    host, port
        Where it listens.

    Raises
    ------
    FgafError
        The port is taken, or the address is not this computer's.
    """

    def __init__(self, port: int, host: str = "127.0.0.1", patience_s: float = _SEND_S) -> None:
        self._patience_s = patience_s
        try:
            self._listener = socket.create_server((host, port))
        except OSError as error:
            raise port_error("--tcp", host, port, error) from error
        self.host, self.port = self._listener.getsockname()[:2]
        self._clients: list[_Client] = []
        self._lost = 0
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._accept, name="publisher", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread; close() alone does not
        self._listener.close()
        self._thread.join(_SEND_S)
        for client in self._clients:
            client.close()

    @property
    def clients(self) -> int:
        """Clients connected now."""
        with self._lock:
            self._sweep()
            return len(self._clients)

    @property
    def dropped(self) -> int:
        """Lines that slow clients lost so far."""
        with self._lock:
            return self._lost + sum(client.dropped for client in self._clients)

    def publish(self, line: str) -> None:
        """Send one line, without its line break, to every client; returns at once."""
        data = line.encode() + b"\n"
        with self._lock:
            self._sweep()
            for client in self._clients:
                client.put(data)

    def _sweep(self) -> None:
        for client in [each for each in self._clients if each.gone]:
            self._lost += client.dropped
            self._clients.remove(client)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # closed, or no descriptors left, or the client left
                if self._ended.wait(_AGAIN_S):
                    return
                continue
            with self._lock:
                self._sweep()
                if len(self._clients) < _MOST_CLIENTS:
                    self._clients.append(_Client(connection, self._patience_s))
                else:
                    connection.close()


def port_error(option: str, host: str, port: int, error: OSError) -> FgafError:
    """Error for a port that cannot be used; it names the option that chooses another.

    Parameters
    ----------
    option
        The option of the command that chooses the port.
    host
        Address to listen on.
    port
        Its number.
    error
        Why it failed.
    """
    return FgafError(
        f"cannot listen on {host}:{port} ({reason(error)}); choose another port with {option}"
    )
