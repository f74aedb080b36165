"""Lines of JSON on a TCP port, over real sockets: nobody who listens can hold up the loop."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from fgaf import FgafError
from fgaf.model.live import LiveFrame
from fgaf.model.live.publisher import Publisher

PATIENCE_S = 10.0


def wait_for(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.002)


SHORT_OF_DESCRIPTORS = """
import os, resource, socket
from fgaf.model.live.publisher import Publisher

publisher, end, held = Publisher(0), socket.socket(), []
resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
try:
    while True:
        held.append(os.dup(0))
except OSError as error:
    print(error.strerror)
with publisher:
    end.settimeout(0.3)
    end.connect((publisher.host, publisher.port))
    publisher.publish("{}")
    try:
        print("served", end.recv(9))
    except TimeoutError:
        print("waits")
    for each in held:
        os.close(each)
    end.settimeout(10)
    while publisher.clients == 0:
        pass
    publisher.publish("{}")
    print(end.recv(9))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX limits")
def test_a_moment_without_descriptors_is_survived() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SHORT_OF_DESCRIPTORS], capture_output=True, text=True, timeout=60
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["Too many open files", "waits", "b'{}\\n'"]


def test_every_client_gets_every_line(result: Callable[..., LiveFrame]) -> None:
    with Publisher(0) as publisher:
        ends = [socket.create_connection((publisher.host, publisher.port)) for _ in range(2)]
        wait_for(lambda: publisher.clients == 2)
        for number in range(5):
            publisher.publish(result(number).to_json())
        for end in ends:
            with end, end.makefile() as lines:
                read = [json.loads(next(lines)) for _ in range(5)]
            assert [each["frame_id"] for each in read] == list(range(5))
            assert read[0]["format"] == "fgaf-live"
            assert read[0]["cells"][0]["z_um"] == -0.4
            assert read[0]["cells"][1]["depth_um"] is None


def test_a_client_that_does_not_read_loses_the_oldest_lines() -> None:
    # A publisher that waited for the client would wait for good: nothing is read before the end.
    with (
        Publisher(0, patience_s=600) as publisher,
        socket.create_connection((publisher.host, publisher.port)) as slow,
    ):
        wait_for(lambda: publisher.clients == 1)
        for number in range(3000):
            publisher.publish(json.dumps({"number": number, "filling": "x" * 5000}))
        assert publisher.dropped > 0
        numbers = []
        with slow.makefile() as lines:
            while not numbers or numbers[-1] < 2999:
                numbers.append(json.loads(next(lines))["number"])
        assert numbers == sorted(numbers)
        assert len(numbers) + publisher.dropped == 3000


def test_a_client_that_leaves_is_forgotten() -> None:
    with Publisher(0) as publisher:
        leaving = socket.create_connection((publisher.host, publisher.port))
        wait_for(lambda: publisher.clients == 1)
        leaving.close()

        def gone() -> bool:
            publisher.publish("{}")
            return publisher.clients == 0

        wait_for(gone)
        with socket.create_connection((publisher.host, publisher.port)) as end:
            wait_for(lambda: publisher.clients == 1)
            publisher.publish("{}")
            assert end.recv(3) == b"{}\n"


def test_a_port_that_is_taken_is_one_line() -> None:
    with Publisher(0) as first, pytest.raises(FgafError, match=r"choose another port with --tcp"):
        Publisher(first.port)


def test_it_ends_while_clients_are_connected() -> None:
    begun = time.monotonic()
    with Publisher(0) as publisher:
        end = socket.create_connection((publisher.host, publisher.port))
        wait_for(lambda: publisher.clients == 1)
    with end:
        assert end.recv(1) == b""
    assert time.monotonic() - begun < 5
