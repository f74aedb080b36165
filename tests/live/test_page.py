"""The page: served to this computer only, and alive in a real browser."""

from __future__ import annotations

import base64
import http.client
import io
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fgaf.dataset import FgafError
from fgaf.model.live import LiveFrame
from fgaf.model.live.page import Page

PATIENCE_S = 60.0


@pytest.fixture
def chosen() -> list[int | None]:
    """Which cells were clicked."""
    return []


@pytest.fixture
def page(chosen: list[int | None], result: Callable[..., LiveFrame]) -> Iterator[Page]:
    """A page that shows one frame, of a run with --track."""
    with Page(0, "fgaf live: test", 8, 2.0, chosen.append) as served:
        served.show(result(7, target=1))
        yield served


def ask(page: Page, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(page.host, page.port, timeout=10)
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    read = answer.read()
    connection.close()
    return answer.status, read


def test_a_snapshot_is_the_frame_and_its_picture(page: Page) -> None:
    status, body = ask(page, "GET", "/snapshot")
    read = json.loads(body)
    assert status == 200
    assert read["frame"]["frame_id"] == 7
    assert read["shape"] == [128, 160]
    with Image.open(io.BytesIO(base64.b64decode(read["jpeg"]))) as picture:
        assert picture.size == (160, 128)
        assert abs(int(np.asarray(picture)[3, 3]) - 120) < 4


def test_wide_frames_and_16_bits_are_made_small(result: Callable[..., LiveFrame]) -> None:
    with Page(0, "x", 12, 2.0) as page:
        page.show(result(pixels=np.full((300, 2000), 2048, np.uint16)))
        read = page.snapshot(None)
    with Image.open(io.BytesIO(base64.b64decode(read["jpeg"]))) as picture:
        assert picture.size == (667, 100)
        assert abs(int(np.asarray(picture)[3, 3]) - 128) < 4


def test_a_click_chooses_a_cell_and_nothing_else_does(page: Page, chosen: list[int | None]) -> None:
    kind = {"Content-Type": "application/json"}
    assert ask(page, "POST", "/track", '{"id": 2}', **kind)[0] == 200
    assert ask(page, "POST", "/track", '{"id": null}', **kind)[0] == 200
    assert chosen == [2, None]
    assert ask(page, "POST", "/track", '{"id": 2}')[0] == 400
    for wrong in ('{"id": "2"}', '{"id": true}', "{}", "x", '{"id": -1}'):
        assert ask(page, "POST", "/track", wrong, **kind)[0] == 400
    assert ask(page, "GET", "/", Host="evil.example:80")[0] == 403
    assert ask(page, "GET", "/else")[0] == 404
    assert chosen == [2, None]


def test_without_track_a_click_is_refused() -> None:
    with Page(0, "x", 8, 2.0) as page:
        kind = {"Content-Type": "application/json"}
        assert ask(page, "POST", "/track", '{"id": 1}', **kind)[0] == 409


def test_a_port_that_is_taken_is_one_line(page: Page) -> None:
    with pytest.raises(FgafError, match="choose another port with --page"):
        Page(page.port, "x", 8, 2.0)


class Browser:
    """A real headless Chromium, driven by the WebDriver protocol."""

    def __init__(self, driver: str, binary: str, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self._process = subprocess.Popen(
            [driver, f"--port={self._port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        words = ["headless", "no-sandbox", "disable-gpu", "no-first-run"]
        words += ["disable-background-networking", f"user-data-dir={folder}"]
        options = {"binary": binary, "args": [f"--{word}" for word in words]}
        wanted = {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}}
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                made = self._send("POST", "/session", wanted)
                break
            except ConnectionRefusedError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        self._session = f"/session/{made['sessionId']}"

    def visit(self, address: str) -> None:
        self._send("POST", f"{self._session}/url", {"url": address})

    def run(self, script: str) -> Any:
        return self._send("POST", f"{self._session}/execute/sync", {"script": script, "args": []})

    def wait(self, script: str) -> None:
        """Wait until a script gives something true."""
        deadline = time.monotonic() + PATIENCE_S
        while not self.run(f"return {script}"):
            assert time.monotonic() < deadline, script
            time.sleep(0.05)

    def close(self) -> None:
        self._send("DELETE", self._session)
        self._process.terminate()
        self._process.wait()

    def _send(self, method: str, path: str, body: Any = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE_S)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            answer = connection.getresponse()
            value = json.loads(answer.read())["value"]
            assert answer.status == 200, value
            return value
        finally:
            connection.close()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    """Chromium, where it is installed."""
    driver, binary = shutil.which("chromedriver"), shutil.which("chromium")
    if driver is None or binary is None:
        pytest.skip("no Chromium; see `make test`")
    started = Browser(driver, binary, tmp_path / "profile")
    yield started
    started.close()


def test_a_browser_shows_the_cells_and_chooses_one(
    browser: Browser, page: Page, chosen: list[int | None], result: Callable[..., LiveFrame]
) -> None:
    browser.visit(page.address)
    browser.wait("document.getElementById('frame').textContent === '7'")
    rows = browser.run(
        "return [...document.querySelectorAll('#cells tr')]"
        ".map(row => [...row.children].map(cell => cell.textContent))"
    )
    assert rows == [["1", "−0.40", "0.10", "+0.40", "22"], ["2", "–", "–", "–", "0"]]
    assert browser.run("return document.querySelector('tr.target').dataset.id") == "1"
    assert browser.run("return document.title") == "fgaf live: test"
    # The marks are drawn in colour on a grey picture.
    assert browser.run(
        "const c = document.getElementById('picture');"
        "const p = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
        "let n = 0; for (let i = 0; i < p.length; i += 4) n += Math.abs(p[i] - p[i + 2]) > 30;"
        "return n > 20"
    )
    page.show(result(8))
    browser.wait("document.getElementById('frame').textContent === '8'")
    browser.run(
        "const c = document.getElementById('picture'), b = c.getBoundingClientRect();"
        "c.dispatchEvent(new MouseEvent('click', {bubbles: true,"
        "clientX: b.left + 120 / 160 * b.width, clientY: b.top + 30 / 128 * b.height}))"
    )
    deadline = time.monotonic() + PATIENCE_S
    while chosen != [2]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
